//! The main job.

use std::sync::Arc;

use crate::stage::Stage;
use crate::support::broker::Broker;
use crate::support::client::Filler;
use crate::support::content::Content;
use crate::support::engine::Engine;
use crate::support::fault::Law;
use crate::support::ledger::Ledger;

fn every_record_is_delivered_once_and_committed(group_protocol: &str) {
    let broker = Broker::shared();
    let topic = broker.topic("consume", 6);
    let stage = Stage::new(broker.plaintext(), topic, 6, Content::new(11, 20..=1000), Law::kind());
    stage.fill(5_000);
    let engine = Engine::start(&stage.settings().group_protocol(group_protocol));
    stage.reach(stage.total(5_000));
    engine.drain();
    let progress = stage.audit(5_000);
    assert_eq!((progress.duplicates, progress.refused), (0, 0));
    assert_eq!(progress.batch_records_max, 100, "a backlog fills batches");
}

#[test]
fn every_record_is_delivered_once_and_committed_with_the_classic_protocol() {
    every_record_is_delivered_once_and_committed("classic");
}

#[test]
fn every_record_is_delivered_once_and_committed_with_the_consumer_protocol() {
    every_record_is_delivered_once_and_committed("consumer");
}

#[test]
fn what_is_delivered_is_committed_without_a_shutdown() {
    let broker = Broker::shared();
    let topic = broker.topic("periodic", 2);
    let stage = Stage::new(broker.plaintext(), topic, 2, Content::new(12, 20..=100), Law::kind());
    stage.fill(300);
    let _engine = Engine::start(&stage.settings());
    stage.reach(stage.total(300));
    crate::support::eventually("the periodic commit", || stage.committed() == [Some(300), Some(300)]);
    stage.audit(300);
}

#[test]
fn large_records_fill_payloads_to_the_byte_limit_and_never_over() {
    let broker = Broker::shared();
    let topic = broker.topic("large", 3);
    let content = Content::new(13, 200_000..=900_000);
    let stage = Stage::new(broker.plaintext(), topic, 3, content, Law::kind());
    stage.fill(60);
    let engine = Engine::start(&stage.settings().with("maximum_batching_window", "2s"));
    stage.reach(stage.total(60));
    engine.drain();
    let progress = stage.audit(60);
    assert_eq!(progress.duplicates, 0);
    assert!(progress.payload_bytes_max > 4_500_000, "{}", progress.payload_bytes_max);
}

#[test]
fn every_codec_is_read() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let broker = Broker::shared();
        let topic = broker.topic(codec, 1);
        let stage = Stage::new(broker.plaintext(), topic, 1, Content::new(14, 20..=1000), Law::kind());
        let filler = Filler::new(
            &stage.bootstrap_servers,
            &stage.topic,
            stage.ledger.content(),
            &[("compression.type", codec)],
        );
        filler.fill(1, 0..500);
        let engine = Engine::start(&stage.settings());
        stage.reach(500);
        engine.drain();
        stage.audit(500);
    }
}

#[test]
fn gaps_left_by_transactions_do_not_stall_the_commit() {
    let broker = Broker::shared();
    let topic = broker.topic("gaps", 2);
    let ledger = Arc::new(Ledger::with_gaps(&topic, Content::new(15, 20..=100)));
    let stage = Stage::with_ledger(broker.plaintext(), topic, 2, ledger, Law::kind());
    let filler = Filler::new(
        &stage.bootstrap_servers,
        &stage.topic,
        stage.ledger.content(),
        &[("transactional.id", &stage.topic)],
    );
    filler.fill_in_transactions(2, 0..200, 20);
    let engine = Engine::start(&stage.settings());
    stage.reach(stage.total(200));
    // Ten times: three aborted records and a marker, twenty records and a marker.
    crate::support::eventually("the commit reaches the logs' ends", || {
        stage.committed() == [Some(250), Some(250)]
    });
    engine.drain();
    assert_eq!(stage.ledger.audit(2, 200).duplicates, 0);
}
