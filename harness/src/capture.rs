//! Records of a live topic into a capture file.
//!
//! The topic is read without being touched: partitions are assigned by hand, so no group is joined,
//! and nothing is committed. What is read is what the engine would get (committed transactions
//! only), in the order in which a client hands it out.

mod access;
mod output;
mod reading;
mod survey;

pub use access::{Access, AccessSettings};
pub use output::Output;
pub use survey::{CaptureSummary, PartitionSummary, SizeSummary, Survey, inspect};

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pelton::ids::Partition;
use pelton::record::Record as _;
use pelton::source::RecordQueue as _;
use pelton::source::replay::{CaptureError, CaptureWriter, Header, Keep};
use pelton::time::{Clock, Nanos, wall_ms};
use rand::Rng as _;

use reading::Reading;

/// What is to be captured.
#[derive(Clone, Debug)]
pub struct CapturePlan {
    /// Topic, cluster, where to begin.
    pub access: Access,
    /// Only these partitions; `None` for all.
    pub partitions: Option<Vec<Partition>>,
    /// What is kept of each record.
    pub keep: Keep,
    /// Stop after so many records.
    pub records: Option<u64>,
    /// Stop after this time.
    pub duration: Option<Duration>,
    /// Stop where each partition ended when the capture began.
    pub until_end: bool,
    /// Free words for the file's header.
    pub origin: String,
}

/// Where a capture stands, told about five times a second.
#[derive(Clone, Copy, Debug)]
pub struct CaptureTick {
    /// Records captured.
    pub records: u64,
    /// Bytes of their keys, values and headers.
    pub record_bytes: u64,
    /// How much is done, from 0 to 1; `None` if only Ctrl-C ends it.
    pub done_share: Option<f64>,
}

/// Records taken from the client in one go.
const READ_RECORDS: usize = 1_000;
/// How long to wait for records before looking around.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is told where the capture stands.
const TELL: Duration = Duration::from_millis(200);
/// Records stay in memory no longer than this: a capture that is killed loses no more.
const FLUSH: Duration = Duration::from_secs(1);

/// Captures into `out`, which errors call `name`. `interrupted` ends it; what was captured until then
/// is kept, and the file is closed as if that had been all.
///
/// # Errors
/// If the topic cannot be read, or `out` fails.
pub fn capture<W: Write>(
    plan: &CapturePlan,
    out: W,
    name: &str,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(CaptureTick),
) -> anyhow::Result<CaptureSummary> {
    let clock = Clock::start();
    let mut reading = Reading::begin(&plan.access, plan.partitions.as_deref(), plan.until_end)?;
    let header = Header {
        topic: plan.access.topic.to_string(),
        partitions: reading.topic_partitions(),
        captured_at_ms: wall_ms(),
        origin: plan.origin.clone(),
    };
    let mut writer = CaptureWriter::new(out, name, &header, plan.keep, rand::rng().next_u64())?;
    let mut survey = Survey::new(plan.keep);
    let filled = fill(plan, &mut reading, &mut writer, &mut survey, interrupted, clock, tell);
    let failure = match filled {
        Ok(()) => None,
        // The output is gone. With the topic gone, what was captured is still to be closed.
        Err(error) if error.is::<CaptureError>() => return Err(error),
        Err(error) => Some(format!("{error:#}")),
    };
    let totals = writer.totals();
    let file_bytes = writer.finish()?.1;
    let mut summary = survey.summary(name, Some(&header), totals, file_bytes);
    summary.is_complete = true;
    summary.interrupted = interrupted.load(Ordering::Relaxed);
    summary.failure = failure;
    summary.remarks.extend(reading.remarks());
    Ok(summary)
}

fn fill<W: Write>(
    plan: &CapturePlan,
    reading: &mut Reading,
    writer: &mut CaptureWriter<W>,
    survey: &mut Survey,
    interrupted: &AtomicBool,
    clock: Clock,
    tell: &mut dyn FnMut(CaptureTick),
) -> anyhow::Result<()> {
    let deadline = plan.duration.map_or(Nanos::NEVER, |duration| clock.now() + duration);
    let records_max = plan.records.unwrap_or(u64::MAX);
    let (mut told_at, mut flushed_at) = (Nanos::ZERO, clock.now());
    while !interrupted.load(Ordering::Relaxed)
        && clock.now() < deadline
        && survey.records() < records_max
        && !reading.is_done()
    {
        let room = usize::try_from(records_max - survey.records()).unwrap_or(READ_RECORDS);
        let read = reading.queue().read(READ_RECORDS.min(room));
        take(reading, read.min(room), writer, survey)?;
        let now = clock.now();
        if now - flushed_at >= FLUSH {
            flushed_at = now;
            writer.flush()?;
        }
        if now - told_at >= TELL {
            told_at = now;
            reading.look()?;
            let done_share = done_share(plan, survey, reading, now, deadline);
            tell(CaptureTick {
                records: survey.records(),
                record_bytes: writer.totals().bytes(),
                done_share,
            });
        }
        if read == 0 {
            reading.look()?;
            reading.wait(LOOK);
        }
    }
    Ok(())
}

/// Captures the `read` records that are pending.
fn take<W: Write>(
    reading: &mut Reading,
    read: usize,
    writer: &mut CaptureWriter<W>,
    survey: &mut Survey,
) -> Result<(), CaptureError> {
    let (queue, ends) = reading.split();
    for record in &queue.pending()[..read] {
        if !ends.take(record.partition(), record.offset()) {
            continue;
        }
        match writer.append(record) {
            Ok(()) => survey.add_record(record),
            Err(error @ CaptureError::RecordTooLarge { .. }) => survey.leave_out(&error),
            Err(error) => return Err(error),
        }
    }
    queue.advance(read);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a share for a progress bar")]
fn done_share(
    plan: &CapturePlan,
    survey: &Survey,
    reading: &Reading,
    now: Nanos,
    deadline: Nanos,
) -> Option<f64> {
    let by_records = plan.records.map(|records| survey.records() as f64 / records as f64);
    let by_time =
        plan.duration.map(|duration| 1.0 - (deadline - now).as_secs_f64() / duration.as_secs_f64().max(1e-9));
    let by_end = reading.done_share();
    [by_records, by_time, by_end].into_iter().flatten().reduce(f64::max).map(|share| share.clamp(0.0, 1.0))
}
