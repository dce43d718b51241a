//! Where records go that were given up, as a mapping names it.

use std::fmt;

use super::function::{is_account, is_region};
use super::limits::TOPIC_CHARS;
use crate::ids::Topic;

/// An on-failure destination that can exist.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DestinationTarget {
    /// A standard queue: what failed, without the event.
    Sqs {
        /// `arn:aws:sqs:REGION:ACCOUNT:QUEUE`.
        arn: String,
        /// Of the queue, which need not be the function's.
        region: String,
        /// Its owner: 12 digits.
        account: String,
        /// Its name, 1 to 80 characters.
        queue: String,
    },
    /// A standard topic of SNS: what failed, without the event.
    Sns {
        /// `arn:aws:sns:REGION:ACCOUNT:NAME`.
        arn: String,
        /// Of the topic, which need not be the function's.
        region: String,
    },
    /// A bucket: what failed, with the event.
    S3 {
        /// `arn:aws:s3:::BUCKET`. It names no region.
        arn: String,
        /// Its name, 3 to 63 characters.
        bucket: String,
    },
    /// A topic of the same cluster: each record with what became of it.
    Kafka {
        /// Never the mapping's own.
        topic: Topic,
    },
}

/// Why a text is no destination: what was found, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoDestination {
    /// In words, to stand before what is allowed.
    pub(super) found: &'static str,
    /// In words.
    pub(super) remedy: &'static str,
}

const MALFORMED: NoDestination =
    NoDestination { found: "", remedy: "correct the ARN, or write kafka:// and a topic's name" };
const FIFO: NoDestination = NoDestination {
    found: "a FIFO queue or topic",
    remedy: "AWS takes standard queues and topics only: name one of them",
};
const NO_SERVICE: NoDestination = NoDestination {
    found: "an ARN of another service",
    remedy: "name a queue (sqs), a topic (sns), a bucket (s3) or kafka:// and a topic",
};

impl DestinationTarget {
    /// Reads an ARN or `kafka://topic`.
    ///
    /// AWS: `kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))` or
    /// `arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:(REGION)?:(\d{12})?:(.*)`.
    pub(super) fn parse(text: &str) -> Result<Self, NoDestination> {
        if let Some(topic) = text.strip_prefix("kafka://") {
            let plain = topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            let named = plain && !topic.starts_with('.') && TOPIC_CHARS.contains(&topic.len());
            return if named { Ok(Self::Kafka { topic: Topic::new(topic) }) } else { Err(MALFORMED) };
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [arn, partition, service, region, account, resource] = parts.as_slice() else {
            return Err(MALFORMED);
        };
        let partition_plain =
            partition.starts_with("aws") && partition.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if *arn != "arn" || !partition_plain {
            return Err(MALFORMED);
        }
        let arn = text.to_owned();
        let placed = is_region(region) && is_account(account);
        match *service {
            "sqs" | "sns" if resource.ends_with(".fifo") => Err(FIFO),
            "sqs" if placed && is_named(resource, 80) => Ok(Self::Sqs {
                arn,
                region: (*region).to_owned(),
                account: (*account).to_owned(),
                queue: (*resource).to_owned(),
            }),
            "sns" if placed && is_named(resource, 256) => Ok(Self::Sns { arn, region: (*region).to_owned() }),
            "s3" if region.is_empty() && account.is_empty() && is_bucket(resource) => {
                Ok(Self::S3 { arn, bucket: (*resource).to_owned() })
            }
            "sqs" | "sns" | "s3" => Err(MALFORMED),
            _ => Err(NO_SERVICE),
        }
    }
}

impl fmt::Display for DestinationTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqs { arn, .. } | Self::Sns { arn, .. } | Self::S3 { arn, .. } => f.write_str(arn),
            Self::Kafka { topic } => write!(f, "kafka://{topic}"),
        }
    }
}

fn is_named(name: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// S3's own rule, but for what only its service can know.
fn is_bucket(name: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (3..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        && edge(name.as_bytes().first())
        && edge(name.as_bytes().last())
        && !name.contains("..")
}
