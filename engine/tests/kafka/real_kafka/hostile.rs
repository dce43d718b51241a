//! A function that fails in every way there is, and engines that are killed meanwhile.

use crate::stage::Stage;
use crate::support::broker::Broker;
use crate::support::content::Content;
use crate::support::engine::Engine;
use crate::support::fault::{Answer, Law};

/// Records in all. `PELTON_TEST_HOSTILE_RECORDS=1000000` is the full size; the default keeps the
/// suite short.
fn records() -> u64 {
    std::env::var("PELTON_TEST_HOSTILE_RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(80_000)
}

/// Three invocations in ten fail: slow, 500, 503, 429, function errors, resets before and within
/// the answer, half answers, garbage, silence. Three engines are killed on the way.
#[test]
fn a_hostile_function_and_killed_engines_lose_nothing_and_keep_the_order() {
    let broker = Broker::shared();
    let partitions = 8;
    let each = records() / 8;
    let topic = broker.topic("hostile", partitions);
    let stage =
        Stage::new(broker.plaintext(), topic, partitions, Content::new(71, 20..=200), Law::hostile(71));
    stage.fill(each);
    let settings = stage
        .settings()
        .with("batch_size", &(each / 20).clamp(100, 1_000).to_string())
        .engine("pollers", &partitions.to_string())
        .engine("function_timeout", "1s")
        .engine("connect_timeout", "1s");
    for quarter in 1..=3 {
        let engine = Engine::start(&settings);
        stage.reach(stage.total(each) * quarter / 4);
        stage.ledger.crashed();
        engine.kill();
        stage.assert_commits_are_behind();
    }
    let engine = Engine::start(&settings);
    stage.reach(stage.total(each));
    engine.drain();
    let progress = stage.audit(each);
    println!("{progress:?}\n{:?}", stage.function.answers());
    assert!(progress.refused > progress.invocations / 10, "the function was hostile: {progress:?}");
}

/// Each fault alone, so that a failure names it.
#[test]
fn each_fault_is_retried_until_success_and_nothing_is_passed_over() {
    let faults = [
        Answer::Status(500),
        Answer::Status(503),
        Answer::Status(400),
        Answer::Throttled(1),
        Answer::FunctionError("Unhandled"),
        Answer::FunctionError("Handled"),
        Answer::ResetBefore,
        Answer::ResetMid,
        Answer::Truncated,
        Answer::Garbage,
        Answer::Hang,
        Answer::Drip,
    ];
    for fault in faults {
        let broker = Broker::shared();
        let topic = broker.topic("fault", 2);
        let stage = Stage::new(broker.plaintext(), topic, 2, Content::new(72, 20..=50), Law::always(fault));
        stage.fill(300);
        let engine = Engine::start(&stage.settings().engine("function_timeout", "500ms"));
        stage.ledger.reach("a retry", |p| p.refused >= 2);
        let progress = stage.ledger.progress();
        assert_eq!(progress.acknowledged, 0, "{fault:?}");
        assert!(stage.committed().iter().all(|offset| offset.is_none_or(|offset| offset == 0)), "{fault:?}");
        stage.function.obey(Law::kind());
        stage.reach(stage.total(300));
        engine.drain();
        assert_eq!(stage.audit(300).duplicates, 0, "{fault:?}");
    }
}

/// A batch that waits for its next attempt is not done: it is not committed, and it is the first that the
/// successor sends.
#[test]
fn an_engine_stopped_during_a_backoff_ends_and_its_successor_goes_on() {
    let broker = Broker::shared();
    let topic = broker.topic("backoff", 2);
    let law = Law::always(Answer::FunctionError("Unhandled"));
    let stage = Stage::new(broker.plaintext(), topic, 2, Content::new(73, 20..=50), law);
    stage.fill(300);
    let settings = stage.settings().engine("drain_deadline", "2s");
    let engine = Engine::start(&settings);
    stage.ledger.reach("some retries", |p| p.refused >= 4);
    engine.terminate();
    assert_eq!(stage.ledger.progress().acknowledged, 0);
    stage.function.obey(Law::kind());
    let engine = Engine::start(&settings);
    stage.reach(stage.total(300));
    engine.drain();
    assert_eq!(stage.audit(300).duplicates, 0);
}
