//! Lists of partitions and offsets, as the client wants them.

use rdkafka::TopicPartitionList;
use rdkafka::topic_partition_list::Offset as KafkaOffset;

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
