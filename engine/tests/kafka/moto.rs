//! On-failure destinations on AWS's services, as moto serves them (`scripts/moto`).

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use pelton::batch::{BatchLimits, FlushCause, OpenBatch};
use pelton::destination::{
    Bucket, Condition, Destination, FailedResponse, Failure, Notices, Queue, Reporter,
};
use pelton::ids::{Offset, Partition, Slot, Topic};
use pelton::payload::{Envelope, Pool, Template};
use pelton::record::{RecordRef, TimestampType};
use pelton::time::Nanos;
use serde_json::Value;

use crate::embedded::stage_of;
use crate::support::content::Content;
use crate::support::engine::Engine;
use crate::support::eventually;
use crate::support::fault::{Answer, Law};

const ACCOUNT: &str = "123456789012";
const QUEUE: &str = "arn:aws:sqs:eu-central-1:123456789012:given-up";

/// A server of its own. Forgets everything when it ends.
struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    fn start(port: Option<u16>) -> Self {
        let program = std::env::var("PELTON_TEST_MOTO").expect(
            "PELTON_TEST_MOTO is not set: these tests need moto; run PELTON_TEST_MOTO=$(scripts/moto)",
        );
        let port = port.unwrap_or_else(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("bound").port()
        });
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("MOTO_ACCOUNT_ID", ACCOUNT)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts");
        let moto = Self { child, port };
        eventually("moto serves", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        moto
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn config(&self) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .endpoint_url(self.endpoint())
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "id", "key", None, None, "test",
            )))
            .build()
    }

    /// What lies in the queue, oldest first; taken out.
    async fn messages(&self) -> Vec<Value> {
        let client = aws_sdk_sqs::Client::new(&self.config());
        let url = client.create_queue().queue_name("given-up").send().await.expect("a queue");
        let url = url.queue_url.expect("its URL");
        let mut all = Vec::new();
        loop {
            let received = client
                .receive_message()
                .queue_url(&url)
                .max_number_of_messages(10)
                .send()
                .await
                .expect("read");
            let messages = received.messages.unwrap_or_default();
            if messages.is_empty() {
                return all;
            }
            for message in messages {
                all.push(serde_json::from_str(&message.body.expect("a body")).expect("JSON"));
                let handle = message.receipt_handle.expect("a handle");
                client.delete_message().queue_url(&url).receipt_handle(handle).send().await.expect("deleted");
            }
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A failure over `records` values of so many bytes.
fn failure(records: i64, value_bytes: usize) -> Failure {
    let mut pool = Pool::new(1 << 26, 6_291_455, 10_000);
    let limits = BatchLimits { batch_size: 10_000, window: Duration::ZERO, payload_bytes_max: 6_291_455 };
    let envelope = Arc::new(Envelope::self_managed("b:9092"));
    let mut open = OpenBatch::new(pool.acquire().expect("memory"), &limits, envelope);
    let template = Template::new(&Topic::new("t"), Partition(0));
    let value = vec![7; value_bytes];
    for offset in 0..records {
        let record = RecordRef {
            partition: Partition(0),
            offset: Offset(offset),
            timestamp_ms: 1_700_000_000_000,
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(&value),
            headers: &[],
        };
        assert_eq!(open.append_run(&mut pool, Slot(0), &template, &[record], Nanos::ZERO).taken, 1);
    }
    Failure {
        event: open.seal(FlushCause::Count, Nanos::ZERO).whole(),
        condition: Condition::RetryAttemptsExhausted,
        invocations: 2,
        response: Some(FailedResponse {
            status_code: 200,
            executed_version: "$LATEST".into(),
            function_error: Some("Unhandled".into()),
        }),
        at_ms: 1_700_000_000_000,
    }
}

fn reporter() -> Reporter {
    Reporter {
        function_arn: "arn:aws:lambda:eu-central-1:123456789012:function:orders".into(),
        event_source_arn: None,
        bootstrap_servers: "b:9092".into(),
        topic: Topic::new("t"),
        mapping: uuid::Uuid::nil(),
    }
}

fn queue(moto: &Moto) -> Queue {
    Queue::new(&moto.config(), QUEUE, ACCOUNT, "given-up", reporter())
}

#[test]
fn a_queue_that_is_missing_is_named_and_taken_once_it_is_there() {
    let moto = Moto::start(None);
    runtime().block_on(async {
        let queue = queue(&moto);
        let failure = failure(3, 100);
        let error = queue.deliver(&failure).await.expect_err("there is no queue");
        let text = error.to_string();
        assert!(
            text.starts_with(QUEUE) && text.contains("create it, or correct destination_config"),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(moto.messages().await, [] as [Value; 0], "made by looking");
        queue.deliver(&failure).await.expect("there is one now");
        let messages = moto.messages().await;
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0]["KafkaBatchInfo"]["batchSize"], 3);
        assert_eq!(messages[0]["KafkaBatchInfo"]["payloadSize"], failure.event.len());
        assert_eq!(messages[0]["requestContext"]["condition"], "RetryAttemptsExhausted");
        assert_eq!(messages[0].get("payload"), None);
    });
}

#[test]
fn a_server_that_dies_is_an_error_and_what_comes_after_it_is_taken() {
    let moto = Moto::start(None);
    let port = moto.port;
    runtime().block_on(async {
        let queue = queue(&moto);
        assert_eq!(moto.messages().await, [] as [Value; 0]);
        queue.deliver(&failure(1, 10)).await.expect("taken");
        drop(moto);
        queue.deliver(&failure(1, 10)).await.expect_err("nobody serves");
        let moto = Moto::start(Some(port));
        assert_eq!(moto.messages().await, [] as [Value; 0], "it forgets");
        queue.deliver(&failure(2, 10)).await.expect("taken again");
        assert_eq!(moto.messages().await.len(), 1);
    });
}

#[test]
fn a_topic_publishes_what_happened() {
    let moto = Moto::start(None);
    runtime().block_on(async {
        let config = moto.config();
        let client = aws_sdk_sns::Client::new(&config);
        let missing = "arn:aws:sns:eu-central-1:123456789012:missing";
        let error = Notices::new(&config, missing, reporter()).deliver(&failure(1, 10)).await;
        assert!(error.expect_err("no topic").to_string().contains("create it"));
        let topic = client.create_topic().name("given-up").send().await.expect("a topic");
        let topic = topic.topic_arn.expect("its ARN");
        assert_eq!(moto.messages().await, [] as [Value; 0]);
        let subscribe = client.subscribe().topic_arn(&topic).protocol("sqs").endpoint(QUEUE);
        subscribe.send().await.expect("subscribed");
        Notices::new(&config, &topic, reporter()).deliver(&failure(4, 10)).await.expect("published");
        let messages = moto.messages().await;
        let text = messages[0]["Message"].as_str().expect("a notification");
        let told: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(told["KafkaBatchInfo"]["recordsInfo"]["t-0"]["lastRecordOffset"], "3");
    });
}

#[test]
fn a_bucket_keeps_a_full_event_to_the_byte() {
    let moto = Moto::start(None);
    runtime().block_on(async {
        let config = moto.config();
        let bucket = Bucket::new(&config, "arn:aws:s3:::given-up", "given-up", true, reporter());
        let failure = failure(47, 98_000);
        assert!(failure.event.len() > 6_000_000);
        let error = bucket.deliver(&failure).await.expect_err("no bucket");
        assert!(error.to_string().contains("create it"), "{error}");
        let conf = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let client = aws_sdk_s3::Client::from_conf(conf);
        let place = aws_sdk_s3::types::CreateBucketConfiguration::builder()
            .location_constraint(aws_sdk_s3::types::BucketLocationConstraint::EuCentral1)
            .build();
        client
            .create_bucket()
            .bucket("given-up")
            .create_bucket_configuration(place)
            .send()
            .await
            .expect("a bucket");
        bucket.deliver(&failure).await.expect("kept");
        let objects = client.list_objects_v2().bucket("given-up").send().await.expect("listed");
        let key = objects.contents.expect("one")[0].key.clone().expect("a key");
        assert!(key.starts_with("aws/lambda/00000000-0000-0000-0000-000000000000/t-0/2023/11/14/"), "{key}");
        let object = client.get_object().bucket("given-up").key(key).send().await.expect("there");
        let body = object.body.collect().await.expect("read").to_vec();
        let object: Value = serde_json::from_slice(&body).expect("JSON");
        let mut event = Vec::new();
        failure.event.write_to(&mut event);
        assert_eq!(object["payload"].as_str().map(str::as_bytes), Some(event.as_slice()));
    });
}

#[test]
fn an_engine_gives_up_to_a_queue_and_commits_only_then() {
    let moto = Moto::start(None);
    let (_cluster, stage) =
        stage_of(1, Content::new(9, 20..=60), Law::always(Answer::FunctionError("Unhandled")));
    stage.fill(30);
    let settings = stage
        .settings()
        .with("destination_config", QUEUE)
        .with("maximum_retry_attempts", "0")
        .engine("retry_backoff", "50ms")
        .engine("retry_backoff_max", "200ms");
    let endpoint = moto.endpoint();
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
    ];
    let engine = Engine::start_in(&settings, &environment);
    // There is no queue yet: nothing may be done.
    engine.says("the on-failure destination has not taken records");
    assert!(stage.committed()[0].unwrap_or(0) < 30);
    let mut told: Vec<Value> = Vec::new();
    eventually("all are given up", || {
        told.extend(runtime().block_on(moto.messages()));
        told.iter().filter_map(|one| one["KafkaBatchInfo"]["batchSize"].as_u64()).sum::<u64>() >= 30
    });
    eventually("all is committed", || stage.committed() == [Some(30)]);
    engine.drain();
    assert_eq!(told[0]["requestContext"]["condition"], "RetryAttemptsExhausted");
}
