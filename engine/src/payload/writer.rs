//! Records to JSON, a run at a time.

#[cfg(target_arch = "x86_64")]
use super::base64::{avx2::Avx2, avx512::Avx512, sse41::Sse41};
use super::base64::{base64_len, portable::Portable, scalar::Scalar};
use super::buffer::IndexEntry;
use super::cursor::{Body, Cursor};
use super::decimal::decimal_len;
use super::headers::header_len_exact;
use super::kernel::Kernel;
use super::stamp::Stamp;
use super::template::Template;
use super::tier::Tier;
use crate::record::Record;

/// No record is shorter than this.
pub(crate) const RECORD_BYTES_MIN: usize =
    r#",{"topic":"","partition":0,"offset":0,"timestamp":0,"timestampType":"CREATE_TIME","headers":[]}"#
        .len();

/// Where a run is written.
#[derive(Debug)]
pub(crate) struct RunOut<'b> {
    /// The arena from the first free byte on, as far as it is granted. The last
    /// [`SPILL_BYTES`](super::kernel::SPILL_BYTES) are not for records.
    pub(crate) bytes: &'b mut [u8],
    /// At most so many bytes may become records.
    pub(crate) room: usize,
    /// Size headers exactly before they are written, instead of by an upper bound: for records
    /// that are known to fit, and only just.
    pub(crate) exact: bool,
    /// One entry per record that may be written.
    pub(crate) index: &'b mut [IndexEntry],
    /// Where `bytes` begins in the arena.
    pub(crate) start: u32,
    pub(crate) stamp: &'b mut Stamp,
}

/// How much of a run was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// The exact number of bytes of `record`'s JSON, leading comma included.
pub fn encoded_len<R: Record>(template: &Template, record: &R) -> usize {
    let quoted = |name: &str, bytes: Option<&[u8]>| {
        bytes.map_or(0, |bytes| r#","":"""#.len() + name.len() + base64_len(bytes.len()))
    };
    let mut bytes = template.prefix().len()
        + decimal_len(record.offset().0)
        + r#","timestamp":"#.len()
        + decimal_len(record.timestamp_ms())
        + r#","timestampType":"""#.len()
        + record.timestamp_type().name().len()
        + quoted("key", record.key())
        + quoted("value", record.value())
        + r#","headers":[]}"#.len();
    let mut comma = 0;
    for header in record.headers() {
        bytes += comma + header_len_exact(header);
        comma = 1;
    }
    bytes
}

/// Whether the loop over `records` should write their headers itself, instead of calling a function
/// for those of each record. It needs many registers for that, which records without headers miss.
fn headers_in_loop<R: Record>(records: &[R]) -> bool {
    /// For fewer records it does not pay to make ready.
    const MANY: usize = 4;
    let first = |record: &R| record.headers().size_hint().1 != Some(0);
    R::HEADERS_AT_HAND && records.len() >= MANY && records.first().is_some_and(first)
}

/// Writes records as long as they surely fit, and returns how many did.
#[inline]
pub(crate) fn write_run<R: Record>(
    tier: Tier,
    template: &Template,
    records: &[R],
    out: RunOut<'_>,
) -> Written {
    // Where partitions take turns there is a call for each record: what it costs beside the record
    // shows, so the way there is as short as it can be.
    #[cfg(target_arch = "x86_64")]
    if tier == Tier::Avx512
        && let ([record], [entry, ..], false) = (records, &mut *out.index, out.exact)
    {
        let cursor = Cursor::new(&mut *out.bytes, out.room);
        entry.start = out.start;
        #[expect(unsafe_code, reason = "the functions of a tier run where the tier does")]
        // SAFETY: a tier comes from `Tier::best` or is checked by `Pool::with_tier`, so the CPU has its
        // features.
        let bytes = unsafe { write_one_avx512(template, record, cursor, entry, out.stamp) };
        if bytes > 0 {
            return Written { records: 1, bytes };
        }
    }
    write_run_on(tier, template, records, out)
}

/// [`write_run`] for any tier and any number of records.
#[inline(never)]
fn write_run_on<R: Record>(tier: Tier, template: &Template, records: &[R], out: RunOut<'_>) -> Written {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "the functions of a tier run where the tier does")]
    match tier {
        // SAFETY: as in `write_run`.
        Tier::Avx512 if headers_in_loop(records) => unsafe {
            return write_run_avx512::<R, true>(template, records, out);
        },
        // SAFETY: as above.
        Tier::Avx512 => return unsafe { write_run_avx512::<R, false>(template, records, out) },
        // SAFETY: as above.
        Tier::Avx2 => return unsafe { write_run_avx2(template, records, out) },
        // SAFETY: as above.
        Tier::Sse41 => return unsafe { write_run_sse41(template, records, out) },
        Tier::Portable | Tier::Scalar => {}
    }
    if tier == Tier::Scalar {
        return write_run_with::<Scalar, R, false>(template, records, out);
    }
    write_run_with::<Portable, R, false>(template, records, out)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512ifma,avx2,bmi1,bmi2,popcnt,lzcnt"
)]
fn write_run_avx512<R: Record, const HEADERS_IN_LOOP: bool>(
    template: &Template,
    records: &[R],
    out: RunOut<'_>,
) -> Written {
    write_run_with::<Avx512, R, HEADERS_IN_LOOP>(template, records, out)
}

