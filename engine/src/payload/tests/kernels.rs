//! Every routine of every tier by itself, against the reference: all lengths, all alignments, input
//! and output at the ends of memory.
#![expect(unsafe_code, reason = "calls kernels, with the room they ask for, on tiers that the machine runs")]

use super::cases;
use super::pages::{Pages, Place};
use crate::payload::Tier;
#[cfg(target_arch = "x86_64")]
use crate::payload::base64::{avx2::Avx2, avx512::Avx512, sse41::Sse41};
use crate::payload::base64::{groups_of, pad, portable::Portable, scalar::Scalar};
use crate::payload::decimal::EIGHT_DIGITS;
use crate::payload::kernel::{DigitFrame, Kernel, SPILL_BYTES, STAMP_BYTES_MAX, StampText};
use crate::payload::reference::{base64, numbers, quoted};
use proptest::prelude::*;

/// The routines of a tier that this machine runs.
struct Routines {
    tier: Tier,
    base64: unsafe fn(&[u8], usize, *mut u8) -> *mut u8,
    short_base64: unsafe fn(&[u8], usize, *mut u8) -> *mut u8,
    header: unsafe fn(&[u8], &[u8], *mut u8) -> *mut u8,
    stamp: unsafe fn(&StampText, [u64; 2], *mut u8) -> *mut u8,
}

impl Routines {
    fn of<K: Kernel>(tier: Tier) -> Self {
        Self {
            tier,
            base64: K::base64,
            short_base64: K::short_base64,
            header: K::header,
            stamp: Self::stamp_of::<K>,
        }
    }

    unsafe fn stamp_of<K: Kernel>(stamp: &StampText, numbers: [u64; 2], dst: *mut u8) -> *mut u8 {
        // SAFETY: the conditions are the same.
        let held = unsafe { K::hold(stamp) };
        // SAFETY: as above.
        unsafe { K::stamp(held, stamp, numbers, dst) }
    }

    fn available() -> impl Iterator<Item = Self> {
        Tier::available().map(|tier| match tier {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => Self::of::<Avx512>(tier),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => Self::of::<Avx2>(tier),
            #[cfg(target_arch = "x86_64")]
            Tier::Sse41 => Self::of::<Sse41>(tier),
            Tier::Scalar => Self::of::<Scalar>(tier),
            _ => Self::of::<Portable>(tier),
        })
    }

    fn base64(&self, src: &[u8], dst: *mut u8) -> *mut u8 {
        // SAFETY: the machine runs the tier; `check` has room for the text and the spill.
        let end = unsafe { (self.base64)(src, groups_of(src), dst) };
        // SAFETY: as above.
        unsafe { pad(src, end) };
        end
    }

    fn short_base64(&self, src: &[u8], dst: *mut u8) -> *mut u8 {
        // SAFETY: as above.
        let end = unsafe { (self.short_base64)(src, groups_of(src), dst) };
        // SAFETY: as above.
        unsafe { pad(src, end) };
        end
    }

    fn stamp(&self, stamp: &StampText, numbers: [u64; 2], dst: *mut u8) -> *mut u8 {
        // SAFETY: as above.
        unsafe { (self.stamp)(stamp, numbers, dst) }
    }

    fn header(&self, name: &[u8], value: &[u8], dst: *mut u8) -> *mut u8 {
        // SAFETY: as above.
        unsafe { (self.header)(name, value, dst) }
    }
}

/// Calls `routine` with room for `expected` and the spill at `place`, and checks what it did.
fn check(
    tier: Tier,
    out: &mut Pages,
    place: Place,
    expected: &[u8],
    routine: impl FnOnce(*mut u8) -> *mut u8,
) {
    const CANARY: u8 = 0xee;
    let room = out.range(place, expected.len() + SPILL_BYTES);
    let memory = out.all_mut();
    let (before, behind) = (room.start.saturating_sub(64), (room.end + 64).min(memory.len()));
    memory[before..behind].fill(CANARY);
    let dst = memory[room.clone()].as_mut_ptr();
    let end = routine(dst);
    let text = &memory[room.start..room.start + expected.len()];
    assert!(
        text == expected && end.addr() == dst.addr() + expected.len(),
        "{tier} at {place:?} wrote {}\ninstead of {}\nand ended at {} instead of {}",
        String::from_utf8_lossy(text),
        String::from_utf8_lossy(expected),
        end.addr().wrapping_sub(dst.addr()).cast_signed(),
        expected.len()
    );
    let outside = memory[before..room.start].iter().chain(&memory[room.end..behind]);
    assert!(outside.copied().all(|byte| byte == CANARY), "{tier} at {place:?} wrote outside of its room");
}

