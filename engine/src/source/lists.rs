//! Lists of partitions and offsets, as the client wants them.

use rdkafka::TopicPartitionList;
use rdkafka::topic_partition_list::Offset as KafkaOffset;

use super::Commit;
use crate::ids::{Partition, Topic};

/// A list for the client: `offsets` of `topic`.
///
/// # Panics
/// If an offset is below zero and none of librdkafka's own constants.
pub(super) fn list_of(
    topic: &Topic,
    offsets: impl IntoIterator<Item = (Partition, KafkaOffset)>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition(topic.as_str(), partition.0)
            .set_offset(offset)
            .expect("offsets are not below zero, or librdkafka's own constants");
    }
    list
}

/// A list for the client: `commits` of `topic`, with their metadata.
///
/// # Panics
/// If an offset is below zero.
pub(super) fn commits_of<'c>(
    topic: &Topic,
    commits: impl IntoIterator<Item = &'c Commit>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for commit in commits {
        let mut one = list.add_partition(topic.as_str(), commit.partition.0);
        one.set_offset(KafkaOffset::Offset(commit.offset.0)).expect("offsets are not below zero");
        // Goes with its length: a zero inside is not its end. None and the empty one are the same to
        // a broker.
        if !commit.metadata.is_empty() {
            one.set_metadata(&commit.metadata);
        }
    }
    list
}