/// [`write_run_avx512`] for one record: without what a loop has ready for the next one, and with
/// arguments that fit in registers. Returns how long the record is, or 0 if it may not fit. `entry` has
/// its start already.
#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512ifma,avx2,bmi1,bmi2,popcnt,lzcnt"
)]
#[expect(unsafe_code, reason = "the cursor is told that there is room, after asking it")]
fn write_one_avx512<R: Record>(
    template: &Template,
    record: &R,
    mut cursor: Cursor<'_>,
    entry: &mut IndexEntry,
    stamp: &mut Stamp,
) -> usize {
    stamp.prepare(template);
    let offset = record.offset().0;
    let (timestamp_ms, timestamp_type) = record.timestamp();
    if !stamp.fits(offset, timestamp_ms, timestamp_type) {
        stamp.render(template, offset, timestamp_ms, timestamp_type);
    }
    let beginning = cursor;
    let body = Body { offset, timestamp_ms, key: record.key(), value: record.value() };
    if cursor.left() < body.len_max(stamp) {
        return 0;
    }
    (entry.offset, entry.timestamp_ms) = (offset, timestamp_ms);
    // SAFETY: the features are those of the function.
    let held = unsafe { Avx512::hold(stamp.text()) };
    // SAFETY: there is room for the body, as just asked.
    let missing = unsafe { cursor.put_body::<Avx512>(held, stamp, &body) };
    // SAFETY: was part of what was asked for.
    let end = unsafe { cursor.put_rest::<Avx512>(record.headers(), false, missing) };
    end.map_or(0, |end| end.since(beginning))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
fn write_run_avx2<R: Record>(template: &Template, records: &[R], out: RunOut<'_>) -> Written {
    write_run_with::<Avx2, R, false>(template, records, out)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "ssse3,sse4.1")]
fn write_run_sse41<R: Record>(template: &Template, records: &[R], out: RunOut<'_>) -> Written {
    write_run_with::<Sse41, R, false>(template, records, out)
}

/// Why the loop over records pauses: for what calls functions.
enum Pause<H> {
    /// There are no more records.
    End,
    /// The next record needs another stamp.
    Render,
    /// An upper bound of the next record does not fit.
    Tight,
    /// The record that was just begun has headers. Its last text misses so many bytes.
    Headers { headers: H, missing: usize },
}

