//! [`Settings`] into a [`Mapping`]: ranges, and what settings demand of each other.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::function::{is_host_and_port, is_region};
use super::limits::{
    self, BATCH_SIZE, BATCHING_WINDOW, BOOTSTRAP_SERVER_CHARS, BOOTSTRAP_SERVERS, TOPIC_CHARS,
};
use super::problem::{MappingError, Problem};
use super::settings::{EngineSettings, MappingSettings, Settings, allowed};
use super::value::{Size, Span, Text, Whole};
use super::{
    Endpoint, EngineOptions, Function, Mapping, Pattern, SecurityProtocol, SourceAccess, StartingPosition,
    Surroundings, Word, access,
};
use crate::ids::Topic;

mod engine;
mod failures;
mod filters;
#[cfg(test)]
mod fixture;

impl Settings {
    /// Checks everything and fills in what was not given. Reads the secrets that `source_access`
    /// names; connects to nothing.
    ///
    /// # Errors
    /// If anything is wrong: all of it.
    pub fn validate(&self, surroundings: &dyn Surroundings) -> Result<Mapping, MappingError> {
        let mut check =
            Check { surroundings, problems: Vec::new(), notes: Vec::new(), derived: BTreeMap::new() };
        let mapping = check.mapping(&self.mapping, &self.engine);
        MappingError::unless_empty(check.problems)?;
        // Without a problem everything was there; the message is for the day that this is wrong.
        mapping.ok_or_else(|| {
            Problem::missing(
                "mapping",
                "all required settings",
                "this is a fault in Pelton: please report it",
            )
            .into()
        })
    }
}

impl Settings {
    /// The filters alone, and what is wrong with them.
    pub(super) fn filters(&self, surroundings: &dyn Surroundings) -> (Vec<Pattern>, Vec<Problem>) {
        let mut check =
            Check { surroundings, problems: Vec::new(), notes: Vec::new(), derived: BTreeMap::new() };
        let patterns = check.filter_criteria(&self.mapping, &self.engine);
        (patterns, check.problems)
    }
}

struct Check<'a> {
    surroundings: &'a dyn Surroundings,
    problems: Vec<Problem>,
    notes: Vec<String>,
    derived: BTreeMap<&'static str, String>,
}

