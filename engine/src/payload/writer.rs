//! Records to JSON, a run at a time.

#[cfg(target_arch = "x86_64")]
use super::base64::{avx2::Avx2, avx512::Avx512, sse41::Sse41};
use super::base64::{base64_len, portable::Portable, scalar::Scalar};
use super::buffer::IndexEntry;
use super::cursor::{Body, Cursor, REST_BYTES_MIN};
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

/// Writes records as long as they surely fit, and returns how many did.
pub(crate) fn write_run<R: Record>(
    tier: Tier,
    template: &Template,
    records: &[R],
    out: RunOut<'_>,
) -> Written {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "the functions of a tier run where the tier does")]
    match tier {
        // SAFETY: a tier comes from `Tier::best` or is checked by `Pool::with_tier`, so the CPU has
        // its features.
        Tier::Avx512 => return unsafe { write_run_avx512(template, records, out) },
        // SAFETY: as above.
        Tier::Avx2 => return unsafe { write_run_avx2(template, records, out) },
        // SAFETY: as above.
        Tier::Sse41 => return unsafe { write_run_sse41(template, records, out) },
        Tier::Portable | Tier::Scalar => {}
    }
    if tier == Tier::Scalar {
        return write_run_with::<Scalar, R>(template, records, out);
    }
    write_run_with::<Portable, R>(template, records, out)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512ifma,avx2,bmi1,bmi2,popcnt,lzcnt"
)]
fn write_run_avx512<R: Record>(template: &Template, records: &[R], out: RunOut<'_>) -> Written {
    write_run_with::<Avx512, R>(template, records, out)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
fn write_run_avx2<R: Record>(template: &Template, records: &[R], out: RunOut<'_>) -> Written {
    write_run_with::<Avx2, R>(template, records, out)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "ssse3,sse4.1")]
fn write_run_sse41<R: Record>(template: &Template, records: &[R], out: RunOut<'_>) -> Written {
    write_run_with::<Sse41, R>(template, records, out)
}

/// The loop of every tier. Inlined into a function that has the tier's features, so that the
/// kernels are inlined in turn and their constants stay in registers from record to record.
#[inline(always)]
#[expect(unsafe_code, reason = "the cursor is told that there is room, after asking it")]
fn write_run_with<K: Kernel, R: Record>(template: &Template, records: &[R], out: RunOut<'_>) -> Written {
    let start = Cursor::new(out.bytes, out.room);
    let (mut cursor, mut written) = (start, start);
    let stamp = out.stamp;
    stamp.prepare(template);
    let mut index = out.index.iter_mut();
    let mut count = 0;
    for record in records {
        let Some(entry) = index.next() else { break };
        let offset = record.offset().0;
        let (timestamp_ms, timestamp_type) = record.timestamp();
        if !stamp.fits(offset, timestamp_ms, timestamp_type) {
            stamp.render(template, offset, timestamp_ms, timestamp_type);
        }
        let body = Body { offset, timestamp_ms, key: record.key(), value: record.value() };
        if cursor.left() < body.len_max(stamp) + REST_BYTES_MIN && !body.fits(stamp, cursor.left()) {
            break;
        }
        *entry = IndexEntry { offset, timestamp_ms, start: out.start + cursor.since(start) as u32 };
        // SAFETY: there is room for the body, as just asked, and the caller runs `K`'s tier.
        unsafe { cursor.put_body::<K>(stamp, template, &body) };
        let headers = record.headers();
        if headers.size_hint().1 == Some(0) {
            // SAFETY: was part of what was asked for.
            unsafe { cursor.put_no_headers() };
        } else {
            // SAFETY: was part of what was asked for, and the caller runs `K`'s tier.
            let Some(end) = (unsafe { cursor.put_headers::<K>(headers, out.exact) }) else { break };
            cursor = end;
        }
        written = cursor;
        count += 1;
    }
    Written { records: count, bytes: written.since(start) }
}
