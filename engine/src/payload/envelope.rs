//! What surrounds the records of an event.

use super::escape;
use bytes::Bytes;

/// Ends one partition's records and begins the next partition's.
pub(crate) const BETWEEN: &[u8] = b"],";
/// Ends the last partition's records, `records` and the event.
pub(crate) const TAIL: &[u8] = b"]}}";

/// The head of every event of a mapping: everything before the first partition's key.
/// (The tail is the same for all: `]}}`.)
#[derive(Clone, Debug)]
pub struct Envelope {
    head: Bytes,
}

impl Envelope {
    /// The envelope of a self-managed Apache Kafka: `eventSource` is `SelfManagedKafka`.
    /// `bootstrap_servers` is one string, `host:port` joined by commas.
    #[must_use]
    pub fn self_managed(bootstrap_servers: &str) -> Self {
        let mut head = br#"{"eventSource":"SelfManagedKafka""#.to_vec();
        Self::append_field(&mut head, "bootstrapServers", bootstrap_servers);
        Self::end(head)
    }

    /// The envelope of Amazon MSK: `eventSource` is `aws:kafka`, and the cluster's ARN follows.
    #[must_use]
    pub fn msk(event_source_arn: &str, bootstrap_servers: &str) -> Self {
        let mut head = br#"{"eventSource":"aws:kafka""#.to_vec();
        Self::append_field(&mut head, "eventSourceArn", event_source_arn);
        Self::append_field(&mut head, "bootstrapServers", bootstrap_servers);
        Self::end(head)
    }

    fn append_field(head: &mut Vec<u8>, name: &str, value: &str) {
        head.extend_from_slice(b",\"");
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b"\":\"");
        escape::append(value.as_bytes(), head);
        head.push(b'"');
    }

    fn end(mut head: Vec<u8>) -> Self {
        head.extend_from_slice(b",\"records\":{");
        // An owner, because the first clone of `Bytes::from(vec)` allocates.
        Self { head: Bytes::from_owner(head) }
    }

    pub(crate) const fn head(&self) -> &Bytes {
        &self.head
    }

    /// Bytes of an event without partitions: what every payload costs before its first record.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // Each partition pays for its own `]`, so the tail counts without one.
        self.head.len() + TAIL.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_managed_head_names_source_and_brokers() {
        assert_eq!(
            &Envelope::self_managed("a:9092,b:9092").head()[..],
            br#"{"eventSource":"SelfManagedKafka","bootstrapServers":"a:9092,b:9092","records":{"#
        );
    }

    #[test]
    fn an_msk_head_puts_the_arn_after_the_source() {
        assert_eq!(
            &Envelope::msk("arn:aws:kafka:eu-west-1:1:cluster/c", "b-1:9098").head()[..],
            br#"{"eventSource":"aws:kafka","eventSourceArn":"arn:aws:kafka:eu-west-1:1:cluster/c","bootstrapServers":"b-1:9098","records":{"#
        );
    }
}
