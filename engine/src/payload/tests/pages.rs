//! Memory that ends: before its first byte and behind its last lies a page that nobody may touch,
//! so that a read or a write outside is a crash, whatever instruction does it.
#![expect(unsafe_code, reason = "takes pages away, so that an access outside is a crash")]

use memmap2::{MmapMut, MmapOptions};
use std::ops::Range;

/// As large as the pages of any machine that we know.
const PAGE: usize = 64 << 10;

/// Where in the memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Before it there is nothing.
    First,
    /// Behind it there is nothing.
    Last,
    /// So much above a multiple of 64, with as much before it.
    Aligned(usize),
}

impl Place {
    /// Both ends of input with both ends of output, then every alignment of the input; of the
    /// output too, in another order for each of 64 values of `turn`, so that these see every pair.
    pub(super) fn pairs(turn: usize) -> impl Iterator<Item = (Self, Self)> {
        let ends = [Self::First, Self::Last];
        let ends = ends.into_iter().flat_map(move |input| ends.map(|output| (input, output)));
        let turned = move |input| (27 * input + turn) % 64;
        ends.chain((0..64).map(move |input| (Self::Aligned(input), Self::Aligned(turned(input)))))
    }
}

pub(super) struct Pages {
    map: MmapMut,
}

impl Pages {
    /// At least so many bytes.
    pub(super) fn new(bytes_min: usize) -> Self {
        let bytes = bytes_min.max(1).next_multiple_of(PAGE);
        let mut map = MmapOptions::new().len(PAGE + bytes + PAGE).map_anon().expect("a mapping");
        for outside in [0, PAGE + bytes] {
            let page = map[outside..outside + PAGE].as_mut_ptr().cast();
            // SAFETY: whole pages at an end of a mapping of our own, which nothing here refers to.
            let refused = unsafe { libc::mprotect(page, PAGE, libc::PROT_NONE) };
            assert_eq!(refused, 0);
        }
        Self { map }
    }

    /// The same with bytes that follow no pattern that a kernel has.
    pub(super) fn filled(bytes_min: usize) -> Self {
        let mut pages = Self::new(bytes_min);
        for (at, byte) in pages.all_mut().iter_mut().enumerate() {
            *byte = (at * 31 + at / 256 * 7 + at / 65_536) as u8;
        }
        pages
    }

    pub(super) fn all_mut(&mut self) -> &mut [u8] {
        let end = self.map.len() - PAGE;
        &mut self.map[PAGE..end]
    }

    /// The positions of so many bytes at `place`.
    pub(super) fn range(&self, place: Place, bytes: usize) -> Range<usize> {
        let start = match place {
            Place::First => 0,
            Place::Last => self.map.len() - 2 * PAGE - bytes,
            Place::Aligned(alignment) => 64 + alignment,
        };
        start..start + bytes
    }

    /// So many bytes at `place`.
    pub(super) fn at(&self, place: Place, bytes: usize) -> &[u8] {
        &self.map[PAGE..self.map.len() - PAGE][self.range(place, bytes)]
    }

    /// Copies `text` to `place`.
    pub(super) fn put(&mut self, place: Place, text: &[u8]) -> &[u8] {
        let range = self.range(place, text.len());
        let to = &mut self.all_mut()[range];
        to.copy_from_slice(text);
        to
    }
}

#[test]
fn pages_end_where_they_say() {
    let mut pages = Pages::new(1);
    let bytes = pages.all_mut().as_ptr_range();
    assert_eq!(pages.at(Place::First, 9).as_ptr_range().start, bytes.start);
    assert_eq!(pages.at(Place::Last, 9).as_ptr_range().end, bytes.end);
    let alignment = |place| pages.at(place, 9).as_ptr().addr() % 64;
    assert!((0..64).all(|wanted| alignment(Place::Aligned(wanted)) == wanted));
    for (edge, side) in [(bytes.start.addr(), 1), (bytes.end.addr(), 0)] {
        let edge = format!("{edge:x}");
        // `from-to rights ...`: what ends at the first byte, and what begins behind the last.
        let is_outside = |line: &str| {
            let bound = line.split([' ', '-']).nth(side);
            bound.is_some_and(|bound| bound.trim_start_matches('0') == edge) && line.contains("---p")
        };
        let maps = || std::fs::read_to_string("/proc/self/maps").expect("Linux has /proc");
        // What is read while other threads map is not of one moment, and under an emulator may lack
        // whole mappings: that a page is shown once is enough.
        let shown = (0..100).any(|_| maps().lines().any(is_outside));
        assert!(shown, "{edge} in\n{}", maps());
    }
}

#[test]
fn pairs_of_places_are_all_of_them_after_64_turns() {
    let mut seen = std::collections::BTreeSet::new();
    for turn in 0..64 {
        for pair in Place::pairs(turn) {
            if let (Place::Aligned(input), Place::Aligned(output)) = pair {
                seen.insert((input, output));
            }
        }
    }
    assert_eq!(seen.len(), 64 * 64);
}
