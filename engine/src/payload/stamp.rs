//! The beginning of a partition's records, as one block of text that is stored whole.
//!
//! From one record to the next only the last digits of offset and timestamp change. So the stamp
//! is rendered once, and written in wide stores with the last eight digits of both numbers. It is
//! rendered again when more than these digits changes, which is about never.

use super::cursor::RECORD_REST_BYTES_MAX;
use super::decimal::{DECIMAL_BYTES_MAX, EIGHT_DIGITS, decimal_len};
use super::kernel::{DigitFrame, STAMP_BYTES_MAX, StampText, TAIL_BYTES};
use super::template::Template;
use crate::record::TimestampType;

/// The bytes of `","key":"`, which stand behind the stamp for records that have a key.
pub(super) const KEY_BYTES: usize = KEY.len();
const KEY: &str = r#"","key":""#;

/// A number's last eight digits (or fewer) and where they stand.
#[derive(Clone, Copy, Debug)]
struct Field {
    /// The numbers that differ from the rendered one only in these digits: `span` of them, from
    /// `base` on.
    base: i64,
    span: u64,
    /// Subtracted before the digits are made: what the higher digits stand for.
    high: i64,
    /// Where its eight bytes stand in the text.
    at: usize,
}

impl Field {
    /// Fits no number.
    const NOTHING: Self = Self { base: 0, span: 0, high: 0, at: 0 };

    /// The field of `number`, which ends at `end` in `text` (and does not begin it: the eight
    /// bytes before `end` are there), and its mask and lead for the [`DigitFrame`].
    fn new(number: i64, text: &[u8], end: usize) -> (Self, u64, u64) {
        let at = end - 8;
        let rendered: [u8; 8] = std::array::from_fn(|byte| text[at + byte]);
        let rendered = u64::from_le_bytes(rendered);
        let digits = decimal_len(number);
        if number < 0 {
            // Kafka has no such offsets and few such timestamps: rendered one by one.
            (Self { base: number, span: 1, high: number, at }, 0, rendered)
        } else if digits > 8 {
            let high = number - number % EIGHT_DIGITS as i64;
            // Behind the greatest number comes the least.
            let span = EIGHT_DIGITS.min((i64::MAX - high) as u64 + 1);
            (Self { base: high, span, high, at }, u64::MAX, 0)
        } else {
            let base = if digits == 1 { 0 } else { 10_i64.pow(digits as u32 - 1) };
            let span = 10_u64.pow(digits as u32) - base as u64;
            let mask = u64::MAX << (8 * (8 - digits));
            (Self { base, span, high: 0, at }, mask, rendered & !mask)
        }
    }

    #[inline(always)]
    const fn fits(&self, number: i64) -> bool {
        (number.wrapping_sub(self.base) as u64) < self.span
    }

    /// What the last digits stand for, of a number that fits.
    #[inline(always)]
    const fn low(&self, number: i64) -> u64 {
        (number - self.high) as u64
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    /// Up to the timestamp type, and what stands before a key.
    text: StampText,
    offset: Field,
    timestamp: Field,
    timestamp_type: TimestampType,
    /// The template's identity, 0 for none.
    template: u64,
    /// How much of the template's prefix does not fit, and is written before the stamp.
    outside: usize,
    /// See [`record_len_max`](Self::record_len_max).
    record_len_max: usize,
}

/// How much of a stamp is not the template's prefix, at most.
const REST_BYTES_MAX: usize = 2 * DECIMAL_BYTES_MAX
    + r#","timestamp":,"timestampType":""#.len()
    + TimestampType::None.name().len()
    + KEY_BYTES;
const PREFIX_BYTES_MAX: usize = STAMP_BYTES_MAX - REST_BYTES_MAX;
// The last eight digits of the offset are the first that change.
const _: () = assert!(REST_BYTES_MAX - DECIMAL_BYTES_MAX + 8 <= TAIL_BYTES);
/// Of a longer prefix this much stays in the stamp, so that eight bytes stand before every digit.
const PREFIX_BYTES_MIN: usize = 8;

impl Stamp {
    pub(crate) const EMPTY: Self = Self {
        text: StampText::EMPTY,
        offset: Field::NOTHING,
        timestamp: Field::NOTHING,
        timestamp_type: TimestampType::None,
        template: 0,
        outside: 0,
        record_len_max: 0,
    };

    /// Makes the stamp one of `template`'s records.
    #[inline(always)]
    pub(super) fn prepare(&mut self, template: &Template) {
        if self.template != template.id() {
            self.start(template);
        }
    }

    #[cold]
    fn start(&mut self, template: &Template) {
        let prefix = template.prefix().len();
        self.template = template.id();
        self.outside = if prefix > PREFIX_BYTES_MAX { prefix - PREFIX_BYTES_MIN } else { 0 };
        self.offset = Field::NOTHING;
    }

