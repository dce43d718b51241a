//! Every setting, once: its name, what it means, how it is given.
//!
//! The two lists below are the only place where a setting is declared. Field, name in a file, flag,
//! help text and the "allowed" of every message come from the same lines, so that they cannot
//! differ. Nothing is checked here but the spelling; [`super::validate`] does the rest.

use toml::Value;

use super::failures::{Age, DestinationConfig};
use super::moment::Moment;
use super::value::{Accesses, Kind, Names, Patterns, Properties, Shape, Size, Span, Switch, Text, Whole};

/// How one setting is described to a person.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name, in AWS's words in Rust case.
    pub name: &'static str,
    /// Under which heading it stands in the help.
    pub heading: &'static str,
    /// The documentation, line by line.
    pub doc: &'static [&'static str],
    /// What the value is called in the help.
    pub placeholder: &'static str,
    /// What is allowed, and the default.
    pub allowed: &'static str,
    /// How it is given on a command line.
    pub shape: Shape,
}

macro_rules! settings {
    ($(#[doc = $about:literal])+ $table:ident; $(
        in $heading:literal: $(
            $(#[doc = $doc:literal])+
            $name:ident: $kind:ty, $placeholder:literal, $allowed:literal;
        )+
    )+) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $table {$($(
            $(#[doc = $doc])+
            #[doc = ""]
            #[doc = concat!("Allowed: `", $allowed, "`")]
            pub $name: Option<$kind>,
        )+)+}

        impl $table {
            /// The settings of this table, in order.
            pub const LIST: &'static [Setting] = &[$($(
                Setting {
                    name: stringify!($name),
                    heading: $heading,
                    doc: &[$($doc),+],
                    placeholder: $placeholder,
                    allowed: $allowed,
                    shape: <$kind as Kind>::SHAPE,
                },
            )+)+];

            /// Reads the value of the setting called `name`. `None` if there is no such setting,
            /// `Some(false)` if the value cannot mean this one.
            pub(super) fn read(&mut self, name: &str, value: &Value) -> Option<bool> {
                match name {
                    $($(stringify!($name) => {
                        let value = <$kind as Kind>::read(value);
                        Some(value.map(|value| self.$name = Some(value)).is_some())
                    })+)+
                    _ => None,
                }
            }

            /// What `self` gives, else what `lower` gives.
            #[must_use]
            pub fn or(self, lower: Self) -> Self {
                Self { $($($name: self.$name.or(lower.$name),)+)+ }
            }

            /// The value of the setting called `name` as text that would be read again, if given.
            #[must_use]
            pub fn show(&self, name: &str) -> Option<String> {
                match name {
                    $($(stringify!($name) => self.$name.as_ref().map(ToString::to_string),)+)+
                    _ => None,
                }
            }
        }
    };
}

