//! What all records of a partition have in common, prepared once.

use super::escape;
use crate::ids::{Partition, Topic};
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};

/// The constant text of one partition's records. Made when the partition is assigned; appending a
/// run to a batch then costs no formatting and no allocation.
#[derive(Clone, Debug)]
pub struct Template {
    /// Templates with one id have the same text.
    id: u64,
    partition: Partition,
    /// `,{"topic":"t","partition":0,"offset":`
    prefix: Box<[u8]>,
    /// `"t-0":[`, the partition's key in the event's `records`.
    key: Bytes,
}

impl Template {
    /// The template of `topic`'s `partition`.
    #[must_use]
    pub fn new(topic: &Topic, partition: Partition) -> Self {
        let mut escaped = Vec::new();
        escape::append(topic.as_str().as_bytes(), &mut escaped);
        let number = partition.to_string();

        let mut prefix = b",{\"topic\":\"".to_vec();
        prefix.extend_from_slice(&escaped);
        prefix.extend_from_slice(b"\",\"partition\":");
        prefix.extend_from_slice(number.as_bytes());
        prefix.extend_from_slice(b",\"offset\":");

        let mut key = vec![b'"'];
        key.extend_from_slice(&escaped);
        key.push(b'-');
        key.extend_from_slice(number.as_bytes());
        key.extend_from_slice(b"\":[");

        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        // An owner, because the first clone of `Bytes::from(vec)` allocates.
        Self { id, partition, prefix: prefix.into_boxed_slice(), key: Bytes::from_owner(key) }
    }

    /// The partition whose records these are.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        self.partition
    }

    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// What begins the partition's records in an event: `"TOPIC-PARTITION":[`.
    #[must_use]
    pub const fn key(&self) -> &Bytes {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_spells_out_topic_and_partition() {
        let template = Template::new(&Topic::new("my-topic"), Partition(7));
        assert_eq!(template.prefix(), br#",{"topic":"my-topic","partition":7,"offset":"#);
        assert_eq!(&template.key()[..], br#""my-topic-7":["#);
    }

    #[test]
    fn a_topic_that_needs_escaping_is_escaped() {
        let template = Template::new(&Topic::new("a\"b"), Partition(0));
        assert_eq!(template.prefix(), br#",{"topic":"a\"b","partition":0,"offset":"#);
        assert_eq!(&template.key()[..], br#""a\"b-0":["#);
    }
}