/// Checks a routine that makes `expected` of `input`, on every tier and in every place.
fn check_everywhere(input: &[u8], expected: &str, call: impl Fn(&Routines, &[u8], *mut u8) -> *mut u8) {
    let (mut from, mut to) = (Pages::new(input.len() + 128), Pages::new(expected.len() + SPILL_BYTES + 256));
    for routines in Routines::available() {
        for (place, out) in Place::pairs(input.len()) {
            let input = from.put(place, input);
            check(routines.tier, &mut to, out, expected.as_bytes(), |dst| call(&routines, input, dst));
        }
    }
}

/// Bytes of all kinds.
fn bytes(count: usize) -> Vec<u8> {
    Pages::filled(count).at(Place::First, count).to_vec()
}

fn plain_name(count: usize) -> String {
    (b' '..0x7f).map(char::from).filter(|c| !"\"\\".contains(*c)).cycle().take(count).collect()
}

#[test]
fn base64_of_every_length_is_right_in_every_place() {
    for count in 0..=300 {
        let input = bytes(count);
        check_everywhere(&input, &base64(&input), Routines::base64);
        check_everywhere(&input, &base64(&input), Routines::short_base64);
    }
}

#[test]
fn base64_of_every_byte_is_right_in_every_place_of_a_block() {
    // Longer than the blocks of any tier, and each byte value in turn at each of their places.
    let all: Vec<u8> = (0..=255).cycle().take(256 + 256).collect();
    let mut out = Pages::new(4096);
    for routines in Routines::available() {
        for from in 0..=255 {
            let input = &all[from..][..256];
            let expected = base64(input);
            check(routines.tier, &mut out, Place::Last, expected.as_bytes(), |dst| {
                routines.base64(input, dst)
            });
        }
    }
}

#[test]
fn numbers_of_every_length_are_right_in_every_place() {
    for count in 0..=300 {
        let input = bytes(count);
        let expected = format!("{{\"\":[{}]}},", numbers(&input));
        check_everywhere(&input, &expected, |routines, value, dst| routines.header(b"", value, dst));
    }
}

#[test]
fn numbers_are_right_wherever_the_first_negative_one_stands() {
    for count in 0..=80 {
        for negative in 0..=count {
            let byte = |at: usize| if at == negative { 0x9c } else { (at * 31 % 128) as u8 };
            let input: Vec<u8> = (0..count).map(byte).collect();
            let expected = format!("{{\"\":[{}]}},", numbers(&input));
            check_everywhere(&input, &expected, |routines, value, dst| routines.header(b"", value, dst));
        }
    }
}

#[test]
fn plain_names_of_every_length_are_right_in_every_place() {
    for count in 0..=300 {
        let name = plain_name(count);
        let expected = format!("{{\"{name}\":[]}},");
        check_everywhere(name.as_bytes(), &expected, |routines, name, dst| routines.header(name, b"", dst));
    }
}

#[test]
fn one_byte_that_needs_escaping_is_found_wherever_it_stands() {
    let (mut from, mut to) = (Pages::new(0), Pages::new(0));
    for count in 1..=70 {
        for at in 0..count {
            // The neighbours of every limit, and the limits.
            for byte in [0x00, 0x1f, b' ', b'!', b'"', b'#', b'[', b'\\', b']', 0x7e, 0x7f, 0x80, 0xa0, 0xff]
            {
                let mut name = plain_name(count).into_bytes();
                name[at] = byte;
                let expected = format!("{{{}:[1,-1]}},", quoted(&name));
                let name = from.put(Place::Last, &name);
                for routines in Routines::available() {
                    check(routines.tier, &mut to, Place::Last, expected.as_bytes(), |dst| {
                        routines.header(name, &[1, 255], dst)
                    });
                }
            }
        }
    }
}

/// A stamp of `len` bytes, whose numbers' last eight bytes are at `at`.
fn stamp(len: usize, at: [usize; 2], frame: DigitFrame) -> StampText {
    let mut stamp = StampText::EMPTY;
    let text = bytes(stamp.bytes.0.len());
    stamp.bytes.0.copy_from_slice(&text);
    stamp.len = len;
    stamp.set_digits(at, frame);
    stamp
}

const ALL_DIGITS: DigitFrame = DigitFrame { mask: [u64::MAX; 2], lead: [0; 2] };

