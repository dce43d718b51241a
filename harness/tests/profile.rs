//! Profiles whole runs, on short loads: what a build that is not optimised takes is of no interest,
//! but that everything adds up is.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use pelton_harness::profile::result::{Profile, StageFloor, StageReport};
use pelton_harness::profile::stages::Stage;
use pelton_harness::profile::symbols::Detail;
use pelton_harness::profile::{ProfilePlan, Profiled, profile};
use pelton_harness::report::page::page;
use pelton_harness::report::profile::report;
use pelton_harness::run::RunPlan;
use pelton_harness::workload::spec::Spec;

/// A process is profiled once at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn plan(text: &str, live: bool, floors: bool) -> ProfilePlan {
    let spec = Spec::from_toml(text, "test").expect("a spec");
    let scenario = spec.resolve().expect("a scenario");
    ProfilePlan {
        run: RunPlan { name: "test".into(), spec, scenario },
        live,
        interval: Duration::from_millis(1),
        slice: Duration::from_millis(100),
        floors,
        command: "pelton-harness profile".into(),
    }
}

fn profiled(text: &str, floors: bool) -> Profiled {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    profile(&plan(text, false, floors), &AtomicBool::new(false), &mut |_| {}).expect("a profile")
}

fn stage(profile: &Profile, stage: Stage) -> &StageReport {
    profile.stages.iter().find(|report| report.stage == stage).expect("every stage is there")
}

fn adds_up(profile: &Profile) {
    let shares: f64 = profile.stages.iter().map(|stage| stage.share).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{shares}");
    let sum: f64 = profile.stages.iter().map(|stage| stage.cpu_ns_per_record).sum();
    assert!((sum / profile.cpu_ns_per_record - 1.0).abs() < 1e-6, "{sum} of {}", profile.cpu_ns_per_record);
    let kinds: f64 = profile.threads.iter().map(|threads| threads.cpu_ns_per_record).sum();
    assert!((kinds / profile.cpu_ns_per_record - 1.0).abs() < 1e-6);
    assert!(profile.sampling.samples > 0 && profile.agreement.pairs > 0);
}

#[test]
fn from_memory_the_parts_of_encoding_are_told_apart() {
    let text = "source = \"memory\"\nduration = \"2s\"\nwarm_up = \"100ms\"\nbatch_size = 1000\n\
                headers = [\"trace:16B\"]\nkey = \"random(8B)\"";
    let Profiled { profile, flame_svg, is_clean } = profiled(text, true);
    assert!(is_clean);
    adds_up(&profile);
    assert_eq!(profile.symbols, Detail::Inlined);
    for used in [Stage::Base64, Stage::Headers, Stage::Json] {
        let report = stage(&profile, used);
        assert!(report.samples > 0, "{report:?}");
        assert!(matches!(report.floor, StageFloor::Measured(_)) && report.distance.is_some(), "{report:?}");
    }
    assert!(stage(&profile, Stage::Send).unused.as_ref().unwrap().contains("stub in process"));
    assert!(stage(&profile, Stage::Filter).unused.is_some());
    assert!((profile.traffic.body_bytes_per_record - (1024.0 + 8.0)).abs() < 1e-9);
    assert!((profile.traffic.header_bytes_per_record - (5.0 + 16.0)).abs() < 1e-9);

    let html = page(&profile, flame_svg.as_deref());
    assert!(html.contains("<svg") && html.contains("write_run"));
    let read_back: Profile = serde_json::from_str(&serde_json::to_string(&profile).unwrap()).unwrap();
    assert_eq!(read_back.stages.len(), profile.stages.len());
    assert!(report(&profile).contains("rest of the JSON"));
}

#[test]
fn from_a_broker_the_clients_threads_are_sampled_as_poll() {
    let text = "source = \"embedded\"\nduration = \"2s\"\nwarm_up = \"200ms\"\nbatch_size = 1000\n\
                value_size = \"200B\"\npartitions = 4";
    let Profiled { profile, flame_svg, .. } = profiled(text, true);
    adds_up(&profile);
    let poll = stage(&profile, Stage::Poll);
    assert!(poll.samples > 0 && poll.share > 0.0, "{poll:?}");
    assert!(matches!(poll.floor, StageFloor::Measured(_)), "{:?}", profile.remarks);
    let flame = flame_svg.unwrap();
    assert!(flame.contains("rd_kafka_"), "their calls are there by name");
    // Invocation threads may have too little work to be met; librdkafka's have not.
    assert!(!flame.contains("s threads (not sampled)"), "librdkafka lets the signal through");
}

#[test]
fn a_live_topic_is_read_and_nothing_is_added_to_it() {
    use pelton::ids::Topic;
    use pelton::source::embedded::EmbeddedBroker;
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    // Below what the embedded broker keeps of a partition. The function takes its time, so that however
    // fast the machine is, the topic lasts for several slices.
    const RECORDS: usize = 240_000;
    const PARTITIONS: u16 = 8;
    let broker = EmbeddedBroker::start(1).unwrap();
    broker.create_topic(&Topic::new("orders"), PARTITIONS).unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap_servers());
    let producer: BaseProducer = config.create().unwrap();
    for _ in 0..RECORDS {
        let mut record = BaseRecord::<(), [u8]>::to("orders").payload(&[7; 100]);
        while let Err((_, refused)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = refused;
        }
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let ends = || {
        let consumer: BaseConsumer = config.clone().set("group.id", "look").create().unwrap();
        [0, 1]
            .map(|partition| consumer.fetch_watermarks("orders", partition, Duration::from_secs(10)).unwrap())
    };
    let before = ends();

    let text = format!(
        "brokers = \"{}\"\ntopic = \"orders\"\nduration = \"1s\"\nbatch_size = 1000\nmaximum_batching_window = \"0s\"\n\
         stub = \"fixed(20ms)\"",
        broker.bootstrap_servers()
    );
    let plan = plan(&text, true, false);
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Profiled { profile: report, .. } = profile(&plan, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(report.traffic.records > 0, "{report:?}");
    assert!(report.source.contains("read as it is"), "{}", report.source);
    assert_eq!(ends(), before, "nothing was produced");
}