    /// Whether the stamp serves a record as it is.
    #[inline(always)]
    pub(super) fn fits(&self, offset: i64, timestamp_ms: i64, timestamp_type: TimestampType) -> bool {
        self.offset.fits(offset) && self.timestamp.fits(timestamp_ms) && self.timestamp_type == timestamp_type
    }

    /// Renders the stamp of a record. `template` is the one it was prepared for.
    #[cold]
    #[inline(never)]
    pub(super) fn render(
        &mut self,
        template: &Template,
        offset: i64,
        timestamp_ms: i64,
        timestamp_type: TimestampType,
    ) {
        let text = &mut self.text.bytes.0[..STAMP_BYTES_MAX];
        let mut end = 0;
        let mut put = |part: &[u8]| {
            text[end..end + part.len()].copy_from_slice(part);
            end += part.len();
            end
        };
        let mut digits = itoa::Buffer::new();
        put(&template.prefix()[self.outside..]);
        let offset_end = put(digits.format(offset).as_bytes());
        put(br#","timestamp":"#);
        let timestamp_end = put(digits.format(timestamp_ms).as_bytes());
        put(br#","timestampType":""#);
        put(timestamp_type.name().as_bytes());
        let len = put(KEY.as_bytes());

        let (offset, offset_mask, offset_lead) = Field::new(offset, text, offset_end);
        let (timestamp, timestamp_mask, timestamp_lead) = Field::new(timestamp_ms, text, timestamp_end);
        self.text.len = len;
        let frame = DigitFrame { mask: [offset_mask, timestamp_mask], lead: [offset_lead, timestamp_lead] };
        self.text.set_digits([offset.at, timestamp.at], frame);
        self.offset = offset;
        self.timestamp = timestamp;
        self.timestamp_type = timestamp_type;
        // More than there ever is, but not so much that a sum could overflow.
        let everything = usize::MAX / 2;
        self.record_len_max = if self.outside > 0 { everything } else { self.len() + RECORD_REST_BYTES_MAX };
    }

    /// The most that a record without headers has besides one and a half times its key and value;
    /// more than there can be, if there is something [`outside`](Self::outside).
    #[inline(always)]
    pub(super) const fn record_len_max(&self) -> usize {
        self.record_len_max
    }

    /// The bytes from the record's comma to the last of the timestamp type.
    #[inline(always)]
    pub(super) const fn len(&self) -> usize {
        self.text.len - KEY_BYTES
    }

    /// How much of the template's prefix is written before the stamp.
    #[inline(always)]
    pub(super) const fn outside(&self) -> usize {
        self.outside
    }

    /// That part of the prefix. `template` is the one the stamp was prepared for.
    pub(super) fn outside_text<'t>(&self, template: &'t Template) -> &'t [u8] {
        &template.prefix()[..self.outside]
    }

    #[inline(always)]
    pub(super) const fn text(&self) -> &StampText {
        &self.text
    }

    /// The last digits of a record's offset and timestamp, which the stamp [`fits`](Self::fits).
    #[inline(always)]
    pub(super) const fn low(&self, offset: i64, timestamp_ms: i64) -> [u64; 2] {
        [self.offset.low(offset), self.timestamp.low(timestamp_ms)]
    }
}

/// The stamps of partitions that take turns, so that each finds its own as it left it. About a kilobyte
/// each, and as many as there were templates, up to [`STAMPS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Stamps(Vec<Stamp>);

/// Of more templates some share a stamp, which is rendered anew whenever it changes hands.
const STAMPS_MAX: usize = 256;

impl Stamps {
    /// That of `template`'s partition; one of another partition, if they share it.
    #[inline]
    pub(crate) fn of(&mut self, template: &Template) -> &mut Stamp {
        // The ids are given one by one, so those of a poller's partitions are different places.
        let place = template.id() as usize % STAMPS_MAX;
        if place < self.0.len() { &mut self.0[place] } else { self.grow(place) }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, place: usize) -> &mut Stamp {
        self.0.resize(place + 1, Stamp::EMPTY);
        &mut self.0[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Partition, Topic};

    const MS: i64 = 1_545_084_650_987;

    #[test]
    fn every_template_finds_its_stamp_as_it_left_it_whoever_was_there_meanwhile() {
        let templates: Vec<Template> =
            (0..100).map(|partition| Template::new(&Topic::new("orders"), Partition(partition))).collect();
        let mut stamps = Stamps::default();
        for (template, offset) in templates.iter().zip(1_000_000_000..) {
            let stamp = stamps.of(template);
            stamp.prepare(template);
            assert!(!stamp.fits(offset, MS, TimestampType::CreateTime), "nobody has rendered it");
            stamp.render(template, offset, MS, TimestampType::CreateTime);
        }
        for (template, offset) in templates.iter().zip(1_000_000_001..) {
            let stamp = stamps.of(template);
            stamp.prepare(template);
            assert!(stamp.fits(offset, MS, TimestampType::CreateTime), "it is rendered already");
        }
    }
}
