//! What a mapping must be, and what is said when it is not.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

/// Surroundings made of two tables. The clock stands at 2025-01-01T00:00:00Z.
#[derive(Default)]
struct Lab {
    variables: BTreeMap<&'static str, String>,
    files: BTreeMap<&'static str, String>,
}

impl Surroundings for Lab {
    fn now_ms(&self) -> i64 {
        1_735_689_600_000
    }
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
    fn file(&self, path: &str, _: usize) -> Result<String, String> {
        self.files.get(path).cloned().ok_or_else(|| "no such file".to_owned())
    }
}

impl Lab {
    fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.insert(name, value.into());
        self
    }

    fn mapping(&self, toml: &str) -> Mapping {
        self.settings(toml).unwrap_or_else(|error| panic!("{error}\n---\n{toml}"))
    }

    fn problems(&self, toml: &str) -> String {
        self.settings(toml).expect_err("must be refused").to_string()
    }

    fn settings(&self, toml: &str) -> Result<Mapping, MappingError> {
        Settings::from_toml(&with_required(toml))?.validate(self)
    }
}

const REQUIRED: [(&str, &str); 4] = [
    ("topics", "'orders'"),
    ("bootstrap_servers", "'localhost:9092'"),
    ("function", "'f'"),
    ("function_endpoint", "'http://localhost:9001'"),
];

