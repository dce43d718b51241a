//! The way to a topic, from flags that are called as the engine's.

use std::collections::BTreeMap;

use anyhow::bail;
use pelton::cli::Process;
use pelton::ids::Topic;
use pelton::mapping::{Authentication, Settings, StartingPosition};
use pelton::source::settings::{KafkaSettings, StartAt};

/// As given.
#[derive(Clone, Debug, Default)]
pub struct AccessSettings {
    /// `host:port`, comma-separated.
    pub bootstrap_servers: String,
    /// The topic.
    pub topic: String,
    /// `earliest`, `latest`, or a time in Unix seconds or RFC 3339.
    pub from: String,
    /// `TYPE=URI`, as `pelton run --source-access`.
    pub source_access: Vec<String>,
    /// TLS without client authentication.
    pub tls: bool,
    /// SASL without TLS.
    pub allow_plaintext_sasl: bool,
    /// `NAME=VALUE`, librdkafka's.
    pub librdkafka: Vec<String>,
}

/// A topic, where to begin in it, and how to get there.
#[derive(Clone, Debug)]
pub struct Access {
    /// The topic.
    pub topic: Topic,
    /// Where to begin.
    pub start_at: StartAt,
    /// What the client is told; its group is never joined.
    pub(super) kafka: KafkaSettings,
}

impl AccessSettings {
    /// Checks them as the engine checks a mapping, and reads the secrets that they name.
    ///
    /// # Errors
    /// If anything is wrong: all of it, with the engine's names.
    pub fn check(&self) -> anyhow::Result<Access> {
        let text = |text: &str| toml::Value::String(text.to_owned());
        let texts = |texts: &[String]| toml::Value::Array(texts.iter().map(|one| text(one)).collect());
        let mut mapping = toml::Table::new();
        let mut set = |name: &str, value| mapping.insert(name.to_owned(), value);
        set("topics", text(&self.topic));
        set("bootstrap_servers", text(&self.bootstrap_servers));
        // A mapping has a function; nothing is invoked here.
        set("function", text("capture"));
        set("function_endpoint", text("http://127.0.0.1:9"));
        set("consumer_group_id", text(&format!("pelton-harness-capture-{}", std::process::id())));
        match self.from.as_str() {
            "earliest" => set("starting_position", text("TRIM_HORIZON")),
            "latest" => set("starting_position", text("LATEST")),
            time => {
                set("starting_position", text("AT_TIMESTAMP"));
                set("starting_position_timestamp", text(time))
            }
        };
        if !self.source_access.is_empty() {
            set("source_access", texts(&self.source_access));
        }
        let mut engine = toml::Table::new();
        engine.insert("tls".to_owned(), self.tls.into());
        engine.insert("allow_plaintext_sasl".to_owned(), self.allow_plaintext_sasl.into());
        if !self.librdkafka.is_empty() {
            let properties: BTreeMap<&str, &str> =
                self.librdkafka.iter().map(|one| one.split_once('=').unwrap_or((one.as_str(), ""))).collect();
            let table = properties.into_iter().map(|(name, value)| (name.to_owned(), text(value)));
            engine.insert("librdkafka".to_owned(), toml::Value::Table(table.collect()));
        }
        set("engine", engine.into());
        let mapping = Settings::from_table(&mapping)?.validate(&Process)?;
        if matches!(mapping.source_access.authentication, Authentication::OAuthBearer(_)) {
            bail!(
                "source_access: found OAUTHBEARER_AUTH; this program does not fetch tokens; use \
                 SASL_SCRAM_512_AUTH, BASIC_AUTH or CLIENT_CERTIFICATE_TLS_AUTH"
            );
        }
        let mut kafka = KafkaSettings::new(&mapping.bootstrap(), &mapping.topic, &mapping.consumer_group_id);
        let connection = mapping.connection_properties();
        // The servers have a field of their own.
        let connection = connection.iter().filter(|property| property.name() != "bootstrap.servers");
        for property in connection.chain(&mapping.engine.librdkafka) {
            kafka = kafka.with(property.name(), property.reveal());
        }
        "pelton-harness".clone_into(&mut kafka.client_id);
        let start_at = match mapping.starting_position {
            StartingPosition::TrimHorizon => StartAt::Earliest,
            StartingPosition::Latest => StartAt::Latest,
            StartingPosition::AtTimestamp(moment) => StartAt::Timestamp(moment.unix_ms),
        };
        Ok(Access { topic: mapping.topic.clone(), start_at, kafka })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> AccessSettings {
        AccessSettings {
            bootstrap_servers: "a:1,b:2".into(),
            topic: "orders".into(),
            from: "earliest".into(),
            ..AccessSettings::default()
        }
    }

    fn property<'a>(access: &'a Access, name: &str) -> Option<&'a str> {
        access.kafka.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn the_topic_is_reached_as_the_engine_would_reach_it() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("user");
        std::fs::write(&secret, r#"{"username":"u","password":"p"}"#).unwrap();
        let access = AccessSettings {
            from: "2025-01-01T00:00:00Z".into(),
            source_access: vec![format!("SASL_SCRAM_512_AUTH=file:{}", secret.display())],
            librdkafka: vec!["socket.timeout.ms=5000".into()],
            ..settings()
        }
        .check()
        .unwrap();
        assert_eq!(access.kafka.bootstrap_servers, "a:1,b:2");
        assert_eq!(access.start_at, StartAt::Timestamp(1_735_689_600_000));
        assert_eq!(property(&access, "security.protocol"), Some("SASL_SSL"));
        assert_eq!(property(&access, "sasl.password"), Some("p"));
        assert_eq!(property(&access, "socket.timeout.ms"), Some("5000"));
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let error = AccessSettings {
            topic: "no topic".into(),
            source_access: vec!["IAM_AUTH=x".into()],
            ..settings()
        }
        .check()
        .unwrap_err()
        .to_string();
        for part in ["topics", "source_access", "IAM"] {
            assert!(error.contains(part), "{part} is missing from {error}");
        }
        let error = AccessSettings { from: "yesterday".into(), ..settings() }.check().unwrap_err();
        assert!(error.to_string().contains("starting_position_timestamp"), "{error}");
    }
}
