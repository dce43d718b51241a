//! SIGKILL under load: nothing is lost, and only what was not committed comes again.

use std::time::Duration;

use crate::stage::Stage;
use crate::support::PATIENCE;
use crate::support::broker::Broker;
use crate::support::content::Content;
use crate::support::engine::Engine;
use crate::support::fault::Law;

fn an_engine_is_killed_three_times(group_protocol: &str) {
    let broker = Broker::shared();
    let topic = broker.topic("crash", 4);
    let law = Law::slow(Duration::from_millis(20));
    let stage = Stage::new(broker.plaintext(), topic, 4, Content::new(51, 20..=500), law);
    let records = 4_000;
    stage.fill(records);
    let settings = stage.settings().group_protocol(group_protocol).with("batch_size", "20");
    let mut uncommitted = 0;
    for kill_after in [4_000, 8_000, 12_000] {
        let engine = Engine::start(&settings);
        stage.reach(kill_after);
        stage.ledger.crashed();
        engine.kill();
        // The function ends what it has begun, killed caller or not.
        assert!(stage.ledger.wait(PATIENCE, |p| p.in_flight == 0));
        uncommitted += stage.assert_commits_are_behind();
    }
    let engine = Engine::start(&settings);
    stage.reach(stage.total(records));
    engine.drain();
    let progress = stage.audit(records);
    assert!(progress.duplicates <= uncommitted, "{uncommitted} were done and uncommitted: {progress:?}");
    // Four records a millisecond and a commit every 200: about 800 each time.
    assert!(uncommitted < 6_000, "{uncommitted} of the first 12000 were not committed by those who did them");
}

#[test]
fn an_engine_killed_under_load_loses_nothing_with_the_classic_protocol() {
    an_engine_is_killed_three_times("classic");
}

#[test]
fn an_engine_killed_under_load_loses_nothing_with_the_consumer_protocol() {
    an_engine_is_killed_three_times("consumer");
}

#[test]
fn the_survivor_takes_over_from_the_killed() {
    let broker = Broker::shared();
    let topic = broker.topic("survivor", 4);
    let law = Law::slow(Duration::from_millis(30));
    let stage = Stage::new(broker.plaintext(), topic, 4, Content::new(52, 20..=200), law);
    let records = 4_000;
    stage.fill(records);
    let settings = stage.settings();
    let killed = Engine::start(&settings);
    stage.reach(1_000);
    let survivor = Engine::start(&settings);
    stage.reach(6_000);
    stage.ledger.crashed();
    killed.kill();
    stage.reach(stage.total(records));
    survivor.drain();
    stage.audit(records);
}

/// A process that the machine stops for longer than the session loses its partitions to the other
/// and must not speak for them when it wakes.
#[test]
fn an_engine_that_was_frozen_commits_nothing_for_what_it_lost() {
    let broker = Broker::shared();
    let topic = broker.topic("frozen", 4);
    let law = Law::slow(Duration::from_millis(30));
    let stage = Stage::new(broker.plaintext(), topic, 4, Content::new(53, 20..=200), law);
    let records = 6_000;
    stage.fill(records);
    let settings = stage.settings();
    let frozen = Engine::start(&settings);
    stage.reach(1_000);
    let other = Engine::start(&settings);
    stage.reach(4_000);
    stage.ledger.froze();
    frozen.signal("STOP");
    stage.reach(14_000);
    let before = stage.committed();
    frozen.signal("CONT");
    stage.reach(18_000);
    for (before, after) in before.iter().zip(stage.committed()) {
        assert!(after >= *before, "the group's position went back from {before:?} to {after:?}");
    }
    stage.reach(stage.total(records));
    frozen.drain();
    other.drain();
    stage.audit(records);
}
