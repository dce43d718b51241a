//! The records that floors are measured on: as the run's, in memory of their own.

use std::ops::Range;
use std::sync::Arc;

use pelton::ids::{Offset, Partition};
use pelton::record::{Header, Record, RecordRef};
use pelton::source::{RecordQueue, Source, SourceEvent};

use crate::memory::{Corpus, MemorySource};
use crate::workload::scenario::Workload;
use crate::workload::values::POOL_VALUES_MAX;

/// Enough that no cache near the core holds them: records come from memory that somebody else has
/// just written.
pub const SAMPLE_BYTES: usize = 32 << 20;
/// Enough to be representative where records are small.
const SAMPLE_RECORDS: usize = 200_000;

/// Records that own their bytes.
#[derive(Debug, Default)]
pub struct Sample {
    bytes: Vec<u8>,
    records: Vec<Stored>,
    headers: Vec<(Range<usize>, Option<Range<usize>>)>,
}

#[derive(Debug)]
struct Stored {
    record: RecordRef<'static>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

impl Sample {
    /// Records as `workload` makes them. From memory the engine meets the same values again and
    /// again, so then `once` keeps each only once.
    #[must_use]
    pub fn of_workload(workload: &Workload, once: bool) -> Self {
        let corpus = Arc::new(Corpus::new(workload, None));
        let mut source = MemorySource::new(&corpus, 0, 1, 1);
        let mut events = Vec::new();
        source.serve(&mut events);
        for event in events {
            if let SourceEvent::Assigned(partitions) = event {
                let routes: Vec<_> = partitions.into_iter().map(|partition| (partition, 0)).collect();
                // Nothing can go wrong in memory; without partitions the sample stays empty.
                drop(source.assign(&routes, &mut Vec::new()));
            }
        }
        let mut sample = Self::default();
        let queue = source.queue(0);
        let records_max = if once { POOL_VALUES_MAX } else { usize::MAX };
        while !sample.is_full() && sample.records.len() < records_max && queue.read(1_000) > 0 {
            let taken = queue.pending().len().min(records_max - sample.records.len());
            sample.add(&queue.pending()[..taken]);
            queue.advance(taken);
        }
        sample
    }

    /// Copies `records` in, until there are enough.
    pub fn add<R: Record>(&mut self, records: &[R]) {
        for record in records {
            if self.is_full() {
                return;
            }
            let key = record.key().map(|key| self.put(key));
            let value = record.value().map(|value| self.put(value));
            let first = self.headers.len();
            for header in record.headers() {
                let name = self.put(header.name);
                let value = header.value.map(|value| self.put(value));
                self.headers.push((name, value));
            }
            self.records.push(Stored {
                record: RecordRef {
                    partition: Partition(0),
                    offset: Offset(record.offset().0),
                    timestamp_ms: record.timestamp_ms(),
                    timestamp_type: record.timestamp_type(),
                    key: None,
                    value: None,
                    headers: &[],
                },
                key,
                value,
                headers: first..self.headers.len(),
            });
        }
    }

    /// Whether there are enough.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= SAMPLE_BYTES || self.records.len() >= SAMPLE_RECORDS
    }

    /// Gives all records, which borrow from the sample, to `with`.
    pub fn view<T>(&self, with: impl FnOnce(&[RecordRef<'_>]) -> T) -> T {
        let headers: Vec<Header<'_>> = self
            .headers
            .iter()
            .map(|(name, value)| Header {
                name: &self.bytes[name.clone()],
                value: value.clone().map(|value| &self.bytes[value]),
            })
            .collect();
        let records: Vec<RecordRef<'_>> = self
            .records
            .iter()
            .map(|stored| RecordRef {
                key: stored.key.clone().map(|key| &self.bytes[key]),
                value: stored.value.clone().map(|value| &self.bytes[value]),
                headers: &headers[stored.headers.clone()],
                ..stored.record
            })
            .collect();
        with(&records)
    }

    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::spec::Spec;

    #[test]
    fn a_sample_holds_the_records_of_its_workload() {
        let text = "partitions = 2\nvalue_size = \"100B\"\nkey = \"random(7B)\"\nheaders = [\"ab:5B\"]";
        let workload = Spec::from_toml(text, "test").unwrap().resolve().unwrap().workload;
        let sample = Sample::of_workload(&workload, false);
        assert!(sample.is_full());
        assert_eq!(Sample::of_workload(&workload, true).records.len(), POOL_VALUES_MAX);
        sample.view(|records| {
            assert_eq!(records.len(), SAMPLE_RECORDS);
            for record in records {
                assert_eq!(record.value.unwrap().len(), 100);
                assert_eq!(record.key.unwrap().len(), 7);
                assert_eq!((record.headers[0].name, record.headers[0].value.unwrap().len()), (&b"ab"[..], 5));
            }
        });
    }
}