settings! {
    /// A mapping as given, before anything is checked: what a file or the flags said. Portable to AWS.
    MappingSettings;

    in "Event source":
    /// The topic to read.
    /// AWS: `Topics`.
    topics: Names, "NAME", "exactly one topic, 1 to 249 of a-z A-Z 0-9 . _ -, not starting with a dot";
    /// The brokers to ask first, as `host:port`.
    /// They also appear in each event as `bootstrapServers`. AWS: `SelfManagedEventSource`.
    bootstrap_servers: Names, "HOST:PORT", "1 to 10 of host:port, each at most 300 characters";
    /// The ARN of an Amazon MSK cluster: events then say `aws:kafka` and carry it.
    /// The brokers are not looked up: give `bootstrap_servers` too. AWS: `EventSourceArn`.
    event_source_arn: Text, "ARN", "arn:aws:kafka:REGION:ACCOUNT:cluster/...; default none (self-managed)";
    /// The consumer group, which keeps the position between runs and divides the partitions
    /// between processes. AWS: `ConsumerGroupId` (there the default is the mapping's UUID).
    consumer_group_id: Text, "ID",
        "1 to 200 of a-z A-Z 0-9 space - / * : _ + = . @; default pelton-FUNCTION-TOPIC";
    /// Where to begin in a partition for which the group has committed nothing yet.
    /// AWS: `StartingPosition`.
    starting_position: Text, "POSITION", "TRIM_HORIZON, LATEST or AT_TIMESTAMP; default TRIM_HORIZON";
    /// The moment at which `AT_TIMESTAMP` begins.
    /// AWS: `StartingPositionTimestamp`.
    starting_position_timestamp: Moment, "TIME",
        "Unix seconds or RFC 3339 with an offset, not in the future, with AT_TIMESTAMP only";

    in "Batching":
    /// The most records that one invocation gets.
    /// AWS: `BatchSize`.
    batch_size: Whole, "RECORDS", "1 to 10000 records; default 100";
    /// How long a batch may wait for more records, from its first record, and not before the
    /// previous invocation of its poller completed.
    /// Longer windows fill batches and raise record age by up to this much. 0 sends what there is
    /// as soon as the poller is free. AWS: `MaximumBatchingWindowInSeconds` (whole seconds there).
    maximum_batching_window: Span, "TIME",
        "0s to 300s, such as 500ms or 2s, a bare number is seconds; default 500ms";

    in "Filtering":
    /// Which records are delivered: those that match any of these patterns; the others are committed
    /// and never sent. Without any, all are. AWS: `FilterCriteria`.
    filter_criteria: Patterns, "PATTERN",
        "at most 10 JSON patterns of at most 4096 characters, such as {\"value\":{\"status\":[\"shipped\"]}}; \
         default none";

    in "Failures":
    /// How often a batch is sent again after a failed invocation; -1 for as long as it takes.
    /// What is throttled or never reaches the function uses up none. With a destination -1 means 10,
    /// as AWS has it. AWS: `MaximumRetryAttempts`.
    maximum_retry_attempts: Whole, "N", "-1 to 10000; default -1 (endless)";
    /// The age, by its own timestamp, from which a record is not sent any more; -1 for none.
    /// Also as `maximum_record_age_in_seconds`. AWS: `MaximumRecordAgeInSeconds`.
    maximum_record_age: Age, "TIME", "-1, or 60s to 604800s such as 6h, a bare number is seconds; default -1 (none)";
    /// Whether a batch that the function fails on is cut in halves, which are sent one by one, until
    /// what cannot be processed stands alone. AWS: `BisectBatchOnFunctionError`.
    bisect_batch_on_function_error: Switch, "BOOL", "true or false; default false";
    /// What the function's answer is read for: `ReportBatchItemFailures` names the records to send
    /// again, the others are done. AWS: `FunctionResponseTypes`.
    function_response_types: Names, "TYPE", "ReportBatchItemFailures; default none";
    /// Where records go that were given up, with why: an SQS queue, an SNS topic, an S3 bucket or a
    /// Kafka topic of the same cluster. AWS: `DestinationConfig` (`OnFailure`).
    destination_config: DestinationConfig, "DESTINATION",
        "an ARN of a standard SQS queue, a standard SNS topic or an S3 bucket, or kafka://TOPIC other than the \
         topic read, at most 350 characters; default none";

    in "Function":
    /// The function to invoke: a name, a partial or a full ARN, with a version or alias if wanted.
    /// AWS: `FunctionName`.
    function: Text, "NAME",
        "a function's name (1 to 64 characters) or ARN (at most 256), optionally :QUALIFIER";
    /// Where the Lambda Invoke API is served: a local runtime, a VPC endpoint.
    function_endpoint: Text, "URL",
        "http://host[:port][/path] or https://...; default https://lambda.REGION.amazonaws.com";
    /// The function's region.
    region: Text, "REGION",
        "such as eu-central-1; default that of the function's ARN, then $AWS_REGION, $AWS_DEFAULT_REGION";

    in "Access to the cluster":
    /// How to authenticate to the brokers, as AWS's types with where each secret lies.
    /// A secret is the JSON that AWS keeps in Secrets Manager; here it lies in an environment
    /// variable (`env:NAME`) or a file (`file:/path`). Without any: no TLS, no authentication.
    /// AWS: `SourceAccessConfigurations`.
    source_access: Accesses, "TYPE=URI",
        "at most 23 of TYPE=URI, such as SASL_SCRAM_512_AUTH=env:KAFKA_SECRET or \
         SERVER_ROOT_CA_CERTIFICATE=file:/etc/ca.pem; default none";
}

