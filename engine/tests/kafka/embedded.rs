//! Against librdkafka's mock cluster: no Java, and errors on demand. It keeps 5 MiB a partition, so
//! the topics here are small. What it shows about rebalances is its own, not Kafka's: those tests
//! are in `real_kafka`.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::stage::Stage;
use crate::support::content::Content;
use crate::support::engine::Engine;
use crate::support::fault::Law;
use crate::support::unique;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn stage(partitions: i32, records: u64, law: Law) -> (Cluster, Stage) {
    let (cluster, stage) = stage_of(partitions, Content::new(101, 20..=300), law);
    stage.fill(records);
    (cluster, stage)
}

/// An empty topic.
pub(crate) fn stage_of(partitions: i32, content: Content, law: Law) -> (Cluster, Stage) {
    let cluster = MockCluster::new(1).expect("a cluster");
    let topic = unique("embedded");
    cluster.create_topic(&topic, partitions, 1).expect("a topic");
    let stage = Stage::new(&cluster.bootstrap_servers(), topic, partitions, content, law);
    (cluster, stage)
}

#[test]
fn every_record_is_delivered_once_and_committed() {
    for group_protocol in ["classic", "consumer"] {
        let (_cluster, stage) = stage(3, 2_000, Law::kind());
        let engine = Engine::start(&stage.settings().group_protocol(group_protocol));
        stage.reach(stage.total(2_000));
        engine.drain();
        assert_eq!(stage.audit(2_000).duplicates, 0);
    }
}

#[test]
fn what_the_filters_leave_out_is_committed_and_never_delivered() {
    let (_cluster, stage) = stage(3, 1_000, Law::hostile(103));
    stage.ledger.begins_anywhere();
    let pattern = r#"{"offset":[{"numeric":[">=",300,"<",700]}],"partition":[0,2]}"#;
    let engine =
        Engine::start(&stage.settings().with("filter_criteria", pattern).engine("function_timeout", "500ms"));
    stage.reach(2 * 400);
    crate::support::eventually("all is committed", || stage.committed() == [Some(1_000); 3]);
    engine.drain();
    let progress = stage.ledger.progress();
    assert_eq!((progress.problems, progress.duplicates), (0, 0), "{:#?}", progress.problem_texts);
    assert_eq!([0, 1, 2].map(|partition| stage.ledger.frontier(partition)), [700, 0, 700]);
    assert_eq!([0, 1, 2].map(|partition| stage.ledger.start(partition)), [Some(300), None, Some(300)]);
}

#[test]
fn a_restarted_engine_resumes_where_it_stopped() {
    let (_cluster, stage) = stage(3, 2_000, Law::slow(std::time::Duration::from_millis(20)));
    let settings = stage.settings().group_protocol("consumer");
    let engine = Engine::start(&settings);
    stage.reach(2_000);
    engine.drain();
    let engine = Engine::start(&settings);
    stage.reach(stage.total(2_000));
    engine.drain();
    assert_eq!(stage.audit(2_000).duplicates, 0);
}

#[test]
fn a_hostile_function_loses_nothing() {
    let (_cluster, stage) = stage(4, 2_000, Law::hostile(102));
    let engine = Engine::start(&stage.settings().engine("function_timeout", "500ms"));
    stage.reach(stage.total(2_000));
    engine.drain();
    assert_eq!(stage.audit(2_000).duplicates, 0);
}

#[test]
fn refused_commits_are_tried_again() {
    let (cluster, stage) = stage(2, 500, Law::kind());
    let errors = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
    ];
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &errors);
    let _engine = Engine::start(&stage.settings());
    stage.reach(stage.total(500));
    crate::support::eventually("the commit goes through", || stage.committed() == [Some(500), Some(500)]);
}

#[test]
fn failed_fetches_are_tried_again() {
    let (cluster, stage) = stage(2, 500, Law::kind());
    let errors = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
    ];
    cluster.request_errors(RDKafkaApiKey::Fetch, &errors);
    let engine = Engine::start(&stage.settings());
    stage.reach(stage.total(500));
    engine.drain();
    assert_eq!(stage.audit(500).duplicates, 0);
}
