//! Where a group without commits begins.

use std::time::Duration;

use crate::stage::Stage;
use crate::support::broker::Broker;
use crate::support::client::Filler;
use crate::support::content::Content;
use crate::support::engine::Engine;
use crate::support::fault::Law;

const RECORDS: u64 = 3_000;

fn stage(name: &str) -> Stage {
    let broker = Broker::shared();
    let topic = broker.topic(name, 2);
    let stage = Stage::new(broker.plaintext(), topic, 2, Content::new(31, 20..=50), Law::kind());
    stage.fill(RECORDS);
    stage.ledger.begins_anywhere();
    stage
}

#[test]
fn trim_horizon_begins_with_the_first_record() {
    let stage = stage("horizon");
    let engine = Engine::start(&stage.settings().with("starting_position", "TRIM_HORIZON"));
    stage.reach(stage.total(RECORDS));
    engine.drain();
    assert_eq!(stage.audit(RECORDS).duplicates, 0);
}

#[test]
fn at_timestamp_begins_with_the_first_record_of_that_time() {
    let stage = stage("timestamp");
    let content = stage.ledger.content();
    // A whole second, as AWS has it.
    let start =
        (1_000..).find(|&ordinal| content.timestamp_ms(ordinal) % 1_000 == 0).expect("one in a thousand");
    let second = (content.timestamp_ms(start) / 1_000).to_string();
    let settings = stage
        .settings()
        .with("starting_position", "AT_TIMESTAMP")
        .with("starting_position_timestamp", &second);
    let engine = Engine::start(&settings);
    stage.reach(stage.total(RECORDS - start));
    engine.drain();
    assert_eq!(stage.audit(RECORDS).duplicates, 0);
    assert_eq!((stage.ledger.start(0), stage.ledger.start(1)), (Some(start), Some(start)));
}

#[test]
fn latest_begins_with_what_comes_after_the_start() {
    let stage = stage("latest");
    let engine = Engine::start(&stage.settings().with("starting_position", "LATEST"));
    let filler = Filler::new(&stage.bootstrap_servers, &stage.topic, stage.ledger.content(), &[]);
    // Nobody tells when the engine has found the logs' ends, so the topic goes on growing until
    // it reads both partitions.
    let mut end = RECORDS;
    while (0..2).any(|partition| stage.ledger.start(partition).is_none()) {
        filler.fill(2, end..end + 10);
        end += 10;
        assert!(end < 50_000, "nothing arrives: {}", engine.log());
        stage.ledger.wait(Duration::from_millis(100), |_| false);
    }
    crate::support::eventually("all is done", || (0..2).all(|p| stage.ledger.frontier(p) == end));
    engine.drain();
    assert_eq!(stage.audit(end).duplicates, 0);
    for partition in 0..2 {
        assert!(stage.ledger.start(partition) >= Some(RECORDS), "what was there before is not read");
    }
}

#[test]
fn a_committed_position_wins_over_the_starting_position() {
    let stage = stage("committed");
    let first = Engine::start(&stage.settings().with("starting_position", "TRIM_HORIZON"));
    stage.reach(stage.total(RECORDS));
    first.drain();
    let second = Engine::start(&stage.settings().with("starting_position", "LATEST"));
    Filler::new(&stage.bootstrap_servers, &stage.topic, stage.ledger.content(), &[])
        .fill(2, RECORDS..RECORDS + 500);
    stage.reach(stage.total(RECORDS + 500));
    second.drain();
    assert_eq!(stage.audit(RECORDS + 500).duplicates, 0);
}
