//! Reads a capture, whatever became of it.

use std::io::{self, Read};

use lz4_flex::block::decompress_into;

use super::block::Block;
use super::frame::{HEAD_BYTES, Head, Kind, MARK, NoHead};
use super::input::Input;
use super::row::{Malformed, Records};
use super::{CaptureError, Cause, Damage, Header, Keep, Totals, VERSION};

/// A file in which no frame begins within so many bytes is not a capture. A capture's first two
/// frames do, whatever becomes of one of them.
const SEARCH_BYTES_MAX: u64 = 1 << 20;
/// What is looked through at once for the next mark.
const STEP_BYTES: usize = 64 << 10;
/// What may be spent on bodies that turn out damaged, beside four times the bytes read. Beyond that
/// their insides are no longer searched for whole frames: a file made for it could keep a reader
/// busy for hours.
const WASTE_BYTES_MAX: u64 = 1 << 30;
/// Damages that are kept; more are counted.
const DAMAGES_MAX: usize = 64;

/// Reads a capture block by block, in bounded memory: three times
/// [`BLOCK_BYTES_MAX`](super::BLOCK_BYTES_MAX) at most, and at most 256 times what the source really
/// has, whatever its lengths say.
///
/// Call [`next_block`](Self::next_block) until nothing comes, then look at
/// [`damages`](Self::damages).
#[derive(Debug)]
pub struct CaptureReader<R> {
    input: Input<R>,
    name: String,
    header: Option<Header>,
    /// The capture's number, once a sound frame has told it.
    capture: Option<u64>,
    /// The number of the next block.
    number: u64,
    /// Records before it.
    records: u64,
    totals: Totals,
    /// The end's.
    claimed: Option<Totals>,
    ended: bool,
    damages: Vec<Damage>,
    damages_more: u64,
    /// The last damage ends where the next sound frame begins.
    open: bool,
    /// Bytes of bodies whose checksum was computed and did not match.
    wasted: u64,
    raw: Vec<u8>,
}

impl<R: Read> CaptureReader<R> {
    /// Opens the capture that `source` holds, which errors call `name`, and reads its header.
    ///
    /// # Errors
    /// [`CaptureError::NotACapture`], [`CaptureError::Version`], or if `source` fails.
    pub fn open(source: R, name: &str) -> Result<Self, CaptureError> {
        let mut reader = Self {
            input: Input::new(source),
            name: name.to_owned(),
            header: None,
            capture: None,
            number: 0,
            records: 0,
            totals: Totals::default(),
            claimed: None,
            ended: false,
            damages: Vec::new(),
            damages_more: 0,
            open: false,
            wasted: 0,
            raw: Vec::new(),
        };
        if let Some(head) = reader.next_frame()? {
            reader.capture = Some(head.capture);
            if head.kind == Kind::Header {
                reader.take_header(&head);
            }
        } else {
            return Err(CaptureError::NotACapture { name: reader.name, searched: reader.input.at() });
        }
        Ok(reader)
    }

