//! Makes the records that a loader sends, or takes them from a capture.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rdkafka::message::{Header, OwnedHeaders};

use crate::workload::arrival::{Arrival, Schedule};
use crate::workload::partitions::Partitioner;
use crate::workload::recording::Recording;
use crate::workload::scenario::Workload;
use crate::workload::values::ValuePool;

/// A record to be sent.
pub(crate) struct Drawn<'d> {
    /// `None` for null.
    pub(crate) key: Option<&'d [u8]>,
    /// `None` for null.
    pub(crate) value: Option<&'d [u8]>,
    pub(crate) headers: Option<OwnedHeaders>,
    /// Of key, value and headers.
    pub(crate) bytes: u32,
}

/// Draws records, one after the other.
pub(crate) struct Draw {
    workload: Workload,
    supply: Supply,
}

enum Supply {
    Made {
        values: ValuePool,
        headers: Option<OwnedHeaders>,
        partitioner: Partitioner,
        random: SmallRng,
        key: Vec<u8>,
    },
    Replayed {
        recording: &'static Recording,
        /// The next of its sendings.
        sending: usize,
        /// The next record of each partition.
        next: Vec<usize>,
    },
}

impl Draw {
    pub(crate) fn new(workload: &Workload) -> Self {
        let supply = match workload.replay {
            Some(recording) => {
                Supply::Replayed { recording, sending: 0, next: vec![0; recording.partitions().len()] }
            }
            None => made(workload),
        };
        Self { workload: workload.clone(), supply }
    }

    /// Partitions that records are drawn for.
    pub(crate) fn partitions(&self) -> u32 {
        self.workload.partitions
    }

    /// Whether a record is meant to be sent whenever there is room.
    pub(crate) fn is_fast(&self) -> bool {
        self.workload.arrival == Arrival::Fast
    }

    /// How many records are there at once, before the schedule begins.
    pub(crate) fn backlog(&self) -> u64 {
        self.workload.backlog
    }

    /// Begins a replay at its first record, whatever was drawn before. Returns the schedule.
    pub(crate) fn begin(&mut self) -> Option<Schedule> {
        if let Supply::Replayed { sending, next, .. } = &mut self.supply {
            *sending = 0;
            next.fill(0);
        }
        Schedule::of(&self.workload)
    }

    /// Which partition is next.
    pub(crate) fn partition(&mut self) -> u32 {
        match &mut self.supply {
            Supply::Made { partitioner, random, .. } => partitioner.next(random),
            Supply::Replayed { recording, sending, .. } => {
                let sendings = recording.sendings();
                let partition = sendings[*sending].partition;
                *sending = if *sending + 1 == sendings.len() { 0 } else { *sending + 1 };
                partition
            }
        }
    }

    /// The next record for `partition`.
    pub(crate) fn record(&mut self, partition: u32) -> Drawn<'_> {
        match &mut self.supply {
            Supply::Made { values, headers, random, key, .. } => {
                let has_key = self.workload.key.write(partition, self.workload.partitions, random, key);
                let value = values.value(random.random_range(0..values.len()));
                let value = (!self.workload.is_tombstone(random)).then_some(value);
                let bytes = value.map_or(0, <[u8]>::len) as u64 + self.workload.side_bytes();
                Drawn {
                    key: has_key.then_some(&key[..]),
                    value,
                    headers: headers.clone(),
                    bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                }
            }
            Supply::Replayed { recording, next, .. } => {
                // A topic may have more partitions than were captured: what they begin with is taken
                // from one that was.
                let at = partition as usize % next.len();
                let records = &recording.partitions()[at].records;
                let record = &records[next[at]];
                next[at] = if next[at] + 1 == records.len() { 0 } else { next[at] + 1 };
                Drawn {
                    key: record.key,
                    value: record.value,
                    headers: owned(record.headers),
                    bytes: u32::try_from(record.bytes()).unwrap_or(u32::MAX),
                }
            }
        }
    }
}

fn made(workload: &Workload) -> Supply {
    let mut random = SmallRng::seed_from_u64(workload.seed.wrapping_add(1));
    let headers = (!workload.headers.is_empty()).then(|| {
        workload.headers.iter().fold(OwnedHeaders::new(), |headers, header| {
            let mut value = vec![0; usize::try_from(header.bytes.0).unwrap_or(0)];
            random.fill(&mut value[..]);
            headers.insert(Header { key: &header.name, value: Some(&value) })
        })
    });
    Supply::Made {
        values: ValuePool::new(&workload.value_size, workload.value_content, workload.seed),
        headers,
        partitioner: Partitioner::new(&workload.partitioning, workload.partitions),
        random,
        key: Vec::new(),
    }
}

/// The producer takes header names as text: one that is not UTF-8 is sent with U+FFFD for what is
/// not.
fn owned(headers: &[pelton::record::Header<'_>]) -> Option<OwnedHeaders> {
    (!headers.is_empty()).then(|| {
        headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |owned, header| {
            owned.insert(Header { key: &String::from_utf8_lossy(header.name), value: header.value })
        })
    })
}