/// `toml` with what a mapping cannot do without, unless it says so itself. `!name` leaves it out.
fn with_required(toml: &str) -> String {
    let own: Vec<&str> = toml.lines().map(str::trim).collect();
    let named = |line: &&str, name: &str| line.trim_start_matches('!').split(' ').next() == Some(name);
    let says = |name: &str| own.iter().any(|line| named(line, name));
    let added =
        REQUIRED.iter().filter(|(name, _)| !says(name)).map(|(name, value)| format!("{name} = {value}"));
    let kept = own.iter().filter(|line| !line.starts_with('!')).map(|line| (*line).to_owned());
    added.chain(kept).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_mapping_needs_little_and_has_aws_s_defaults() {
    let mapping = Lab::default().mapping("");
    assert_eq!(mapping.topic.as_str(), "orders");
    assert_eq!(mapping.batch_size, 100);
    assert_eq!(mapping.maximum_batching_window, Duration::from_millis(500));
    assert_eq!(mapping.starting_position, StartingPosition::TrimHorizon);
    assert_eq!(mapping.consumer_group_id, "pelton-f-orders");
    assert_eq!((mapping.engine.pollers, mapping.engine.pollers_min), (5, 5));
    assert_eq!(mapping.engine.payload_bytes_max, 6_291_455);
    assert_eq!(mapping.engine.oversized, Oversized::Skip);
    assert_eq!(mapping.security_protocol(), SecurityProtocol::Plaintext);
    assert!(mapping.engine.metrics_address.is_some_and(|address| address.ip().is_loopback()));
    assert!(mapping.notes.is_empty());
}

#[test]
fn everything_that_is_missing_or_wrong_is_said_at_once() {
    let toml = "!topics \n!bootstrap_servers \n!function \nbatch_size = 10001\nmaximum_batching_window = 301\n\
                starting_position = 'EARLIEST'\n[engine]\nthreads = 0\npayload_bytes_max = '7MiB'";
    let problems = Lab::default().problems(toml);
    for expected in [
        "8 problems in the mapping",
        "topics: not given; needed: exactly one topic",
        "bootstrap_servers: not given",
        "function: not given",
        "batch_size: found 10001; allowed: 1 to 10000 records; default 100; lower it",
        "maximum_batching_window: found 301s; allowed: 0s to 300s",
        "starting_position: found \"EARLIEST\"; allowed: TRIM_HORIZON, LATEST or AT_TIMESTAMP",
        "engine.threads: found 0; allowed: 1 to 64, not more than pollers; default 1; raise it",
        "engine.payload_bytes_max: found 7340032 bytes; allowed: 16384 to 6291455 bytes",
    ] {
        assert!(problems.contains(expected), "{expected}\n---\n{problems}");
    }
}

#[test]
fn every_range_is_accepted_at_both_ends_and_refused_beyond() {
    for (setting, inside, outside) in [
        ("batch_size =", ["1", "10000"], ["0", "10001"]),
        ("maximum_batching_window =", ["0", "300"], ["301", "'300001ms'"]),
        ("[engine]\npollers =", ["1", "50"], ["0", "1001"]),
        ("[engine]\ninvocation_threads =", ["1", "64"], ["0", "65"]),
        ("[engine]\ndrain_deadline =", ["0", "900"], ["901", "'16m'"]),
        ("[engine]\ncommit_interval =", ["'10ms'", "60"], ["'9ms'", "61"]),
        ("[engine]\npayload_bytes_max =", ["16384", "6291455"], ["16383", "6291456"]),
        ("[engine]\nfunction_timeout =", ["'10ms'", "'1h'"], ["'9ms'", "3601"]),
        ("[engine]\nconnect_timeout =", ["'10ms'", "60"], ["0", "61"]),
        ("[engine]\nmemory_budget =", ["'2GiB'", "'1024GiB'"], ["'1025GiB'", "0"]),
    ] {
        let budget = if setting.contains("pollers") { "memory_budget = '8GiB'\n" } else { "" };
        let toml =
            |value: &str| setting.replacen("[engine]\n", &format!("[engine]\n{budget}"), 1) + " " + value;
        for value in inside {
            Lab::default().mapping(&toml(value));
        }
        for value in outside {
            let name = setting.trim_end_matches(" =").replace("[engine]\n", "engine.");
            let problems = Lab::default().problems(&toml(value));
            assert!(problems.contains(&format!("- {name}: found")), "{problems}");
        }
    }
}

#[test]
fn a_window_may_be_finer_than_aws_s_whole_seconds() {
    for (text, ms) in
        [("'500ms'", 500), ("2", 2_000), ("'1.5s'", 1_500), ("0.25", 250), ("'5min'", 300_000), ("'0'", 0)]
    {
        let mapping = Lab::default().mapping(&format!("maximum_batching_window = {text}"));
        assert_eq!(mapping.maximum_batching_window, Duration::from_millis(ms), "{text}");
    }
    for text in ["'0.1ms'", "-1", "'-1s'", "'1 week'", "nan", "inf", "'1e3s'"] {
        let problems = Lab::default().problems(&format!("maximum_batching_window = {text}"));
        assert!(problems.contains("maximum_batching_window: found"), "{problems}");
    }
}

#[test]
fn topics_and_servers_have_kafka_s_names() {
    for topic in ["'a'", "'Orders.eu-1_x'", "['one']"] {
        Lab::default().mapping(&format!("topics = {topic}"));
    }
    for topic in
        ["''", "'.hidden'", "'a b'", "'^regex'", "['a', 'b']", "[]", "'ä'", &format!("'{}'", "x".repeat(250))]
    {
        assert!(Lab::default().problems(&format!("topics = {topic}")).contains("topics: found"), "{topic}");
    }
    Lab::default().mapping("bootstrap_servers = ['a:1', '[::1]:9092', 'kafka_1.local:65535']");
    for servers in [
        "''",
        "'a'",
        "'a:0'",
        "'a:65536'",
        "'http://a:1'",
        "'a:1,'",
        "'a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,i:1,j:1,k:1'",
    ] {
        let problems = Lab::default().problems(&format!("bootstrap_servers = {servers}"));
        assert!(problems.contains("bootstrap_servers: found"), "{servers}: {problems}");
    }
}

#[test]
fn a_timestamp_goes_with_at_timestamp_only_and_lies_in_the_past() {
    let mapping = Lab::default()
        .mapping("starting_position = 'AT_TIMESTAMP'\nstarting_position_timestamp = 2024-12-31T23:00:00Z");
    assert_eq!(
        mapping.starting_position,
        StartingPosition::AtTimestamp(Moment { unix_ms: 1_735_686_000_000 })
    );
    for (toml, expected) in [
        ("starting_position = 'AT_TIMESTAMP'", "starting_position_timestamp: not given"),
        ("starting_position_timestamp = 5", "found 5 with TRIM_HORIZON"),
        ("starting_position = 'LATEST'\nstarting_position_timestamp = 5", "found 5 with LATEST"),
        (
            "starting_position = 'AT_TIMESTAMP'\nstarting_position_timestamp = 1735689601",
            "which is in the future",
        ),
        (
            "starting_position = 'AT_TIMESTAMP'\nstarting_position_timestamp = 2024-01-01T00:00:00",
            "starting_position_timestamp: found",
        ),
    ] {
        let problems = Lab::default().problems(toml);
        assert!(problems.contains(expected), "{problems}");
    }
}

#[test]
fn the_endpoint_follows_from_the_region_and_the_region_from_the_arn_or_the_environment() {
    let arn = "!function_endpoint \nfunction = 'arn:aws:lambda:eu-central-1:123456789012:function:f:live'";
    let mapping = Lab::default().mapping(arn);
    assert_eq!(mapping.function_endpoint.url(), "https://lambda.eu-central-1.amazonaws.com");
    let lab = Lab::default().variable("AWS_REGION", "").variable("AWS_DEFAULT_REGION", "us-east-2");
    assert_eq!(lab.mapping("!function_endpoint ").region.as_deref(), Some("us-east-2"));
    assert_eq!(lab.mapping("!function_endpoint \nregion = 'us-west-1'").region.as_deref(), Some("us-west-1"));
    let problems = Lab::default().problems("!function_endpoint ");
    assert!(problems.contains("function_endpoint: not given"), "{problems}");
    let problems = Lab::default().problems(&format!("{arn}\nregion = 'us-east-1'"));
    assert!(problems.contains("but the function's ARN says eu-central-1"), "{problems}");
    assert!(Lab::default().problems("region = 'EU Central'").contains("region: found"));
}

#[test]
fn an_msk_cluster_is_named_by_its_arn_and_still_needs_servers() {
    let arn = "arn:aws:kafka:us-east-1:123456789012:cluster/c/11111111-2222-3333-4444-555555555555-1";
    let mapping = Lab::default().mapping(&format!("event_source_arn = '{arn}'"));
    assert_eq!(mapping.event_source_arn.as_deref(), Some(arn));
    for wrong in
        ["arn:aws:kinesis:us-east-1:123456789012:stream/s", "cluster", "arn:aws:kafka:r:1:cluster/\\\"x"]
    {
        let problems = Lab::default().problems(&format!("event_source_arn = \"{wrong}\""));
        assert!(problems.contains("event_source_arn: found"), "{problems}");
    }
}

#[test]
fn a_group_name_that_cannot_be_derived_is_asked_for() {
    let problems = Lab::default().problems(&format!("topics = '{}'", "t".repeat(249)));
    assert!(problems.contains("consumer_group_id: found \"pelton-f-ttt"), "{problems}");
    assert!(Lab::default().problems("consumer_group_id = 'a!b'").contains("consumer_group_id: found"));
    assert!(Lab::default().problems("consumer_group_id = ''").contains("consumer_group_id: found"));
    assert_eq!(Lab::default().mapping("consumer_group_id = 'my group/1'").consumer_group_id, "my group/1");
}

#[test]
fn the_fewest_pollers_are_no_more_than_all_and_no_fewer_than_threads() {
    for (given, found) in [
        ("pollers_min = 6", "engine.pollers_min: found 6 with 5 pollers"),
        ("pollers_min = 9999999999", "engine.pollers_min: found "),
        ("pollers_min = 0", "engine.pollers_min: found 0; allowed: 1 to engine.pollers"),
        ("pollers_min = 1\nthreads = 2", "engine.pollers_min: found 1 with 2 threads"),
    ] {
        let problems = Lab::default().problems(&format!("[engine]\n{given}"));
        assert!(problems.contains(found), "{given}: {problems}");
        assert_eq!(problems.matches("- engine.").count(), 1, "{given}: {problems}");
    }
    for (given, least) in
        [("", 5), ("pollers = 3", 3), ("pollers_min = 1", 1), ("pollers_min = 2\nthreads = 2", 2)]
    {
        let mapping = Lab::default().mapping(&format!("[engine]\n{given}"));
        assert_eq!(mapping.engine.pollers_min, least, "{given}");
    }
    // Memory is divided for the most.
    let scaled = Lab::default().mapping("[engine]\npollers_min = 1");
    assert_eq!(scaled.division(), Lab::default().mapping("").division());
}

#[test]
fn a_memory_budget_that_is_too_small_says_what_would_be_enough() {
    let problems = Lab::default().problems("[engine]\npollers = 1000");
    assert!(problems.contains("engine.memory_budget: found 256MiB; allowed: at least"), "{problems}");
    assert!(
        problems.contains("for 1000 pollers in 1 thread with events of up to 6291455 bytes"),
        "{problems}"
    );
    let enough = problems.split("or lower engine.pollers to ").nth(1).expect("a remedy").trim();
    Lab::default().mapping(&format!("[engine]\npollers = {enough}"));
    let tiny = Lab::default().problems("[engine]\npollers = 1\nmemory_budget = '4MiB'");
    assert!(tiny.contains("raise it, or lower engine.threads or engine.payload_bytes_max"), "{tiny}");
    let idle = Lab::default().problems("[engine]\nthreads = 6");
    assert!(idle.contains("engine.threads: found 6 with 5 pollers"), "{idle}");
}

#[test]
fn the_client_is_kept_within_its_part_of_the_budget() {
    let mapping = Lab::default().mapping("");
    let division = mapping.division();
    assert!(division.total() <= mapping.engine.memory_budget);
    let properties = mapping.memory_properties();
    let of = |name: &str| {
        let property = properties.iter().find(|property| property.name() == name).expect(name);
        property.reveal().parse::<u64>().expect("a number")
    };
    assert!(of("queued.max.messages.kbytes") * 1_000 <= division.prefetch_bytes_per_poller);
    assert_eq!(of("queued.min.messages"), division.prefetch_records_per_poller);
    assert!(of("fetch.max.bytes") >= 1_000_000, "librdkafka wants at least message.max.bytes");
    assert!(of("fetch.message.max.bytes") <= of("fetch.max.bytes"));
}

#[test]
fn what_the_guarantees_rest_on_cannot_be_overridden() {
    let mapping = Lab::default().mapping("[engine.librdkafka]\nfetch.wait.max.ms = 50\ndebug = 'cgrp'");
    let properties: Vec<_> = mapping.engine.librdkafka.iter().map(|p| (p.name(), p.reveal())).collect();
    assert_eq!(properties, [("debug", "cgrp"), ("fetch.wait.max.ms", "50")]);
    for name in [
        "enable.auto.commit",
        "enable.auto.offset.store",
        "group.id",
        "bootstrap.servers",
        "auto.offset.reset",
    ] {
        let problems = Lab::default().problems(&format!("[engine.librdkafka]\n{name} = 'x'"));
        assert!(problems.contains(&format!("engine.librdkafka.{name}: found x")), "{problems}");
        assert!(problems.contains("remove it: "), "{problems}");
    }
    let problems = Lab::default().problems("[engine.librdkafka]\nsasl.password = 'hunter2'\n'No Such' = 1");
    assert!(!problems.contains("hunter2") && problems.contains("engine.librdkafka.No Such"), "{problems}");
    let problems =
        Lab::default().problems("[engine]\nthreads = 2\n[engine.librdkafka]\ngroup.instance.id = 'a'");
    assert!(problems.contains("with one thread only"), "{problems}");
}

#[test]
fn the_words_of_the_engine_are_checked() {
    let toml = "[engine]\ngroup_protocol = 'consumer'\noversized = 'BLOCK'\nsigning = 'never'\nlog_format = 'json'\nmetrics_address = 'off'";
    let engine = Lab::default().mapping(toml).engine;
    assert_eq!(engine.group_protocol, GroupProtocol::Consumer);
    assert_eq!((engine.oversized, engine.signing), (Oversized::Block, Signing::Never));
    assert_eq!((engine.log_format, engine.metrics_address), (LogFormat::Json, None));
    for (name, allowed) in [
        ("group_protocol", "classic or consumer"),
        ("oversized", "skip or block"),
        ("metrics_address", "ip:port or off"),
    ] {
        let problems = Lab::default().problems(&format!("[engine]\n{name} = 'eager'"));
        assert!(
            problems.contains(&format!("engine.{name}: found")) && problems.contains(allowed),
            "{problems}"
        );
    }
}

#[test]
fn explaining_shows_each_value_with_its_origin() {
    let mut origins = Origins::default();
    origins.add_flags(&"batch_size = '500'".parse().expect("TOML"));
    origins
        .add_file("pelton.toml", &with_required("batch_size = 7\nsource_access = ['BASIC_AUTH=env:LOGIN']"));
    let lab = Lab::default().variable("LOGIN", r#"{"username":"alice","password":"hunter2"}"#);
    let mapping = origins.validate(&lab).expect("valid");
    let text = explain(&mapping, &origins);
    let row = |name: &str| -> Vec<&str> {
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{name} "))).expect(name);
        line.split_whitespace().collect()
    };
    assert_eq!(row("batch_size"), ["batch_size", "500", "(flag)"]);
    assert_eq!(row("topics"), ["topics", "orders", "(pelton.toml)"]);
    assert_eq!(row("maximum_batching_window"), ["maximum_batching_window", "500ms", "(default)"]);
    assert_eq!(row("consumer_group_id")[2..].join(" "), "(default, from function and topic)");
    assert_eq!(row("source_access"), ["source_access", "BASIC_AUTH=env:LOGIN", "(pelton.toml)"]);
    assert!(
        text.contains("sasl.password = (hidden)") && text.contains("security.protocol = SASL_SSL"),
        "{text}"
    );
    assert!(!text.contains("hunter2") && !format!("{mapping:?}").contains("hunter2"));
    for (_, setting) in Settings::list().filter(|(_, s)| {
        !["region", "event_source_arn", "starting_position_timestamp", "log_level"].contains(&s.name)
    }) {
        assert!(text.contains(&format!("  {} ", setting.name)), "{} is not explained", setting.name);
    }
}

#[test]
fn a_mapping_s_settings_make_the_same_mapping_again() {
    let lab = Lab::default();
    let mapping = lab.mapping("maximum_batching_window = 0\nfunction = 'f:v1'\n[engine]\nlog_level = 'debug'\n[engine.librdkafka]\ndebug = 'all'");
    let again = mapping.settings().validate(&lab).expect("still valid");
    assert_eq!(again.settings(), mapping.settings());
    assert_eq!(again.division(), mapping.division());
}

#[test]
fn every_setting_is_documented_and_says_its_default_or_need() {
    for (path, setting) in Settings::list() {
        assert!(setting.doc.iter().any(|line| line.trim().len() > 10), "{path}");
        let needed = ["topics", "bootstrap_servers", "function", "starting_position_timestamp"]
            .contains(&path.as_str());
        assert_eq!(needed, !setting.allowed.contains("default"), "{path}: {}", setting.allowed);
    }
}