impl Check<'_> {
    fn wrong(&mut self, path: &str, found: &str, remedy: &str) {
        self.problems.push(Problem::wrong(path, found, allowed(path), remedy));
    }

    fn missing(&mut self, path: &str, remedy: &str) {
        self.problems.push(Problem::missing(path, allowed(path), remedy));
    }

    fn whole(&mut self, path: &str, given: Option<Whole>, default: i64, range: &RangeInclusive<i64>) -> u32 {
        let number = given.map_or(default, |whole| whole.0);
        if !range.contains(&number) {
            self.wrong(path, &number.to_string(), direction(number < *range.start()));
        }
        u32::try_from(number).unwrap_or(0)
    }

    fn span(
        &mut self,
        path: &str,
        given: Option<Span>,
        default: Duration,
        range: &RangeInclusive<Duration>,
    ) -> Duration {
        let span = given.unwrap_or(Span(default));
        if !range.contains(&span.0) {
            self.wrong(path, &span.to_string(), direction(span.0 < *range.start()));
        }
        span.0
    }

    fn size(&mut self, path: &str, given: Option<Size>, default: u64, range: &RangeInclusive<u64>) -> u64 {
        let size = given.unwrap_or(Size(default));
        if !range.contains(&size.0) {
            self.wrong(path, &format!("{} bytes", size.0), direction(size.0 < *range.start()));
        }
        size.0
    }

    fn word<W: Word>(&mut self, path: &str, given: Option<&Text>, default: W) -> W {
        let Some(Text(word)) = given else { return default };
        let found = W::WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        if found.is_none() {
            self.wrong(path, word, "write one of these words");
        }
        found.map_or(default, |(_, meaning)| *meaning)
    }

    fn mapping(&mut self, given: &MappingSettings, engine: &EngineSettings) -> Option<Mapping> {
        let topic = self.topic(given);
        let bootstrap_servers = self.bootstrap_servers(given);
        let event_source_arn = self.event_source_arn(given);
        let function = self.function(given);
        let consumer_group_id = self.consumer_group_id(given, topic.as_ref(), function.as_ref());
        let starting_position = self.starting_position(given);
        let batch_size = self.whole("batch_size", given.batch_size, limits::BATCH_SIZE_DEFAULT, &BATCH_SIZE);
        let maximum_batching_window = self.span(
            "maximum_batching_window",
            given.maximum_batching_window,
            limits::BATCHING_WINDOW_DEFAULT,
            &BATCHING_WINDOW,
        );
        let filter_criteria = self.filter_criteria(given, engine);
        let destination = self.destination(given, topic.as_ref());
        let maximum_retry_attempts = self.retry_attempts(given, destination.is_some());
        let maximum_record_age = self.record_age(given);
        let report_batch_item_failures = self.report_batch_item_failures(given);
        let region = self.region(given, function.as_ref());
        let function_endpoint = self.function_endpoint(given, function.is_some(), region.as_deref());
        let access_entries = given.source_access.clone().map(|entries| entries.0).unwrap_or_default();
        let source_access =
            access::read(&access_entries, self.surroundings, &mut self.problems, &mut self.notes);
        let engine = self.engine(engine);
        let division = self.division(&engine, batch_size);
        self.check_tls(&source_access, &engine);
        Some(Mapping {
            topic: topic?,
            bootstrap_servers: bootstrap_servers?,
            event_source_arn,
            consumer_group_id: consumer_group_id?,
            starting_position,
            batch_size,
            maximum_batching_window,
            filter_criteria,
            maximum_retry_attempts,
            maximum_record_age,
            bisect_batch_on_function_error: given.bisect_batch_on_function_error.is_some_and(|on| on.0),
            report_batch_item_failures,
            destination,
            function: function?,
            function_endpoint: function_endpoint?,
            region,
            source_access,
            engine,
            notes: std::mem::take(&mut self.notes),
            access_entries,
            derived: std::mem::take(&mut self.derived),
            division: division?,
        })
    }

    fn topic(&mut self, given: &MappingSettings) -> Option<Topic> {
        const PATH: &str = "topics";
        let Some(names) = &given.topics else {
            self.missing(PATH, "name the topic to read");
            return None;
        };
        let [name] = names.0.as_slice() else {
            let remedy = "a mapping reads one topic: run one `pelton` for each";
            self.wrong(PATH, &format!("{} topics", names.0.len()), remedy);
            return None;
        };
        const _: () = assert!(limits::TOPICS == 1);
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !plain || name.starts_with('.') || !TOPIC_CHARS.contains(&name.len()) {
            self.wrong(PATH, &format!("\"{name}\""), "correct the name");
            return None;
        }
        Some(Topic::new(name))
    }

    fn bootstrap_servers(&mut self, given: &MappingSettings) -> Option<Vec<String>> {
        const PATH: &str = "bootstrap_servers";
        let Some(servers) = &given.bootstrap_servers else {
            self.missing(PATH, "name at least one broker, such as localhost:9092");
            return None;
        };
        let before = self.problems.len();
        if !BOOTSTRAP_SERVERS.contains(&servers.0.len()) {
            self.wrong(
                PATH,
                &format!("{} servers", servers.0.len()),
                "a few are enough: the client finds the others",
            );
        }
        for server in &servers.0 {
            if !BOOTSTRAP_SERVER_CHARS.contains(&server.chars().count()) || !is_host_and_port(server) {
                self.wrong(
                    PATH,
                    &format!("\"{server}\""),
                    "write host:port, such as broker-1.example.com:9092",
                );
            }
        }
        (self.problems.len() == before).then(|| servers.0.clone())
    }

    fn event_source_arn(&mut self, given: &MappingSettings) -> Option<String> {
        let Text(arn) = given.event_source_arn.as_ref()?;
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let is_cluster = |text: &str| text.starts_with("cluster/") || text.starts_with("vpc-connection/");
        let is_msk = matches!(parts.as_slice(), ["arn", partition, "kafka", _, _, resource]
            if partition.starts_with("aws") && is_cluster(resource));
        let plain = arn.bytes().all(|b| b.is_ascii_alphanumeric() || b":/-_.".contains(&b));
        if !is_msk || !plain || arn.len() > limits::EVENT_SOURCE_ARN_CHARS_MAX {
            self.wrong(
                "event_source_arn",
                arn,
                "give the cluster's ARN, or leave it out for self-managed Kafka",
            );
        }
        Some(arn.clone())
    }

    fn function(&mut self, given: &MappingSettings) -> Option<Function> {
        let Some(Text(text)) = &given.function else {
            self.missing("function", "name the function to invoke");
            return None;
        };
        let function = Function::parse(text);
        if function.is_none() {
            self.wrong("function", &format!("\"{text}\""), "correct the name or ARN");
        }
        function
    }

    fn consumer_group_id(
        &mut self,
        given: &MappingSettings,
        topic: Option<&Topic>,
        function: Option<&Function>,
    ) -> Option<String> {
        const PATH: &str = "consumer_group_id";
        // AWS's default is the mapping's UUID, which nothing keeps between our runs. A name that
        // follows from what the mapping is finds its position again, and its fellow processes.
        let id = match &given.consumer_group_id {
            Some(Text(id)) => id.clone(),
            None => {
                let id = format!("pelton-{}-{}", function?.name(), topic?);
                self.derived.insert(PATH, "default, from function and topic".to_owned());
                id
            }
        };
        let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b" -/*:_+=.@".contains(&b));
        if !plain || !limits::CONSUMER_GROUP_ID_CHARS.contains(&id.len()) {
            self.wrong(PATH, &format!("\"{id}\""), "give a name within these limits");
            return None;
        }
        Some(id)
    }

    fn starting_position(&mut self, given: &MappingSettings) -> StartingPosition {
        const PATH: &str = "starting_position";
        const TIMESTAMP: &str = "starting_position_timestamp";
        let word = given.starting_position.as_ref().map_or("TRIM_HORIZON", |text| text.0.as_str());
        let moment = given.starting_position_timestamp;
        match (word, moment) {
            ("AT_TIMESTAMP", None) => {
                self.missing(TIMESTAMP, "say at which moment, or choose another position");
            }
            ("AT_TIMESTAMP", Some(moment)) => {
                if moment.unix_ms > self.surroundings.now_ms() {
                    self.wrong(TIMESTAMP, &format!("{moment}, which is in the future"), "give a past moment");
                } else if moment.unix_ms < 0 {
                    self.wrong(TIMESTAMP, &moment.to_string(), "give a moment after 1970");
                }
                return StartingPosition::AtTimestamp(moment);
            }
            ("TRIM_HORIZON" | "LATEST", Some(moment)) => {
                self.wrong(TIMESTAMP, &format!("{moment} with {word}"), "remove it, or set AT_TIMESTAMP");
            }
            ("LATEST", None) => return StartingPosition::Latest,
            ("TRIM_HORIZON", None) => {}
            (other, _) => self.wrong(PATH, &format!("\"{other}\""), "write one of these words"),
        }
        StartingPosition::TrimHorizon
    }

    fn region(&mut self, given: &MappingSettings, function: Option<&Function>) -> Option<String> {
        const PATH: &str = "region";
        let of_arn = function.and_then(Function::region);
        let region = if let Some(Text(region)) = &given.region {
            if of_arn.is_some_and(|of_arn| of_arn != region) {
                let found = format!("{region}, but the function's ARN says {}", of_arn.unwrap_or_default());
                self.wrong(PATH, &found, "leave it out, or correct one of them");
            }
            region.clone()
        } else if let Some(region) = of_arn {
            self.derived.insert(PATH, "from the function's ARN".to_owned());
            region.to_owned()
        } else {
            let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"];
            let named = |name: &'static str| Some((name, self.surroundings.variable(name)?));
            let (name, region) =
                variables.into_iter().filter_map(named).find(|(_, region)| !region.is_empty())?;
            self.derived.insert(PATH, format!("environment variable {name}"));
            region
        };
        if !is_region(&region) {
            self.wrong(PATH, &format!("\"{region}\""), "correct it");
            return None;
        }
        Some(region)
    }

    fn function_endpoint(
        &mut self,
        given: &MappingSettings,
        function_is_known: bool,
        region: Option<&str>,
    ) -> Option<Endpoint> {
        const PATH: &str = "function_endpoint";
        if let Some(Text(url)) = &given.function_endpoint {
            let endpoint = Endpoint::parse(url);
            if endpoint.is_none() {
                self.wrong(PATH, &format!("\"{url}\""), "correct the URL");
            }
            return endpoint;
        }
        if region.is_none() && function_is_known && given.region.is_none() {
            self.missing(
                PATH,
                "give the URL of a local runtime, or for AWS the region (or a full ARN as function)",
            );
        }
        self.derived.insert(PATH, "Lambda in the function's region".to_owned());
        region.map(Endpoint::aws)
    }

    /// Says where two settings together mean less than somebody may think.
    fn check_tls(&mut self, access: &SourceAccess, engine: &EngineOptions) {
        let protocol = SecurityProtocol::of(access, engine.tls, engine.allow_plaintext_sasl);
        if engine.allow_plaintext_sasl && protocol != SecurityProtocol::SaslPlaintext {
            self.notes.push(format!(
                "engine.allow_plaintext_sasl has no effect: the other settings ask for {}",
                protocol.name()
            ));
        }
        if protocol == SecurityProtocol::SaslPlaintext {
            self.notes.push(
                "engine.allow_plaintext_sasl: credentials travel without TLS; use it on this machine only"
                    .to_owned(),
            );
        }
    }
}

fn direction(too_small: bool) -> &'static str {
    if too_small { "raise it" } else { "lower it" }
}
