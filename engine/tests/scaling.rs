//! Pollers by lag, with the Kafka client and without HTTP: a backlog makes them more, its end makes
//! them fewer, and no record notices.
#![cfg(feature = "kafka")]

#[path = "support/in_process.rs"]
mod in_process;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/scripted.rs"]
mod scripted;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use in_process::{OK, all_committed, settings, start_with, until};
use pelton::batch::BatchLimits;
use pelton::ids::Topic;
use pelton::invoke::Invoker;
use pelton::pipeline::{Engine, EngineHandle, EngineSettings};
use pelton::scale::ScalingRules;
use pelton::source::consumer::KafkaSource;
use pelton::source::embedded::EmbeddedBroker;
use pelton::source::settings::KafkaSettings;
use pelton::telemetry::Count;
use pelton::time::Clock;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use scripted::Scripted;

const PARTITIONS: u16 = 6;
const POLLERS: u32 = 4;

/// Looks often, so that a test need not wait for minutes.
fn rules() -> ScalingRules {
    ScalingRules {
        look_interval: Duration::from_millis(200),
        catch_up: Duration::from_secs(1),
        looks_to_shrink: 3,
        ..ScalingRules::between(1, POLLERS)
    }
}

fn scaled() -> EngineSettings {
    EngineSettings {
        limits: BatchLimits { batch_size: 20, ..settings().limits },
        pollers: POLLERS as usize,
        scaling: Some(rules()),
        ..settings()
    }
}

fn broker() -> EmbeddedBroker {
    let broker = EmbeddedBroker::start(1).expect("a socket");
    broker.create_topic(&Topic::new("t"), PARTITIONS).expect("a new topic");
    broker
}

/// Appends so many records to each partition.
fn produce(broker: &EmbeddedBroker, records: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap_servers())
        .set("linger.ms", "5")
        .create()
        .expect("valid settings");
    for partition in (0..i32::from(PARTITIONS)).cycle().take(records * usize::from(PARTITIONS)) {
        let record = BaseRecord::<(), str>::to("t").partition(partition).payload("value");
        producer.send(record).map_err(|(error, _)| error).expect("room in the producer's queue");
    }
    producer.flush(Duration::from_secs(60)).expect("written");
}

fn start<I: Invoker>(broker: &EmbeddedBroker, settings: EngineSettings, invoker: &Arc<I>) -> EngineHandle {
    let kafka = KafkaSettings::new(&broker.bootstrap_servers(), &Topic::new("t"), "group")
        .with("fetch.wait.max.ms", "10")
        .with("session.timeout.ms", "3000")
        .with("heartbeat.interval.ms", "300")
        .with("statistics.interval.ms", "100");
    let connect = |plan: pelton::pipeline::ThreadPlan| {
        KafkaSource::new(KafkaSettings { queues: plan.pollers, ..kafka.clone() }, plan.wake)
    };
    Engine::start(settings, connect, invoker, None, Clock::start()).expect("the engine starts")
}

fn pollers(engine: &EngineHandle) -> u64 {
    engine.counters().totals().pollers
}

fn delivered(engine: &EngineHandle) -> u64 {
    engine.counters().totals().records(Count::Delivered)
}

/// Every record of every partition once, in order.
fn assert_once_in_order(delivered: &[(i32, i64)], records: i64) {
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for &(partition, offset) in delivered {
        let next = next.entry(partition).or_default();
        assert_eq!(offset, *next, "partition {partition}");
        *next += 1;
    }
    assert_eq!(next.len(), usize::from(PARTITIONS));
    assert!(next.values().all(|next| *next == records), "{next:?} of {records}");
}

#[test]
fn a_backlog_makes_pollers_more_and_its_end_makes_them_fewer() {
    const BACKLOG: usize = 2_000;
    const LATER: usize = 100;
    let broker = broker();
    produce(&broker, BACKLOG);
    let invoker = Scripted::new(|_, _| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        OK
    });
    let engine = start(&broker, scaled(), &invoker);
    assert_eq!(pollers(&engine), 1);
    until("all pollers are in use", || pollers(&engine) == u64::from(POLLERS));
    let all = (BACKLOG * usize::from(PARTITIONS)) as u64;
    until("the backlog is delivered", || delivered(&engine) == all);
    assert!(
        invoker.most_in_flight.load(std::sync::atomic::Ordering::SeqCst) > 1,
        "partitions have moved to the new pollers"
    );
    until("one poller is enough", || pollers(&engine) == 1);
    produce(&broker, LATER);
    until("what came later is delivered", || {
        delivered(&engine) == all + (LATER * usize::from(PARTITIONS)) as u64
    });
    engine.drain();
    assert!(engine.join().fatal.is_none());
    assert_once_in_order(&invoker.delivered(), (BACKLOG + LATER) as i64);
}

#[test]
fn a_drain_in_the_middle_of_moves_leaves_nothing_behind_and_repeats_nothing() {
    const RECORDS: usize = 400;
    let broker = broker();
    produce(&broker, RECORDS);
    let invoker = Scripted::new(|_, _| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        OK
    });
    for _ in 0..3 {
        let before = invoker.calls.lock().expect("calls").len();
        let engine = start(&broker, scaled(), &invoker);
        // Partitions are under way at that moment, and wait to move.
        until("pollers are added", || pollers(&engine) > 1);
        engine.drain();
        assert!(engine.join().fatal.is_none());
        assert!(invoker.calls.lock().expect("calls").len() > before);
    }
    let engine = start(&broker, scaled(), &invoker);
    let all = RECORDS * usize::from(PARTITIONS);
    until("all is delivered", || {
        invoker.calls.lock().expect("calls").iter().map(Vec::len).sum::<usize>() == all
    });
    engine.drain();
    assert!(engine.join().fatal.is_none());
    assert_once_in_order(&invoker.delivered(), RECORDS as i64);
}

#[test]
fn a_source_that_cannot_move_partitions_has_all_its_pollers_in_use() {
    let log = memory::log(5, 500);
    let invoker = Scripted::new(|_, _| async { OK });
    let engine = start_with(scaled(), &log, b"value", &invoker, None);
    until("all is committed", || {
        assert_eq!(pollers(&engine), u64::from(POLLERS));
        all_committed(&log)
    });
    engine.drain();
    assert!(engine.join().fatal.is_none());
}