    /// What the capture says of itself; `None` if that place is damaged.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The next whole block; `None` after the last.
    ///
    /// # Errors
    /// [`CaptureError::Version`], or if the source fails. Damage is no error.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, CaptureError> {
        while !self.ended {
            let Some(head) = self.next_frame()? else {
                self.ended = true;
                break;
            };
            match head.kind {
                Kind::Header => {
                    // Only the first is one.
                    let at = self.input.at();
                    self.report(at..at, Cause::OutOfPlace, None);
                    self.input.pass(head.frame_bytes());
                }
                Kind::End => self.take_end(&head)?,
                Kind::Block(keep) => {
                    if self.take_block(&head, keep) {
                        return Ok(Some(Block {
                            number: head.number,
                            keep,
                            earliest_ms: head.earliest_ms,
                            latest_ms: head.latest_ms,
                            body: &self.raw,
                            records: head.records,
                        }));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The places that are not whole, the first 64 of them in the order of the file. Complete once
    /// [`next_block`](Self::next_block) has returned `None`.
    #[must_use]
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// How many more there are.
    #[must_use]
    pub fn damages_more(&self) -> u64 {
        self.damages_more
    }

    /// Sums over the records that were read.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The sums that the capture's end states; `None` if it has none.
    #[must_use]
    pub fn claimed(&self) -> Option<Totals> {
        self.claimed
    }

    /// Bytes of the source read so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.input.at()
    }

    /// The next frame whose head and body are sound, all of it looked at and none of it passed.
    fn next_frame(&mut self) -> Result<Option<Head>, CaptureError> {
        loop {
            let at = self.input.at();
            let ahead = look(&mut self.input, &self.name, HEAD_BYTES)?;
            if ahead.is_empty() {
                self.at_end(at);
                return Ok(None);
            }
            let mut inside = 1;
            let cause = match Head::read(ahead) {
                // A frame of another capture lies in this one's values, or was put here by mistake.
                Ok(head) if self.capture.is_some_and(|own| own != head.capture) => Cause::OutOfPlace,
                Ok(head) => {
                    let ahead = look(&mut self.input, &self.name, head.frame_bytes())?;
                    match ahead.get(HEAD_BYTES..head.frame_bytes()) {
                        Some(body) if crc32fast::hash(body) == head.body_crc => {
                            self.close_damage(at, &head);
                            return Ok(Some(head));
                        }
                        Some(body) => {
                            self.wasted += body.len() as u64;
                            if self.wasted > WASTE_BYTES_MAX.saturating_add(at.saturating_mul(4)) {
                                inside = head.frame_bytes();
                            }
                            Cause::Body
                        }
                        None => Cause::Truncated,
                    }
                }
                Err(NoHead::Version(found)) => {
                    return Err(CaptureError::Version {
                        name: self.name.clone(),
                        at,
                        found,
                        allowed: VERSION,
                    });
                }
                Err(NoHead::Impossible) => Cause::Content("a frame that cannot be"),
                Err(NoHead::Damaged) if ahead.len() < HEAD_BYTES => Cause::Truncated,
                Err(NoHead::Damaged) => Cause::Head,
            };
            if !self.open {
                self.report(at..at, cause, None);
                self.open = true;
            }
            // What is damaged may have whole frames inside, if bytes are missing: look from the next
            // byte on, not behind the frame.
            self.input.pass(inside);
            self.seek_mark()?;
        }
    }

    /// Passes what does not begin a frame, up to the next mark or the end.
    fn seek_mark(&mut self) -> Result<(), CaptureError> {
        loop {
            let ahead = look(&mut self.input, &self.name, STEP_BYTES)?;
            let found = ahead.windows(MARK.len()).position(|bytes| bytes == MARK);
            // A mark may begin in the last bytes and end in the next step.
            let passed = found.unwrap_or((ahead.len() + 1).saturating_sub(MARK.len()));
            let at_end = found.is_none() && ahead.len() < STEP_BYTES;
            let passed = if at_end { ahead.len() } else { passed };
            self.input.pass(passed);
            if self.capture.is_none() && self.input.at() > SEARCH_BYTES_MAX {
                let searched = self.input.at();
                return Err(CaptureError::NotACapture { name: self.name.clone(), searched });
            }
            if found.is_some() || at_end {
                return Ok(());
            }
        }
    }

    /// The source has ended at `at`, without the capture's end.
    fn at_end(&mut self, at: u64) {
        if self.open {
            self.open = false;
            if let Some(damage) = self.damages.last_mut().filter(|_| self.damages_more == 0) {
                damage.bytes.end = at;
            }
        } else {
            self.report(at..at, Cause::NoEnd, None);
        }
    }

    /// A sound frame begins at `at`: what was damaged before it ends there, and what is missing is
    /// known.
    fn close_damage(&mut self, at: u64, head: &Head) {
        let lost = head.records_before.checked_sub(self.records);
        let counts = head.kind != Kind::Header;
        if self.open {
            self.open = false;
            if let Some(damage) = self.damages.last_mut().filter(|_| self.damages_more == 0) {
                damage.bytes.end = at;
                damage.records_lost = lost.filter(|_| counts);
            }
        } else if counts && head.number > self.number {
            self.report(at..at, Cause::Missing, lost);
        }
        if counts && head.number >= self.number {
            (self.number, self.records) = (head.number, head.records_before.max(self.records));
        }
    }

    fn take_header(&mut self, head: &Head) {
        let at = self.input.at();
        let body = &self.input.ahead()[HEAD_BYTES..head.frame_bytes()];
        match Header::read(body) {
            Ok(header) => self.header = Some(header),
            Err(Malformed(what)) => self.report(at..at, Cause::Content(what), None),
        }
        self.input.pass(head.frame_bytes());
    }

    /// Takes in the block that lies ahead, if it is its turn and makes sense.
    fn take_block(&mut self, head: &Head, keep: Keep) -> bool {
        let at = self.input.at();
        let cause = if head.number < self.number {
            Some(Cause::OutOfPlace)
        } else {
            self.unpack(head, keep).err().map(|Malformed(what)| Cause::Content(what))
        };
        self.input.pass(head.frame_bytes());
        if let Some(cause) = cause {
            let lost = (cause != Cause::OutOfPlace).then_some(u64::from(head.records));
            let end = self.input.at();
            self.report(at..end, cause, lost);
        }
        if cause != Some(Cause::OutOfPlace) {
            self.number = head.number.saturating_add(1);
            self.records = self.records.saturating_add(u64::from(head.records));
        }
        cause.is_none()
    }

    /// Decompresses the block that lies ahead and reads its records once, so that nobody has to
    /// doubt them again.
    fn unpack(&mut self, head: &Head, keep: Keep) -> Result<(), Malformed> {
        let body = &self.input.ahead()[HEAD_BYTES..head.frame_bytes()];
        self.raw.clear();
        if head.compressed {
            self.raw.resize(head.raw_bytes as usize, 0);
            let unpacked = decompress_into(body, &mut self.raw).ok();
            if unpacked != Some(self.raw.len()) {
                return Err(Malformed("a block that does not decompress"));
            }
        } else {
            self.raw.extend_from_slice(body);
        }
        let mut totals = self.totals;
        let mut records = Records::new(&self.raw, head.records, keep);
        let (mut earliest_ms, mut latest_ms) = (i64::MAX, i64::MIN);
        while let Some(record) = records.read()? {
            record.count(&mut totals);
            earliest_ms = earliest_ms.min(record.timestamp_ms);
            latest_ms = latest_ms.max(record.timestamp_ms);
        }
        if !records.is_done() {
            return Err(Malformed("more bytes than its records take"));
        }
        if (earliest_ms, latest_ms) != (head.earliest_ms, head.latest_ms) {
            return Err(Malformed("timestamps that its head does not name"));
        }
        self.totals = totals;
        Ok(())
    }

    fn take_end(&mut self, head: &Head) -> Result<(), CaptureError> {
        let at = self.input.at();
        let body = &self.input.ahead()[HEAD_BYTES..head.frame_bytes()];
        match Totals::read(body) {
            Err(Malformed(what)) => self.report(at..at, Cause::Content(what), None),
            Ok(claimed) => {
                self.claimed = Some(claimed);
                // Where something is missing, the sums differ and it was said already.
                if claimed != self.totals && self.damages.is_empty() {
                    self.report(at..at, Cause::Totals, None);
                }
            }
        }
        self.input.pass(head.frame_bytes());
        self.ended = true;
        if !look(&mut self.input, &self.name, 1)?.is_empty() {
            let at = self.input.at();
            self.report(at..at, Cause::Trailing, None);
        }
        Ok(())
    }

    fn report(&mut self, bytes: std::ops::Range<u64>, cause: Cause, records_lost: Option<u64>) {
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(Damage { bytes, block: self.number, cause, records_lost });
        } else {
            self.damages_more += 1;
        }
    }
}

fn look<'i, R: Read>(input: &'i mut Input<R>, name: &str, bytes: usize) -> Result<&'i [u8], CaptureError> {
    let at = input.at();
    input.look(bytes).map_err(|reason: io::Error| CaptureError::Io { name: name.to_owned(), at, reason })
}