/// The loop of every tier. Inlined into a function that has the tier's features, so that the
/// kernels are inlined in turn and their constants stay in registers from record to record.
#[inline(always)]
#[expect(unsafe_code, reason = "the cursor is told that there is room, after asking it")]
fn write_run_with<K: Kernel, R: Record, const HEADERS_IN_LOOP: bool>(
    template: &Template,
    records: &[R],
    out: RunOut<'_>,
) -> Written {
    let stamp = out.stamp;
    stamp.prepare(template);
    let mut cursor = Cursor::new(out.bytes, out.room);
    let (beginning, arena) = (cursor, cursor.less(out.start as usize));
    let count = records.len().min(out.index.len());
    let mut rest = records[..count].iter();
    let mut index = out.index[..count].iter_mut();
    let mut written = None;
    // Whether the next record was found to fit, though an upper bound of it does not.
    let mut fits = false;
    loop {
        // SAFETY: the caller runs `K`'s tier.
        let held = unsafe { K::hold(stamp.text()) };
        let pause = loop {
            let Some(record) = rest.as_slice().first() else { break Pause::End };
            let offset = record.offset().0;
            let (timestamp_ms, timestamp_type) = record.timestamp();
            if !stamp.fits(offset, timestamp_ms, timestamp_type) {
                break Pause::Render;
            }
            let body = Body { offset, timestamp_ms, key: record.key(), value: record.value() };
            if cursor.left() < body.len_max(stamp) {
                std::hint::cold_path();
                // Asked again, because a record may not say the same twice.
                if !(std::mem::take(&mut fits) && body.fits(stamp, cursor.left())) {
                    break Pause::Tight;
                }
            }
            let Some(entry) = index.next() else { break Pause::End };
            *entry = IndexEntry { offset, timestamp_ms, start: cursor.since(arena) as u32 };
            // SAFETY: there is room for the body, as just asked, and the caller runs `K`'s tier.
            let missing = unsafe { cursor.put_body::<K>(held, stamp, &body) };
            let headers = record.headers();
            if headers.size_hint().1 == Some(0) {
                // SAFETY: was part of what was asked for.
                unsafe { cursor.put_no_headers(missing) };
            } else if HEADERS_IN_LOOP
                && !out.exact
                // SAFETY: was part of what was asked for, and the caller runs `K`'s tier.
                && let Some(end) = unsafe { cursor.put_plain_headers::<K>(headers.clone(), missing) }
            {
                cursor = end;
            } else {
                break Pause::Headers { headers, missing };
            }
            rest.next();
        };
        let Some(record) = rest.as_slice().first() else { break };
        let (offset, (timestamp_ms, timestamp_type)) = (record.offset().0, record.timestamp());
        let (headers, missing) = match pause {
            Pause::End => break,
            Pause::Render => {
                stamp.render(template, offset, timestamp_ms, timestamp_type);
                continue;
            }
            Pause::Tight => {
                let body = Body { offset, timestamp_ms, key: record.key(), value: record.value() };
                if !body.fits(stamp, cursor.left()) {
                    break;
                }
                if stamp.outside() == 0 {
                    fits = true;
                    continue;
                }
                let Some(entry) = index.next() else { break };
                *entry = IndexEntry { offset, timestamp_ms, start: cursor.since(arena) as u32 };
                let missing;
                // SAFETY: there is room for the body, as just asked, and the caller runs `K`'s tier.
                (cursor, missing) = unsafe { cursor.with_body_apart::<K>(stamp, template, &body) };
                (record.headers(), missing)
            }
            Pause::Headers { headers, missing } => (headers, missing),
        };
        // SAFETY: was part of what was asked for, and the caller runs `K`'s tier.
        let Some(end) = (unsafe { cursor.put_rest::<K>(headers, out.exact, missing) }) else {
            let position = count - rest.len();
            written = Some((out.index[position].start - out.start) as usize);
            break;
        };
        cursor = end;
        rest.next();
    }
    Written { records: count - rest.len(), bytes: written.unwrap_or_else(|| cursor.since(beginning)) }
}
