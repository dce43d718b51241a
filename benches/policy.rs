//! The batch policy's share of a record, beside the floor of adding sizes up, and what one would
//! write first: a clock read for every record, and two comparisons.

use crate::contest::{Front, Role, Row};
use crate::sized;
use pelton::batch::{BatchLimits, Fit, Policy};
use pelton::time::{Clock, Nanos};
use std::hint::black_box;

pub(crate) fn contests(front: &mut dyn Front) {
    if !front.wants("policy", "300 B records", true) {
        return;
    }
    let records = sized(10_000, 10);
    let limits = BatchLimits { batch_size: u32::MAX, ..BatchLimits::default() };
    let bytes = 300 * records;
    let mut row = Row::new("policy", "300 B records", "record", records, 0);
    row.contestant(Role::Pelton, "record by record", &bytes, || {
        let mut policy = Policy::new(&limits, 0);
        for at in 0..records {
            if policy.fit(black_box(300), 300) == Fit::Here {
                policy.on_append(1, 300, Nanos(at as u64));
            }
            if policy.due(Nanos(at as u64)).is_some() {
                break;
            }
        }
        policy.payload_bytes()
    });
    row.contestant(Role::Pelton, "runs of 100", &bytes, || {
        let mut policy = Policy::new(&limits, 0);
        for at in (0..records).step_by(100) {
            let run = 100.min(records - at);
            policy.on_append(run as u32, black_box(300) * run, Nanos(at as u64));
            if policy.due(Nanos(at as u64)).is_some() {
                break;
            }
        }
        policy.payload_bytes()
    });
    row.contestant(Role::Floor, "sum", &bytes, || (0..records).map(|_| black_box(300_usize)).sum::<usize>());
    let clock = Clock::start();
    row.contestant(Role::Peer, "clock per record", &bytes, || {
        let (mut count, mut bytes, mut opened) = (0, 0, None);
        for _ in 0..records {
            let record = black_box(300_usize);
            let opened = *opened.get_or_insert_with(|| clock.now());
            if bytes + record > 6 << 20 || count == usize::MAX || clock.now().0 - opened.0 > u64::MAX / 2 {
                break;
            }
            count += 1;
            bytes += record;
        }
        bytes
    });
    front.row(row);
}
