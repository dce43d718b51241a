//! Captures from a real Apache Kafka, which `scripts/kafka` starts. `PELTON_TEST_KAFKA` names the
//! directory of one that runs; without it one is started for the test.

mod real_kafka {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::sync::OnceLock;
    use std::time::Duration;

    use pelton_harness::capture::CaptureSummary;
    use pelton_harness::result::RunResult;
    use pelton_harness::tune::tuned::Tuned;
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    use rdkafka::client::DefaultClientContext;
    use rdkafka::config::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// The addresses and secrets of the broker that the tests here share.
    fn broker() -> &'static BTreeMap<String, String> {
        static BROKER: OnceLock<BTreeMap<String, String>> = OnceLock::new();
        BROKER.get_or_init(find_broker)
    }

    /// Runs `scripts/kafka` and reads what it prints.
    fn find_broker() -> BTreeMap<String, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        let mut command = Command::new(root.join("scripts/kafka"));
        match std::env::var_os("PELTON_TEST_KAFKA") {
            Some(directory) => command.arg("env").arg("--dir").arg(directory),
            None => {
                let pid = std::process::id().to_string();
                let directory = root.join(".kafka").join(format!("capture-{pid}"));
                command.args(["start", "--scratch", &pid, "--dir"]).arg(directory)
            }
        };
        let output = command.output().expect("scripts/kafka is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn create_topic(servers: &str, topic: &str, partitions: i32) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", servers).create().expect("a client");
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let created = runtime.block_on(admin.create_topics([&new], &options)).expect("the broker answers");
        assert_eq!(created, [Ok(topic.to_owned())]);
    }

    /// Fills each partition with `records` records in a transaction, behind as many in one that is
    /// aborted: with its markers, a partition is longer than its records, and ends in a marker.
    fn fill(servers: &str, topic: &str, partitions: i32, records: i32) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("transactional.id", topic)
            .create()
            .expect("a client");
        producer.init_transactions(PATIENCE).expect("the broker answers");
        for is_aborted in [true, false] {
            producer.begin_transaction().expect("the broker answers");
            for n in 0..records {
                for partition in 0..partitions {
                    let (key, value) = (n.to_le_bytes(), format!("record {n} of {partition}"));
                    let record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value);
                    producer.send(record).map_err(|(error, _)| error).expect("the broker answers");
                }
            }
            if is_aborted {
                producer.flush(PATIENCE).expect("the broker answers");
                producer.abort_transaction(PATIENCE).expect("the broker answers");
            } else {
                producer.commit_transaction(PATIENCE).expect("the broker answers");
            }
        }
    }

    fn harness(arguments: &[&str]) {
        let output = Command::new(env!("CARGO_BIN_EXE_pelton-harness"))
            .args(arguments)
            .output()
            .expect("the harness is built");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    #[test]
    fn a_topic_that_is_watched_is_tuned_for_without_a_group() {
        let servers = &broker()["KAFKA_PLAINTEXT"];
        let topic = format!("watched-{}", std::process::id());
        create_topic(servers, &topic, 4);
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", servers).set("linger.ms", "5").create().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let json = directory.path().join("tuned.json");
        let mut tune = Command::new(env!("CARGO_BIN_EXE_pelton-harness"))
            .args(["tune", "--brokers", servers, "--topic", &topic, "--observe", "6s", "--no-runs"])
            .args(["--points", "32", "--seeds", "2", "--stub", "fixed(5ms)", "--no-progress", "--json"])
            .arg(&json)
            .spawn()
            .expect("the harness is built");
        // Somebody else's traffic, for as long as it is watched.
        let mut sent = 0_i32;
        while tune.try_wait().unwrap().is_none() {
            let record = BaseRecord::<(), [u8]>::to(&topic).partition(sent % 4).payload(&[b'x'; 300]);
            producer.send(record).map_err(|(error, _)| error).expect("the broker answers");
            producer.poll(Duration::from_millis(5));
            sent += 1;
        }
        assert!(tune.wait().unwrap().success());
        let tuned: Tuned = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert!(tuned.traffic.records > 20 && tuned.traffic.partitions == 4, "{:?}", tuned.traffic);
        assert!(tuned.recommended.meets_goal && tuned.recommended.candidate.settings.pollers <= 4);
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
        let groups = client.fetch_group_list(None, PATIENCE).unwrap();
        assert!(groups.groups().iter().all(|group| !group.name().contains("tune")));
    }

    #[test]
    fn a_topic_behind_tls_and_scram_is_captured_to_its_end_without_a_group() {
        let broker = broker();
        let plaintext = &broker["KAFKA_PLAINTEXT"];
        let topic = format!("captured-{}", std::process::id());
        create_topic(plaintext, &topic, 3);
        fill(plaintext, &topic, 3, 200);
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("user");
        let user = serde_json::json!({
            "username": broker["KAFKA_USERNAME"], "password": broker["KAFKA_PASSWORD"],
        });
        std::fs::write(&secret, user.to_string()).unwrap();
        let path = |name: &str| -> PathBuf { directory.path().join(name) };
        let (out, json) = (path("orders.capture"), path("orders.json"));
        harness(&[
            "capture",
            "--bootstrap-servers",
            &broker["KAFKA_SASL_SSL"],
            "--topic",
            &topic,
            "--source-access",
            &format!("SASL_SCRAM_512_AUTH=file:{}", secret.display()),
            "--source-access",
            &format!("SERVER_ROOT_CA_CERTIFICATE=file:{}", broker["KAFKA_CA"]),
            "--from",
            "earliest",
            "--until-end",
            "--out",
            out.to_str().unwrap(),
            "--json",
            json.to_str().unwrap(),
        ]);
        let summary: CaptureSummary = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert_eq!((summary.records, summary.is_complete), (600, true), "{summary:?}");
        // The records of the aborted transaction and its marker lie before.
        for one in &summary.partitions {
            assert_eq!((one.records, one.first_offset, one.last_offset), (200, 201, 400), "{summary:?}");
        }
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", plaintext).create().unwrap();
        let groups = client.fetch_group_list(None, PATIENCE).unwrap();
        let ours: Vec<_> = groups.groups().iter().filter(|group| group.name().contains("capture")).collect();
        assert!(ours.is_empty(), "{:?}", ours.iter().map(|group| group.name()).collect::<Vec<_>>());
        // And through a topic of this broker that the run makes and deletes.
        let json = path("run.json");
        let replay = ["run", "--replay", out.to_str().unwrap(), "--brokers", plaintext, "--arrival", "fast"];
        let more =
            ["--records", "1000", "--warm-up", "0s", "--stub", "null", "--json", json.to_str().unwrap()];
        harness(&[&replay[..], &more[..]].concat());
        let result: RunResult = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert!(result.is_clean(), "{:?}", result.audit);
        assert_eq!(result.audit.records_delivered, 1_003);
    }

    #[test]
    fn a_capture_begins_at_a_time() {
        let broker = broker();
        let plaintext = &broker["KAFKA_PLAINTEXT"];
        let topic = format!("timed-{}", std::process::id());
        create_topic(plaintext, &topic, 1);
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", plaintext).create().unwrap();
        for n in 0..100 {
            let record = BaseRecord::<[u8], str>::to(&topic)
                .partition(0)
                .timestamp(1_700_000_000_000 + n * 1_000)
                .payload("x");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("timed.capture");
        harness(&[
            "capture",
            "--brokers",
            plaintext,
            "--topic",
            &topic,
            "--from",
            "1700000040",
            "--until-end",
            "--out",
            out.to_str().unwrap(),
        ]);
        let file = std::fs::File::open(out).unwrap();
        let summary = pelton_harness::capture::inspect(file, "timed").unwrap();
        assert_eq!((summary.records, summary.partitions[0].first_offset), (60, 40));
    }
}
