//! Several engines in one group.

use std::time::Duration;

use crate::stage::Stage;
use crate::support::broker::Broker;
use crate::support::content::Content;
use crate::support::engine::Engine;
use crate::support::fault::Law;
use crate::support::pause;

/// A second engine joins under load, a third too, the first leaves: partitions move five times
/// while batches are in flight. Nothing is repeated, because whoever lets go drains and commits.
fn engines_come_and_go_under_load(group_protocol: &str) {
    let broker = Broker::shared();
    let topic = broker.topic("rebalance", 8);
    let law = Law::slow(Duration::from_millis(40));
    let stage = Stage::new(broker.plaintext(), topic, 8, Content::new(41, 20..=300), law);
    let records = 5_000;
    stage.fill(records);
    let settings = stage.settings().group_protocol(group_protocol).with("batch_size", "50");

    let first = Engine::start(&settings);
    stage.reach(2_000);
    let second = Engine::start(&settings);
    stage.reach(10_000);
    let third = Engine::start(&settings);
    stage.reach(18_000);
    first.drain();
    stage.assert_commits_are_behind();
    stage.reach(26_000);
    second.drain();
    stage.reach(stage.total(records));
    third.drain();
    let progress = stage.audit(records);
    assert_eq!((progress.duplicates, progress.refused), (0, 0));
}

#[test]
fn engines_come_and_go_under_load_with_cooperative_rebalances() {
    engines_come_and_go_under_load("classic");
}

#[test]
fn engines_come_and_go_under_load_with_the_consumer_protocol() {
    engines_come_and_go_under_load("consumer");
}

/// Each engine is told to stop while its successor joins, at another moment of the rebalance each
/// time: a coordinator refuses commits then, and the last one must be sent again.
fn a_rolling_restart_repeats_nothing(group_protocol: &str) {
    let broker = Broker::shared();
    let topic = broker.topic("rolling", 8);
    let law = Law::slow(Duration::from_millis(10));
    let stage = Stage::new(broker.plaintext(), topic, 8, Content::new(43, 20..=100), law);
    let records = 10_000;
    stage.fill(records);
    let settings = stage.settings().group_protocol(group_protocol).with("batch_size", "20");
    let mut oldest = Engine::start(&settings);
    let mut newest = Engine::start(&settings);
    for round in 1..=6 {
        stage.reach(round * 4_000);
        let next = Engine::start(&settings);
        next.says("Connecting");
        pause(Duration::from_millis(round * 40));
        std::mem::replace(&mut oldest, std::mem::replace(&mut newest, next)).drain();
    }
    stage.reach(stage.total(records));
    oldest.drain();
    newest.drain();
    let progress = stage.audit(records);
    assert_eq!((progress.duplicates, progress.refused), (0, 0));
}

#[test]
fn a_rolling_restart_repeats_nothing_with_cooperative_rebalances() {
    a_rolling_restart_repeats_nothing("classic");
}

#[test]
fn a_rolling_restart_repeats_nothing_with_the_consumer_protocol() {
    a_rolling_restart_repeats_nothing("consumer");
}

#[test]
fn two_engines_share_the_partitions() {
    for group_protocol in ["classic", "consumer"] {
        let broker = Broker::shared();
        let topic = broker.topic("share", 4);
        let law = Law::slow(Duration::from_millis(100));
        let stage = Stage::new(broker.plaintext(), topic, 4, Content::new(42, 20..=30), law);
        stage.fill(1_500);
        // One poller each: in flight at once is then how many engines work.
        let settings =
            stage.settings().group_protocol(group_protocol).engine("pollers", "1").with("batch_size", "20");
        let first = Engine::start(&settings);
        stage.reach(100);
        let second = Engine::start(&settings);
        stage.ledger.reach("both work", |p| p.in_flight_max == 2);
        first.drain();
        second.drain();
        stage.assert_commits_are_behind();
        assert_eq!(stage.ledger.progress().duplicates, 0);
    }
}
