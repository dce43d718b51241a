//! Events as the engine really writes them: through a batch, a seal and a payload.

use super::cases::{Case, CaseRecord, Expectations};
use pelton::batch::{Appended, BatchLimits, FlushCause, OpenBatch};
use pelton::ids::{Offset, Partition, Slot, Topic};
use pelton::payload::{Envelope, Pool, Template};
use pelton::record::{Header, RecordRef, TimestampType};
use pelton::time::Nanos;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The event of `case`.
pub(crate) fn event(case: &Case) -> Vec<u8> {
    let limits = BatchLimits::default();
    let mut pool = Pool::new(64 << 20, limits.payload_bytes_max as usize, limits.batch_size as usize);
    let envelope = match &case.event_source_arn {
        Some(arn) => Envelope::msk(arn, &case.bootstrap_servers),
        None => Envelope::self_managed(&case.bootstrap_servers),
    };
    let lease = pool.acquire().expect("the budget holds one batch");
    let mut batch = OpenBatch::new(lease, &limits, Arc::new(envelope));
    let topic = Topic::new(&case.topic);
    let mut slots: Vec<i32> = Vec::new();
    for run in case.records.chunk_by(|one, other| one.partition == other.partition) {
        let partition = run[0].partition;
        let slot = slots.iter().position(|known| *known == partition).unwrap_or_else(|| {
            slots.push(partition);
            slots.len() - 1
        });
        let template = Template::new(&topic, Partition(partition));
        let slot = Slot(u16::try_from(slot).expect("a case has few partitions"));
        let taken = append(&mut batch, &mut pool, slot, &template, run);
        assert_eq!(taken, Appended { taken: run.len(), stop: None }, "{} fits into one batch", case.name);
    }
    let sealed = batch.seal(FlushCause::Window, Nanos(1));
    let payload = match &case.part {
        None => sealed.whole(),
        Some(ranges) => sealed.part(ranges.iter().map(|[from, to]| *from..*to)),
    };
    let mut event = Vec::new();
    payload.write_to(&mut event);
    event
}

fn append(
    batch: &mut OpenBatch,
    pool: &mut Pool,
    slot: Slot,
    template: &Template,
    run: &[CaseRecord],
) -> Appended {
    // Owned first, then lent.
    let parts: Vec<_> = run
        .iter()
        .map(|record| {
            let headers: Vec<_> = record
                .headers
                .iter()
                .map(|header| (header.wire_name(), header.value.as_ref().map(super::cases::Bytes::to_vec)))
                .collect();
            let [key, value] =
                [&record.key, &record.value].map(|part| part.as_ref().map(|part| part.to_vec()));
            (key, value, headers)
        })
        .collect();
    let headers: Vec<Vec<Header<'_>>> = parts
        .iter()
        .map(|(_, _, headers)| {
            headers.iter().map(|(name, value)| Header { name, value: value.as_deref() }).collect()
        })
        .collect();
    let records: Vec<RecordRef<'_>> = run
        .iter()
        .zip(&parts)
        .zip(&headers)
        .map(|((record, (key, value, _)), headers)| RecordRef {
            partition: Partition(record.partition),
            offset: Offset(record.offset),
            timestamp_ms: record.timestamp_ms,
            timestamp_type: timestamp_type(&record.timestamp_type),
            key: key.as_deref(),
            value: value.as_deref(),
            headers,
        })
        .collect();
    batch.append_run(pool, slot, template, &records, Nanos(0))
}

fn timestamp_type(name: &str) -> TimestampType {
    [TimestampType::None, TimestampType::CreateTime, TimestampType::LogAppendTime]
        .into_iter()
        .find(|kind| kind.name() == name)
        .expect("a constant of Kafka's TimestampType")
}

/// Writes the event of every case into `directory`.
pub(crate) fn write_all(expectations: &Expectations, directory: &Path) -> std::io::Result<usize> {
    fs::create_dir_all(directory)?;
    for case in &expectations.cases {
        fs::write(directory.join(format!("{}.json", case.name)), event(case))?;
    }
    Ok(expectations.cases.len())
}
