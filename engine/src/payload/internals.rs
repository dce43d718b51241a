//! Kernels by themselves, for benches. No promise of stability.
#![expect(unsafe_code, reason = "calls kernels, with the room and the CPU's features checked here")]

use super::arena::{Arena, SLACK_BYTES};
#[cfg(target_arch = "x86_64")]
use super::base64::{avx2::Avx2, avx512::Avx512, own_ahead, read_ahead, sse41::Sse41};
use super::base64::{base64_len, groups_of, pad, portable::Portable, scalar::Scalar};
use super::buffer::IndexEntry;
use super::kernel::{Kernel, SPILL_BYTES};
use super::stamp::Stamp;
use super::template::Template;
use super::tier::Tier;
use super::writer::{RunOut, write_run};
use crate::record::{Header, Record};

/// Writes the base64 of all `values`, one behind the other, and returns how long it is.
///
/// # Panics
/// If this machine does not run `tier`, or `out` has not [`out_bytes`].
pub fn base64(tier: Tier, values: &[&[u8]], out: &mut [u8]) -> usize {
    assert!(Tier::available().any(|runs| runs == tier), "this machine does not run {tier}");
    assert!(out.len() >= out_bytes(values), "the output has room for the text and the kernels' spill");
    let start = out.as_mut_ptr();
    match tier {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both conditions were just checked.
        Tier::Avx512 => unsafe { avx512(values, start) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both conditions were just checked.
        Tier::Avx2 => unsafe { avx2(values, start) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both conditions were just checked.
        Tier::Sse41 => unsafe { sse41(values, start) },
        // SAFETY: the room was just checked; the scalar tier asks for no features.
        Tier::Scalar => unsafe { all::<Scalar>(values, start) },
        // SAFETY: the room was just checked; the portable tier asks for no features.
        _ => unsafe { all::<Portable>(values, start) },
    }
}

/// How long [`base64`]'s output must be.
#[must_use]
pub fn out_bytes(values: &[&[u8]]) -> usize {
    values.iter().map(|value| base64_len(value.len())).sum::<usize>() + SPILL_BYTES
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512ifma,avx2,bmi1,bmi2,popcnt,lzcnt"
)]
unsafe fn avx512(values: &[&[u8]], start: *mut u8) -> usize {
    // SAFETY: the caller's promises are handed on.
    unsafe { all::<Avx512>(values, start) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
unsafe fn avx2(values: &[&[u8]], start: *mut u8) -> usize {
    // SAFETY: the caller's promises are handed on.
    unsafe { all::<Avx2>(values, start) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "ssse3,sse4.1")]
unsafe fn sse41(values: &[&[u8]], start: *mut u8) -> usize {
    // SAFETY: the caller's promises are handed on.
    unsafe { all::<Sse41>(values, start) }
}

#[inline(always)]
unsafe fn all<K: Kernel>(values: &[&[u8]], start: *mut u8) -> usize {
    let mut at = start;
    for value in values {
        // SAFETY: the caller promises room for all texts, and the CPU's features.
        at = unsafe { K::base64(value, groups_of(value), at) };
        // SAFETY: the text was just written; the spill is behind it.
        unsafe { pad(value, at) };
    }
    at.addr() - start.addr()
}

/// The loads and stores that a payload writer cannot do without, as wide as the machine has them: reads
/// `values`, and fills the cache lines of `out`, of which as many as `lines` says belong to each value.
/// Returns how many lines that are. What is written means nothing.
///
/// As a kernel does, it loads 64 bytes for a line, 48 behind the last ones, and asks for the lines that
/// it will read and write ahead of them.
///
/// # Panics
/// If `out` has fewer lines.
pub fn bare_traffic(values: &[&[u8]], lines: &[usize], out: &mut [CacheLine]) -> usize {
    match Tier::best() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this machine runs the tier.
        Tier::Avx512 => unsafe { bare_traffic_avx512(values, lines, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this machine runs the tier.
        Tier::Avx2 => unsafe { bare_traffic_avx2(values, lines, out) },
        _ => bare_traffic_with::<false>(values, lines, out),
    }
}

/// Memory of the kind that payloads are written to, its pages as large, so that what they are compared
/// with is no worse off.
#[derive(Debug)]
pub struct PayloadMemory(Arena);

impl PayloadMemory {
    /// So many `bytes`, and some more.
    ///
    /// # Panics
    /// If the system has no memory, as any allocation.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let mut arena = Arena::new(bytes).expect("there is memory for a payload");
        arena.grant(bytes + SLACK_BYTES);
        Self(arena)
    }

    /// All of it.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.0.bytes_mut()
    }

    /// All whole cache lines of it.
    pub fn lines(&mut self) -> &mut [CacheLine] {
        // SAFETY: any bytes are a line.
        let (before, lines, _) = unsafe { self.bytes().align_to_mut() };
        debug_assert!(before.is_empty(), "pages begin with a line");
        lines
    }
}

/// 64 bytes where a cache line is.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct CacheLine(pub [u8; 64]);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn bare_traffic_avx512(values: &[&[u8]], lines: &[usize], out: &mut [CacheLine]) -> usize {
    bare_traffic_with::<true>(values, lines, out)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn bare_traffic_avx2(values: &[&[u8]], lines: &[usize], out: &mut [CacheLine]) -> usize {
    bare_traffic_with::<true>(values, lines, out)
}

/// `AHEAD`: whether to ask for lines ahead, as the tiers do that have the instructions for it.
#[inline(always)]
fn bare_traffic_with<const AHEAD: bool>(
    values: &[&[u8]],
    lines: &[usize],
    mut out: &mut [CacheLine],
) -> usize {
    let all = out.len();
    for (value, &lines) in values.iter().zip(lines) {
        let (mut to, rest) = std::mem::take(&mut out).split_at_mut(lines);
        out = rest;
        let mut from = *value;
        while from.len() >= 3 * 48 + 64 && to.len() >= 4 {
            let (four, rest) = to.split_at_mut(4);
            for (line, at) in four.iter_mut().zip([0, 48, 96, 144]) {
                fill::<AHEAD>(line, &from[at..at + 64]);
            }
            for at in [0, 64, 128] {
                ask_for_bytes::<AHEAD>(&from[at..]);
            }
            (from, to) = (&from[4 * 48..], rest);
        }
        while from.len() >= 64 && !to.is_empty() {
            let (line, rest) = to.split_at_mut(1);
            fill::<AHEAD>(&mut line[0], &from[..64]);
            ask_for_bytes::<AHEAD>(from);
            (from, to) = (&from[48..], rest);
        }
        // What is left of the value, and once more for the lines of the fields around it.
        if let Some(last) = value.last_chunk::<64>() {
            to.iter_mut().for_each(|line| fill::<AHEAD>(line, last));
            continue;
        }
        ask_for_bytes::<AHEAD>(value);
        let halves = match (value.first_chunk::<32>(), value.last_chunk::<32>()) {
            (Some(first), Some(last)) => [*first, *last],
            _ => [std::array::from_fn(|at| value.get(at).copied().unwrap_or_default()); 2],
        };
        for line in to {
            ask_for_line::<AHEAD>(line);
            line.0[..32].copy_from_slice(&halves[0]);
            line.0[32..].copy_from_slice(&halves[1]);
        }
    }
    all - out.len()
}

#[inline(always)]
fn fill<const AHEAD: bool>(line: &mut CacheLine, bytes: &[u8]) {
    ask_for_line::<AHEAD>(line);
    line.0.copy_from_slice(bytes);
}

/// Asks for a line to be written, as [`own_ahead`] says.
#[inline(always)]
fn ask_for_line<const AHEAD: bool>(line: &mut CacheLine) {
    #[cfg(target_arch = "x86_64")]
    if AHEAD {
        own_ahead::<0>(line.0.as_mut_ptr());
    }
}

/// Asks for a line to be read, as [`read_ahead`] says.
#[inline(always)]
fn ask_for_bytes<const AHEAD: bool>(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    if AHEAD {
        read_ahead::<0>(bytes.as_ptr());
    }
}

/// How many cache lines end within each of some texts that stand one behind the other, the first
/// at the beginning of a line: for [`bare_traffic`].
#[must_use]
pub fn lines_of(text_bytes: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let (mut end, mut done) = (0, 0);
    let lines = text_bytes.into_iter().map(|bytes| {
        end += bytes;
        let lines = end / size_of::<CacheLine>() - done;
        done += lines;
        lines
    });
    lines.collect()
}

/// Writes runs of one partition's records as a batch does, without a batch around it.
#[derive(Debug)]
pub struct RunWriter {
    tier: Tier,
    template: Template,
    stamp: Stamp,
    bytes: Vec<u8>,
    index: Vec<IndexEntry>,
}

impl RunWriter {
    /// For `records` records of `template`'s partition, of up to `bytes` bytes of JSON.
    ///
    /// # Panics
    /// If this machine does not run `tier`.
    #[must_use]
    pub fn new(tier: Tier, template: Template, records: usize, bytes: usize) -> Self {
        assert!(Tier::available().any(|runs| runs == tier), "this machine does not run {tier}");
        let index = vec![IndexEntry::default(); records];
        Self { tier, template, stamp: Stamp::EMPTY, bytes: vec![0; bytes + SPILL_BYTES], index }
    }

    /// Writes `records`, `run` at a time, and returns how many bytes that are.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn write<R: Record>(&mut self, records: &[R], run: usize) -> usize {
        let (mut at, mut done) = (0, 0);
        for records in records.chunks(run) {
            let bytes = &mut self.bytes[at..];
            let out = RunOut {
                room: bytes.len() - SPILL_BYTES,
                bytes,
                exact: false,
                index: &mut self.index[done..],
                start: at as u32,
                stamp: &mut self.stamp,
            };
            let written = write_run(self.tier, &self.template, records, out);
            assert_eq!(written.records, records.len(), "there is room for all records");
            (at, done) = (at + written.bytes, done + written.records);
        }
        at
    }
}

/// Writes every record's headers and what ends the record (`…]}`), one behind the other, and returns
/// how long that is.
///
/// # Panics
/// If this machine does not run `tier`, or `out` has not [`headers_out_bytes`].
pub fn headers(tier: Tier, records: &[&[Header<'_>]], out: &mut [u8]) -> usize {
    assert!(Tier::available().any(|runs| runs == tier), "this machine does not run {tier}");
    assert!(out.len() >= headers_out_bytes(records), "the output has room for all headers and the spill");
    let room = out.len() - SPILL_BYTES;
    let start = out.as_mut_ptr();
    match tier {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both conditions were just checked.
        Tier::Avx512 => unsafe { all_headers::<Avx512>(records, start, room) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both conditions were just checked.
        Tier::Avx2 => unsafe { all_headers::<Avx2>(records, start, room) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both conditions were just checked.
        Tier::Sse41 => unsafe { all_headers::<Sse41>(records, start, room) },
        // SAFETY: the room was just checked; the scalar tier asks for no features.
        Tier::Scalar => unsafe { all_headers::<Scalar>(records, start, room) },
        // SAFETY: the room was just checked; the portable tier asks for no features.
        _ => unsafe { all_headers::<Portable>(records, start, room) },
    }
}

/// How long [`headers`]' output must be.
#[must_use]
pub fn headers_out_bytes(records: &[&[Header<'_>]]) -> usize {
    // No less than what the kernels ask for, who do not look at the bytes.
    let of_header = |header: &Header<'_>| {
        r#"{"":[]},"#.len() + 6 * header.name.len() + 5 * header.value.map_or(0, <[u8]>::len)
    };
    let of_record = |headers: &&[Header<'_>]| headers.iter().map(of_header).sum::<usize>() + "]}".len();
    records.iter().map(of_record).sum::<usize>() + SPILL_BYTES
}

#[inline(always)]
unsafe fn all_headers<K: Kernel>(records: &[&[Header<'_>]], start: *mut u8, room: usize) -> usize {
    let mut at = start;
    for headers in records {
        let left = room - (at.addr() - start.addr());
        // SAFETY: the caller promises room for the bounds of all headers, and the CPU's features.
        let end = unsafe { K::headers(headers.iter().copied(), at, left, false) };
        at = end.expect("there is room for the bounds of all headers").as_ptr();
    }
    at.addr() - start.addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_belongs_to_the_text_that_ends_it() {
        assert_eq!(lines_of([63, 1, 0, 130, 62]), [0, 1, 0, 2, 1]);
    }

    #[test]
    fn bare_traffic_reads_all_of_every_value_and_fills_every_line() {
        let bytes: Vec<u8> = (0..2000).map(|at| (at % 251) as u8).collect();
        for len in [0, 1, 63, 64, 65, 112, 113, 1000, 2000] {
            // As many lines as the base64 of the value fills, and those of the fields around it.
            let (values, lines) = ([&bytes[..len], &bytes], [len / 48 + 3, 45]);
            let mut out = vec![CacheLine([252; 64]); lines[0] + lines[1] + 1];
            assert_eq!(bare_traffic(&values, &lines, &mut out), lines[0] + lines[1]);
            let (of_first, rest) = out.split_at(lines[0]);
            let read = |byte: u8| of_first.iter().any(|line| line.0.contains(&byte));
            assert!(values[0].iter().all(|byte| read(*byte)), "{len} bytes are read");
            assert!(of_first.iter().all(|line| !line.0.contains(&252)), "{len} bytes fill their lines");
            assert_eq!(
                rest[44].0,
                bytes[2000 - 64..],
                "behind the value's end its last bytes are read again"
            );
            assert_eq!(rest[45].0, [252; 64], "one line more than there are is left alone");
        }
    }
}
