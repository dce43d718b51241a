//! The ranges and defaults of every setting, in one place.
//!
//! Those of a mapping are AWS's (Lambda API 2015-03-31); those of the engine are ours, each with
//! the reason for its default. Relations between them are checked at compile time.

use std::ops::RangeInclusive;
use std::time::Duration;

/// One binary megabyte.
pub const MIB: u64 = 1 << 20;

// ── AWS's ────────────────────────────────────────────────────────────────────────────────────

/// Topics of one mapping. AWS: `Topics`, a list of exactly one.
pub const TOPICS: usize = 1;
/// Characters of a topic's name. AWS: `[^.]([a-zA-Z0-9\-_.]+)`, 1..249; Kafka's own limit is the same.
pub const TOPIC_CHARS: RangeInclusive<usize> = 1..=249;
/// Bootstrap servers of a mapping. AWS: `KAFKA_BOOTSTRAP_SERVERS`.
pub const BOOTSTRAP_SERVERS: RangeInclusive<usize> = 1..=10;
/// Characters of one bootstrap server.
pub const BOOTSTRAP_SERVER_CHARS: RangeInclusive<usize> = 1..=300;
/// Characters of the event source's ARN. AWS allows 10,000; a real one has under 200, and a bound
/// on the envelope is worth more than the difference.
pub const EVENT_SOURCE_ARN_CHARS_MAX: usize = 2_048;
/// Characters of a consumer group's id. AWS: `ConsumerGroupId`.
pub const CONSUMER_GROUP_ID_CHARS: RangeInclusive<usize> = 1..=200;
/// Characters of a function's name or ARN. AWS: `FunctionName`.
pub const FUNCTION_CHARS: RangeInclusive<usize> = 1..=256;
/// Characters of a function's bare name.
pub const FUNCTION_NAME_CHARS_MAX: usize = 64;
/// Records of one batch. AWS: `BatchSize`.
pub const BATCH_SIZE: RangeInclusive<i64> = 1..=10_000;
/// AWS's default.
pub const BATCH_SIZE_DEFAULT: i64 = 100;
/// AWS: `MaximumBatchingWindowInSeconds`, 0..300.
pub const BATCHING_WINDOW: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(300);
/// AWS's default for Kafka, which its API (whole seconds) cannot even express.
pub const BATCHING_WINDOW_DEFAULT: Duration = Duration::from_millis(500);
/// Entries of `source_access`. AWS: `SourceAccessConfigurations`.
pub const SOURCE_ACCESS_MAX: usize = 23;
/// Characters of one entry's URI.
pub const SOURCE_ACCESS_URI_CHARS_MAX: usize = 200;
/// Bytes of a secret. AWS: Secrets Manager.
pub const SECRET_BYTES_MAX: usize = 65_536;
/// Filters of one mapping. AWS: 5, and 10 if its support raises the quota.
pub const FILTERS_MAX: usize = 10;
/// Filters of one mapping that AWS takes without being asked.
pub const FILTERS_MAX_STRICT: usize = 5;
/// Characters of one filter's pattern. AWS: `Pattern`.
pub const FILTER_PATTERN_CHARS_MAX: usize = 4_096;
/// Retries after the first attempt. AWS: `MaximumRetryAttempts`; -1 is without limit.
pub const RETRY_ATTEMPTS: RangeInclusive<i64> = -1..=10_000;
/// Retries when none are given and there is a destination, as AWS has it.
pub const RETRY_ATTEMPTS_WITH_DESTINATION: u32 = 10;
/// Age of a record. AWS: `MaximumRecordAgeInSeconds`, where 0 to 59 are refused.
pub const RECORD_AGE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(604_800);
/// Characters of a destination. AWS: `DestinationArn`.
pub const DESTINATION_CHARS_MAX: usize = 350;
/// The largest request body that Lambda takes: it must be "smaller than 6291456 bytes".
pub const PAYLOAD_BYTES_MAX: u64 = 6_291_455;

// ── The engine's ─────────────────────────────────────────────────────────────────────────────