settings! {
    /// What only this engine knows (table `[engine]`), as given.
    EngineSettings;

    in "Engine":
    /// Consumer threads, each a Kafka client and a member of the group.
    threads: Whole, "N", "1 to 64, not more than pollers; default 1";
    /// Threads that talk to the function.
    invocation_threads: Whole, "N", "1 to 64; default 1";
    /// Pollers, spread over the threads: each owns partitions and has at most one invocation in
    /// flight. One of AWS's event pollers is 5 of them.
    pollers: Whole, "N", "1 to 1000; default 5";
    /// How many of the pollers are in use at the beginning, and always. Below `pollers`, more of them
    /// are while the lag asks for it.
    pollers_min: Whole, "N", "1 to engine.pollers, at least engine.threads; default engine.pollers (no scaling)";
    /// Bytes for prefetched records, open batches and batches in flight together.
    memory_budget: Size, "BYTES", "bytes, such as 256MiB, up to 1024GiB; default 256MiB";
    /// How long invocations in flight may take after SIGTERM or SIGINT.
    drain_deadline: Span, "TIME", "0s to 900s; default 30s";
    /// Time between commits. After a crash at most what was delivered since is delivered again.
    commit_interval: Span, "TIME", "10ms to 60s; default 1s";
    /// Whether commits carry which records are finished beyond the committed offset, as metadata, so
    /// that they are not delivered again after a crash or a rebalance.
    commit_metadata: Switch, "BOOL", "true or false; default true";
    /// The largest event to send.
    payload_bytes_max: Size, "BYTES", "16384 to 6291455 bytes; default 6291455 (Lambda's limit)";
    /// What to do with a record that alone is too large for an event: `skip` logs, counts and goes
    /// on, `block` holds its partition until an operator moves on.
    oversized: Text, "ACTION", "skip or block; default skip";
    /// How long to wait for the function's answer. Shorter than the function may run means that a
    /// batch is sent again while it is still being worked on.
    function_timeout: Span, "TIME", "10ms to 3600s; default 15m (the longest a Lambda function may run)";
    /// How long to wait for a connection to the function's endpoint.
    connect_timeout: Span, "TIME", "10ms to 60s; default 3s";
    /// The longest wait before a batch is sent again for the first time; it doubles with each failure.
    retry_backoff: Span, "TIME", "10ms to 60s; default 500ms";
    /// Where that doubling ends.
    retry_backoff_max: Span, "TIME", "engine.retry_backoff to 3600s; default 60s";
    /// Whether to sign invocations (SigV4): `auto` signs if the AWS credential chain has credentials.
    signing: Text, "WHEN", "auto, always or never; default auto";
    /// Refuses what AWS would refuse. So far: filter keys other than `value`, more than 5 filters.
    strict: Switch, "BOOL", "true or false; default false";

    in "Kafka client":
    /// The group protocol: `classic` with cooperative-sticky assignment, or KIP-848's `consumer`.
    group_protocol: Text, "PROTOCOL", "classic or consumer; default classic";
    /// TLS without client authentication, with the public CAs unless `SERVER_ROOT_CA_CERTIFICATE`
    /// names another. On by itself wherever source_access asks for it.
    tls: Switch, "BOOL", "true or false; default false";
    /// Sends SASL credentials over connections without TLS, which AWS never does. For local brokers.
    allow_plaintext_sasl: Switch, "BOOL", "true or false; default false";
    /// Properties of librdkafka, set last.
    /// What the engine's guarantees rest on cannot be changed.
    librdkafka: Properties, "NAME=VALUE", "at most 100 of NAME=VALUE; default none";

    in "Telemetry":
    /// Where /metrics (Prometheus) and /healthz are served.
    metrics_address: Text, "ADDRESS", "ip:port or off; default 127.0.0.1:9464";
    /// How log lines look on stderr.
    log_format: Text, "FORMAT", "human or json; default human";
    /// What is logged: a level, or directives such as `pelton=debug,librdkafka=info`.
    log_level: Text, "LEVEL", "error, warn, info, debug, trace or directives; default $RUST_LOG, then info";
}

/// All settings as given: the mapping's own and the engine's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The mapping's own, portable to AWS.
    pub mapping: MappingSettings,
    /// The engine's (`[engine]` in a file).
    pub engine: EngineSettings,
}

impl Settings {
    /// What `self` gives, else what `lower` gives: flags over file.
    #[must_use]
    pub fn or(self, lower: Self) -> Self {
        Self { mapping: self.mapping.or(lower.mapping), engine: self.engine.or(lower.engine) }
    }

    /// The value of the setting at `path` (`batch_size`, `engine.threads`), if given.
    #[must_use]
    pub fn show(&self, path: &str) -> Option<String> {
        match path.strip_prefix("engine.") {
            Some(name) => self.engine.show(name),
            None => self.mapping.show(path),
        }
    }

    /// The paths of all settings with their descriptions, in order.
    pub fn list() -> impl Iterator<Item = (String, &'static Setting)> {
        let mapping = MappingSettings::LIST.iter().map(|setting| (setting.name.to_owned(), setting));
        let engine = EngineSettings::LIST.iter().map(|setting| (format!("engine.{}", setting.name), setting));
        mapping.chain(engine)
    }
}

/// What is allowed for the setting at `path`.
pub(super) fn allowed(path: &str) -> &'static str {
    Settings::list()
        .find(|(listed, _)| listed == path)
        .map_or("see the documentation", |(_, setting)| setting.allowed)
}
