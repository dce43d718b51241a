//! An engine that was stopped goes on where it stopped.

use std::time::Duration;

use crate::stage::Stage;
use crate::support::broker::Broker;
use crate::support::content::Content;
use crate::support::engine::Engine;
use crate::support::fault::Law;

#[test]
fn an_engine_stopped_under_load_drains_and_its_successor_repeats_nothing() {
    for group_protocol in ["classic", "consumer"] {
        let broker = Broker::shared();
        let topic = broker.topic("restart", 4);
        let law = Law::slow(Duration::from_millis(20));
        let stage = Stage::new(broker.plaintext(), topic, 4, Content::new(21, 20..=500), law);
        stage.fill(3_000);
        let settings = stage.settings().group_protocol(group_protocol);
        for stop_after in [2_000, 5_000, 8_000] {
            let engine = Engine::start(&settings);
            stage.reach(stop_after);
            engine.drain();
            let frontiers: Vec<_> = (0..4).map(|p| i64::try_from(stage.ledger.frontier(p)).ok()).collect();
            let committed: Vec<_> = stage.committed().iter().map(|c| Some(c.unwrap_or(0))).collect();
            assert_eq!(committed, frontiers, "everything done is committed");
        }
        let engine = Engine::start(&settings);
        stage.reach(stage.total(3_000));
        engine.drain();
        assert_eq!(stage.audit(3_000).duplicates, 0);
    }
}

#[test]
fn sigint_drains_too() {
    let broker = Broker::shared();
    let topic = broker.topic("sigint", 1);
    let stage = Stage::new(broker.plaintext(), topic, 1, Content::new(22, 20..=50), Law::kind());
    stage.fill(200);
    let mut engine = Engine::start(&stage.settings());
    stage.reach(200);
    engine.signal("INT");
    assert!(engine.wait().success());
    stage.audit(200);
}