/// What a stamp is, with its numbers.
fn expected_stamp(stamp: &StampText, numbers: [u64; 2]) -> Vec<u8> {
    let mut text = stamp.bytes.0[..stamp.len].to_vec();
    for number in 0..2 {
        let digits = format!("{:08}", numbers[number]).into_bytes();
        for (byte, mask) in stamp.frame.mask[number].to_le_bytes().into_iter().enumerate() {
            if mask != 0 {
                text[stamp.at[number] + byte] = digits[byte];
            }
        }
    }
    text
}

#[test]
fn a_stamp_of_every_length_is_written_to_every_place() {
    let mut out = Pages::new(0);
    for routines in Routines::available() {
        for len in 16..=STAMP_BYTES_MAX {
            // Wherever among the last 128 bytes the numbers are, and across their middle.
            let tail = len.saturating_sub(128);
            let middle = tail + (len - tail).min(124) / 2;
            for at in [[tail, len - 8], [len - 16, len - 8], [tail, middle.max(tail + 8).min(len - 8)]] {
                let stamp = stamp(len, at, ALL_DIGITS);
                let numbers = [12_345_678, 90_120_304];
                let expected = expected_stamp(&stamp, numbers);
                for (_, place) in Place::pairs(len) {
                    check(routines.tier, &mut out, place, &expected, |dst| {
                        routines.stamp(&stamp, numbers, dst)
                    });
                }
            }
        }
    }
}

#[test]
fn digits_are_those_of_the_formatted_numbers() {
    let edges = (0..8).flat_map(|power| (1..10).map(move |digit| digit * 10_u64.pow(power)));
    let edges = edges.flat_map(|number| [number - 1, number, number + 1]);
    // A stride that meets every pair of neighbouring digits many times.
    let numbers = edges.chain((0..EIGHT_DIGITS).step_by(3331)).chain(EIGHT_DIGITS - 300..EIGHT_DIGITS);
    let numbers: Vec<u64> = numbers.filter(|number| *number < EIGHT_DIGITS).collect();
    let stamp = stamp(100, [30, 80], ALL_DIGITS);
    let mut out = Pages::new(0);
    for routines in Routines::available() {
        for number in &numbers {
            let pair = [*number, EIGHT_DIGITS - 1 - number];
            let expected = expected_stamp(&stamp, pair);
            check(routines.tier, &mut out, Place::Last, &expected, |dst| routines.stamp(&stamp, pair, dst));
        }
    }
}

#[test]
fn digits_leave_the_text_before_them_as_the_frame_says() {
    let word = |text: &[u8; 8]| u64::from_le_bytes(*text);
    let frame = DigitFrame {
        mask: [word(b"\0\0\0\0\0\xff\xff\xff"), word(b"\0\0\0\0\0\0\0\xff")],
        lead: [word(b"fset:\0\0\0"), word(b"estamp:\0")],
    };
    let mut out = Pages::new(0);
    for at in [0, 56, 60, 112] {
        let mut stamp = stamp(at + 16, [at, at + 8], frame);
        stamp.bytes.0[at..at + 16].copy_from_slice(b"fset:000estamp:0");
        let mut expected = stamp.bytes.0[..at + 16].to_vec();
        expected[at..].copy_from_slice(b"fset:123estamp:7");
        for routines in Routines::available() {
            check(routines.tier, &mut out, Place::Last, &expected, |dst| {
                routines.stamp(&stamp, [123, 7], dst)
            });
        }
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn base64_of_any_length_up_to_a_mebibyte_is_right(
        (exponent, below) in (0..20_u32, any::<u32>()),
        seed: u8,
        alignment in 0..64_usize,
    ) {
        // As many lengths of each order of magnitude.
        let count = (1 << exponent) + below as usize % (1 << exponent) + 1;
        let mut input: Vec<u8> = bytes(count);
        input.iter_mut().for_each(|byte| *byte ^= seed);
        let expected = base64(&input);
        let (mut from, mut to) = (Pages::new(count + 128), Pages::new(expected.len() + SPILL_BYTES + 256));
        let places = [(Place::First, Place::Last), (Place::Last, Place::First)];
        let aligned = (Place::Aligned(alignment), Place::Aligned(63 - alignment));
        for routines in Routines::available() {
            for (place, out) in places.into_iter().chain([aligned]) {
                let input = from.put(place, &input);
                check(routines.tier, &mut to, out, expected.as_bytes(), |dst| routines.base64(input, dst));
            }
        }
    }
}