/// Ways to meet one pattern: what all its `$or` multiply to. Each costs a few words per record.
pub const FILTER_ALTERNATIVES_MAX: usize = 256;
/// Below this an envelope with the longest servers and ARN would leave no room for a record.
pub const PAYLOAD_BYTES_MIN: u64 = 16 * 1_024;
/// Consumer threads of one mapping.
pub const THREADS: RangeInclusive<i64> = 1..=64;
/// One consumer thread feeds one core's worth of encoding; more are asked for by measurement.
pub const THREADS_DEFAULT: i64 = 1;
/// Threads of the invocation side.
pub const INVOCATION_THREADS: RangeInclusive<i64> = 1..=64;
/// HTTP towards the function is waiting, not computing: one thread carries hundreds of calls.
pub const INVOCATION_THREADS_DEFAULT: i64 = 1;
/// Pollers of one mapping, each with at most one invocation in flight.
pub const POLLERS: RangeInclusive<i64> = 1..=1_000;
/// The concurrency of one of AWS's event pollers.
pub const POLLERS_DEFAULT: i64 = 5;
/// See [`super::MemoryDivision`].
pub const MEMORY_BUDGET_DEFAULT: u64 = 256 * MIB;
/// 1 TiB: more is a typing error.
pub const MEMORY_BUDGET_MAX: u64 = 1 << 40;
/// How long invocations in flight may take after SIGTERM. At most the longest function.
pub const DRAIN_DEADLINE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(900);
/// What Kubernetes grants before SIGKILL.
pub const DRAIN_DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
/// Between asynchronous commits of one consumer thread.
pub const COMMIT_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
/// A crash repeats at most what was delivered within one interval, so short is good; a commit is
/// one request to the group's coordinator and one write to its log, so once a second and thread
/// is a load that no cluster notices. (The Java client's own interval is 5 s.)
pub const COMMIT_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// How long to wait for the function's answer.
pub const FUNCTION_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3_600);
/// The longest that a Lambda function may run (a mapping's: 14 min). Shorter would send a batch
/// again while the first invocation still works on it.
pub const FUNCTION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(900);
/// How long to wait for a connection to the function's endpoint.
pub const CONNECT_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
/// Three SYN retransmissions in a row mean trouble, and a retry will come anyway.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);
/// The longest wait before the first retry.
pub const RETRY_BACKOFF: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
/// AWS publishes none for Kafka; this fits what its Kinesis mapping was seen to do.
pub const RETRY_BACKOFF_DEFAULT: Duration = Duration::from_millis(500);
/// The longest wait before any retry: an hour without a try is an outage of its own.
pub const RETRY_BACKOFF_MAX_LIMIT: Duration = Duration::from_secs(3_600);
/// A function that is down for long is asked once a minute.
pub const RETRY_BACKOFF_MAX_DEFAULT: Duration = Duration::from_secs(60);
/// Where the metrics are served. OpenTelemetry's port for a Prometheus endpoint.
pub const METRICS_ADDRESS_DEFAULT: &str = "127.0.0.1:9464";
/// Overrides of the Kafka client's properties.
pub const LIBRDKAFKA_OVERRIDES_MAX: usize = 100;
/// Characters of a file of settings.
pub const FILE_BYTES_MAX: u64 = MIB;

/// Bytes of an event around its records, at most: braces, names, servers, ARN.
pub const ENVELOPE_BYTES_MAX: u64 = 256
    + EVENT_SOURCE_ARN_CHARS_MAX as u64
    + (*BOOTSTRAP_SERVERS.end() * (*BOOTSTRAP_SERVER_CHARS.end() + 1)) as u64;

const _: () =
    assert!(ENVELOPE_BYTES_MAX + 8 * 1_024 <= PAYLOAD_BYTES_MIN, "a payload must have room for a record");
const _: () = assert!(
    RETRY_BACKOFF.end().as_nanos() <= RETRY_BACKOFF_MAX_DEFAULT.as_nanos(),
    "every first wait fits below the default of the last"
);
const _: () = assert!(PAYLOAD_BYTES_MIN < PAYLOAD_BYTES_MAX);
