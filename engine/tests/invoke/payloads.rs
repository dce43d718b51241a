//! Real payloads, through the real batch.

use std::sync::Arc;

use pelton::batch::{BatchLimits, FlushCause, OpenBatch, SealedBatch};
use pelton::ids::{Offset, Partition, Slot, Topic};
use pelton::payload::{Envelope, Pool, Template};
use pelton::record::{RecordRef, TimestampType};
use pelton::time::Nanos;

/// A pool with room for one batch.
pub(crate) fn pool() -> Pool {
    Pool::new(0, BatchLimits::PAYLOAD_BYTES_MAX as usize, 10_000)
}

/// A batch of up to `records` records of `value_bytes` bytes, that alternate between two
/// partitions: each is a frame of its own.
pub(crate) fn batch(pool: &mut Pool, records: usize, value_bytes: usize) -> SealedBatch {
    let limits = BatchLimits { batch_size: 10_000, ..BatchLimits::default() };
    let lease = pool.acquire().expect("an empty pool has room");
    let mut batch = OpenBatch::new(lease, &limits, Arc::new(Envelope::self_managed("h:9092")));
    let templates = [0, 1].map(|partition| Template::new(&Topic::new("t"), Partition(partition)));
    let value = vec![b'v'; value_bytes];
    for offset in 0..records {
        let place = offset % 2;
        let record = RecordRef {
            partition: templates[place].partition(),
            offset: Offset(offset as i64),
            timestamp_ms: 1_700_000_000_000 + offset as i64,
            timestamp_type: TimestampType::CreateTime,
            key: Some(b"k"),
            value: Some(&value),
            headers: &[],
        };
        let appended = batch.append_run(pool, Slot(place as u16), &templates[place], &[record], Nanos::ZERO);
        assert_eq!(appended.taken, 1, "{appended:?}");
    }
    batch.seal(FlushCause::Count, Nanos::ZERO)
}
