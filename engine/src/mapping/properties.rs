//! What the Kafka client is told: librdkafka's properties that follow from a mapping, and which of
//! them nobody may change.

use std::fmt;

use super::access::{Authentication, SourceAccess};
use super::memory::MemoryDivision;
use super::problem::Problem;
use super::value::Properties;

/// One property of librdkafka. `Debug` and `Display` hide the value of a secret one.
#[derive(Clone, PartialEq, Eq)]
pub struct Property {
    name: String,
    value: String,
}

impl Property {
    fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: value.into() }
    }

    /// librdkafka's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, secret or not: for the client and nobody else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value } = self;
        if is_secret(name) {
            write!(f, "{name} = (hidden)")
        } else if value.starts_with("-----BEGIN") {
            write!(f, "{name} = (PEM, {} bytes)", value.len())
        } else {
            write!(f, "{name} = {value}")
        }
    }
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether the value of this property must not be seen.
pub(super) fn is_secret(name: &str) -> bool {
    ["password", "secret", "key.pem", "jaas", "assertion", "token"].iter().any(|part| name.contains(part))
}

/// Which of Kafka's four kinds of listener to talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// No TLS, no authentication.
    Plaintext,
    /// TLS, perhaps with a client certificate.
    Ssl,
    /// SASL without TLS: only where `allow_plaintext_sasl` says so.
    SaslPlaintext,
    /// SASL under TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// Chooses: SASL where a password or token is given, TLS always with SASL unless allowed
    /// otherwise, and wherever certificates or `tls` ask for it.
    pub(super) fn of(access: &SourceAccess, tls: bool, allow_plaintext_sasl: bool) -> Self {
        let tls = tls || access.root_ca.is_some();
        match access.authentication {
            Authentication::None if tls => Self::Ssl,
            Authentication::None => Self::Plaintext,
            Authentication::ClientCertificate { .. } => Self::Ssl,
            Authentication::Password { .. } | Authentication::OAuthBearer(_)
                if tls || !allow_plaintext_sasl =>
            {
                Self::SaslSsl
            }
            Authentication::Password { .. } | Authentication::OAuthBearer(_) => Self::SaslPlaintext,
        }
    }

    /// Kafka's name, as `security.protocol` wants it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

/// The properties that connect and authenticate a client.
pub(super) fn connection(
    bootstrap_servers: &str,
    protocol: SecurityProtocol,
    access: &SourceAccess,
) -> Vec<Property> {
    let mut properties = vec![
        Property::new("bootstrap.servers", bootstrap_servers),
        Property::new("security.protocol", protocol.name()),
    ];
    let mut set = |name, value: &str| properties.push(Property::new(name, value));
    if protocol.is_tls() {
        match &access.root_ca {
            Some(pem) => set("ssl.ca.pem", pem),
            // The bundled OpenSSL's own CA directory exists on no machine: look for the system's.
            None => set("ssl.ca.location", "probe"),
        }
    }
    match &access.authentication {
        Authentication::None => {}
        Authentication::Password { mechanism, username, password } => {
            set("sasl.mechanisms", mechanism.name());
            set("sasl.username", username);
            set("sasl.password", password.reveal());
        }
        Authentication::ClientCertificate { certificate, private_key, private_key_password } => {
            set("ssl.certificate.pem", certificate);
            set("ssl.key.pem", private_key.reveal());
            if let Some(password) = private_key_password {
                set("ssl.key.password", password.reveal());
            }
        }
        // The token itself comes from the source's token callback: librdkafka's own OIDC client
        // needs libcurl, which is not built in.
        Authentication::OAuthBearer(_) => set("sasl.mechanisms", "OAUTHBEARER"),
    }
    properties
}

/// The properties that keep a client within its part of the memory budget.
pub(super) fn memory(division: &MemoryDivision) -> Vec<Property> {
    // The client counts kilobytes of 1,000 bytes.
    let kbytes = division.prefetch_bytes_per_poller / 1_000;
    [
        ("queued.max.messages.kbytes", kbytes),
        ("queued.min.messages", division.prefetch_records_per_poller),
        ("fetch.max.bytes", division.fetch_bytes_per_thread),
        ("fetch.message.max.bytes", division.fetch_bytes_per_partition),
    ]
    .into_iter()
    .map(|(name, value)| Property::new(name, value.to_string()))
    .collect()
}

/// librdkafka's properties that no override may touch, and whose they are.
const OWNED: &[(&str, &str)] = &[
    ("enable.auto.commit", "records would count as done before the function has them"),
    ("auto.commit.enable", "records would count as done before the function has them"),
    ("enable.auto.offset.store", "records would count as done before the function has them"),
    ("auto.commit.interval.ms", "the engine commits itself: set engine.commit_interval"),
    ("auto.offset.reset", "set starting_position"),
    ("offset.store.method", "the position is kept by the consumer group"),
    ("offset.store.path", "the position is kept by the consumer group"),
    ("offset.store.sync.interval.ms", "the position is kept by the consumer group"),
    ("group.id", "set consumer_group_id"),
    ("group.protocol", "set engine.group_protocol"),
    ("bootstrap.servers", "set bootstrap_servers"),
    ("metadata.broker.list", "set bootstrap_servers"),
    ("enable.partition.eof", "the engine needs the ends of partitions to commit past gaps"),
    ("security.protocol", "set source_access, engine.tls or engine.allow_plaintext_sasl"),
    ("sasl.mechanism", "set source_access"),
    ("sasl.mechanisms", "set source_access"),
    ("sasl.username", "set source_access"),
    ("sasl.password", "set source_access"),
    ("ssl.key.pem", "set source_access CLIENT_CERTIFICATE_TLS_AUTH"),
    ("ssl.key.password", "set source_access CLIENT_CERTIFICATE_TLS_AUTH"),
    ("ssl.certificate.pem", "set source_access CLIENT_CERTIFICATE_TLS_AUTH"),
    ("ssl.ca.pem", "set source_access SERVER_ROOT_CA_CERTIFICATE"),
    ("queued.max.messages.kbytes", "it follows from engine.memory_budget"),
    ("queued.min.messages", "it follows from engine.memory_budget"),
    ("fetch.max.bytes", "it follows from engine.memory_budget"),
    ("fetch.message.max.bytes", "it follows from engine.memory_budget"),
    ("max.partition.fetch.bytes", "it follows from engine.memory_budget"),
    ("plugin.library.paths", "it would run code that nobody has checked"),
];

/// Complains about overrides that the engine's guarantees forbid.
pub(super) fn check_overrides(overrides: &Properties, threads: u32, problems: &mut Vec<Problem>) {
    for (name, value) in &overrides.0 {
        let path = format!("engine.librdkafka.{name}");
        let shown = if is_secret(name) { "(hidden)" } else { value };
        let plain =
            name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'_');
        if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| owned == name) {
            let remedy = format!("remove it: {reason}");
            problems.push(Problem::wrong(path, shown, "properties that are not the engine's own", remedy));
        } else if !plain {
            problems.push(Problem::wrong(path, shown, "names such as fetch.wait.max.ms", "correct the name"));
        } else if name == "group.instance.id" && threads > 1 {
            let remedy = "set engine.threads = 1: every thread is a member, and each needs an id of its own";
            problems.push(Problem::wrong(path, shown, "with one thread only", remedy));
        }
    }
}

impl From<(&String, &String)> for Property {
    fn from((name, value): (&String, &String)) -> Self {
        Self { name: name.clone(), value: value.clone() }
    }
}
