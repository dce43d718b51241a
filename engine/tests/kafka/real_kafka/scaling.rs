//! Pollers by lag against a real broker: partitions move between pollers among the group's own
//! rebalances, and the ledger's audit holds.

use std::sync::Arc;
use std::time::Duration;

use pelton::batch::BatchLimits;
use pelton::deliver::{FailureRules, RetryPolicy};
use pelton::ids::Topic;
use pelton::invoke::{LambdaInvoker, LambdaSettings, Signing};
use pelton::payload::Envelope;
use pelton::pipeline::{self, EngineHandle, EngineSettings, Oversized, ThreadPlan};
use pelton::scale::ScalingRules;
use pelton::source::consumer::KafkaSource;
use pelton::source::settings::{GroupProtocol, KafkaSettings};
use pelton::time::Clock;

use crate::stage::Stage;
use crate::support::broker::Broker;
use crate::support::client::Filler;
use crate::support::content::Content;
use crate::support::engine::Engine;
use crate::support::eventually;
use crate::support::fault::{Answer, Law};
use crate::support::function::NAME;

const POLLERS: usize = 6;
const THREADS: usize = 2;

/// An engine in this process, which looks at its lag often: the binary does so every ten seconds.
fn scaled(stage: &Stage, group_protocol: GroupProtocol) -> EngineHandle {
    let topic = Topic::new(&stage.topic);
    let mut kafka = KafkaSettings::new(&stage.bootstrap_servers, &topic, &stage.group)
        .with("statistics.interval.ms", "100");
    kafka.group_protocol = group_protocol;
    let mut lambda = LambdaSettings::new(NAME);
    lambda.endpoint = Some(stage.function.endpoint());
    let invoker = Arc::new(LambdaInvoker::new(&lambda, Signing::Unsigned).expect("an invoker"));
    let settings = EngineSettings {
        name: "scaled".into(),
        function_version: "$LATEST".into(),
        topic,
        envelope: Arc::new(Envelope::self_managed(&stage.bootstrap_servers)),
        filters: None,
        limits: BatchLimits {
            batch_size: 20,
            window: Duration::from_millis(50),
            payload_bytes_max: 6_291_455,
        },
        threads: THREADS,
        pollers: POLLERS,
        scaling: Some(ScalingRules {
            look_interval: Duration::from_millis(300),
            catch_up: Duration::from_secs(1),
            looks_to_shrink: 2,
            ..ScalingRules::between(
                u32::try_from(THREADS).expect("few"),
                u32::try_from(POLLERS).expect("few"),
            )
        }),
        arena_budget_bytes: 64 << 20,
        retry: RetryPolicy { backoff_base: Duration::from_millis(20), ..RetryPolicy::default() },
        failures: FailureRules::default(),
        destination: None,
        oversized: Oversized::Skip,
        commit_interval: Duration::from_millis(200),
        commit_metadata: true,
        drain_deadline: Duration::from_secs(20),
        invocation_threads: 1,
    };
    let connect = |plan: ThreadPlan| {
        KafkaSource::new(KafkaSettings { queues: plan.pollers, ..kafka.clone() }, plan.wake)
    };
    pipeline::Engine::start(settings, connect, &invoker, None, Clock::start()).expect("the engine starts")
}

fn pollers(engine: &EngineHandle) -> usize {
    usize::try_from(engine.counters().totals().pollers).expect("few")
}

fn stop(engine: EngineHandle) {
    engine.drain();
    assert!(engine.join().fatal.is_none());
}

/// Pollers are added for the backlog, taken away while the function is throttled, added again; a
/// second engine joins meanwhile, and the first leaves.
fn engines_scale_while_they_come_and_go(group_protocol: GroupProtocol) {
    let broker = Broker::shared();
    let topic = broker.topic("scaling", 12);
    let slow = || Law::slow(Duration::from_millis(40));
    let stage = Stage::new(broker.plaintext(), topic, 12, Content::new(44, 20..=300), slow());
    let records = 10_000;
    stage.fill(records);

    let first = scaled(&stage, group_protocol);
    assert_eq!(pollers(&first), THREADS);
    eventually("all pollers are in use", || pollers(&first) == POLLERS);
    stage.reach(8_000);
    let second = scaled(&stage, group_protocol);
    eventually("those of the second too", || pollers(&second) == POLLERS);
    stage.function.obey(Law::new(45, &[(Answer::Throttled(0), 400), (Answer::SlowMs(40), 600)]));
    eventually("pollers are taken away", || pollers(&first) < POLLERS && pollers(&second) < POLLERS);
    stage.assert_commits_are_behind();
    stage.function.obey(slow());
    assert!(stage.ledger.progress().acknowledged < stage.total(records), "too late to be added again");
    eventually("pollers are added again", || pollers(&first) == POLLERS || pollers(&second) == POLLERS);
    stop(first);
    stage.reach(stage.total(records));
    eventually("the fewest are enough", || pollers(&second) == THREADS);
    let filler = Filler::new(&stage.bootstrap_servers, &stage.topic, stage.ledger.content(), &[]);
    filler.fill(stage.partitions, records..records + 100);
    stage.reach(stage.total(records + 100));
    stop(second);
    assert_eq!(stage.audit(records + 100).duplicates, 0);
}

#[test]
fn engines_scale_while_they_come_and_go_with_cooperative_rebalances() {
    engines_scale_while_they_come_and_go(GroupProtocol::Classic);
}

#[test]
fn engines_scale_while_they_come_and_go_with_the_consumer_protocol() {
    engines_scale_while_they_come_and_go(GroupProtocol::Consumer);
}

/// The binary, in its own rhythm, killed right after its partitions have moved.
#[test]
fn a_crash_after_a_move_loses_nothing() {
    let broker = Broker::shared();
    let topic = broker.topic("scaling-crash", 8);
    let law = Law::slow(Duration::from_millis(50));
    let stage = Stage::new(broker.plaintext(), topic, 8, Content::new(46, 20..=100), law);
    let records = 2_500;
    stage.fill(records);
    let settings =
        stage.settings().with("batch_size", "20").engine("pollers", "8").engine("pollers_min", "1");
    let first = Engine::start(&settings);
    first.says("moved to other pollers");
    let so_far = stage.ledger.progress().acknowledged;
    stage.reach(so_far + 1_000);
    assert!(stage.ledger.progress().in_flight_max > 1, "one poller makes one invocation at a time");
    stage.ledger.crashed();
    first.kill();
    let second = Engine::start(&settings);
    stage.reach(stage.total(records));
    second.drain();
    stage.audit(records);
}
