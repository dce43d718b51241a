//! The broker goes away and comes back.

use std::time::Duration;

use crate::stage::Stage;
use crate::support::broker::Broker;
use crate::support::content::Content;
use crate::support::engine::{Engine, Settings};
use crate::support::fault::Law;

fn stage(broker: &Broker, records: u64) -> Stage {
    let topic = broker.topic("outage", 4);
    let law = Law::slow(Duration::from_millis(30));
    let stage = Stage::new(broker.plaintext(), topic, 4, Content::new(61, 20..=300), law);
    stage.fill(records);
    stage
}

/// An outage longer than the session (3 s here) costs the member its partitions, and it is right to
/// deliver again what nobody could commit: each explains one rewind. What was fetched before is
/// delivered meanwhile, so there must be more of it than the session lasts.
fn slowly(stage: &Stage) -> Settings {
    stage.settings().with("batch_size", "20")
}

#[test]
fn a_broker_stopped_and_started_again_loses_nothing() {
    let broker = Broker::start_own();
    let records = 6_000;
    let stage = stage(&broker, records);
    let engine = Engine::start(&slowly(&stage));
    stage.reach(1_000);
    for outage in ["stop", "stop --hard"] {
        stage.ledger.crashed();
        broker.order(outage);
        stage.ledger.wait(Duration::from_secs(1), |_| false);
        broker.order("start");
        stage.commits_again();
    }
    stage.reach(stage.total(records));
    engine.drain();
    stage.audit(records);
}

#[test]
fn a_broker_that_does_not_answer_for_a_while_delays_and_loses_nothing() {
    let broker = Broker::start_own();
    let records = 5_000;
    let stage = stage(&broker, records);
    let engine = Engine::start(&slowly(&stage));
    stage.reach(2_000);
    stage.ledger.crashed();
    broker.order("pause");
    stage.ledger.wait(Duration::from_secs(5), |_| false);
    broker.order("resume");
    stage.commits_again();
    stage.reach(stage.total(records));
    engine.drain();
    stage.audit(records);
}

#[test]
fn an_engine_stopped_while_the_broker_is_away_ends_within_its_deadline() {
    let broker = Broker::start_own();
    let stage = stage(&broker, 2_000);
    let settings = stage.settings().engine("drain_deadline", "3s");
    let engine = Engine::start(&settings);
    stage.reach(2_000);
    stage.ledger.crashed();
    broker.order("stop --hard");
    // It cannot commit, and says so; what counts is that it ends and that nothing is lost.
    engine.terminate();
    broker.order("start");
    let engine = Engine::start(&settings);
    stage.reach(stage.total(2_000));
    engine.drain();
    stage.audit(2_000);
}
