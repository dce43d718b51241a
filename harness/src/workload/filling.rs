//! Bytes for a capture that has kept only sizes: seeded, and equal where the originals were.

use std::collections::HashMap;

use pelton::source::replay::Part;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::recording::kept;
use super::values::{Content, write_json};

/// Different values of one size: enough that none compresses away into its predecessor.
const VALUES_MAX: usize = 16;
/// When so many bytes were made, a size that was met before gets a value that exists.
const MADE_BYTES_MAX: u64 = 256 << 20;

/// Makes what is missing. What it returns lives as long as the process.
pub(super) struct Filler {
    content: Content,
    seed: u64,
    random: SmallRng,
    made: u64,
    values: HashMap<u64, Choice>,
    headers: HashMap<u64, Choice>,
    keys: HashMap<(u64, u64), &'static [u8]>,
    names: HashMap<u64, &'static [u8]>,
}

/// Values of one size, one after the other.
#[derive(Default)]
struct Choice {
    made: Vec<&'static [u8]>,
    next: usize,
}

impl Filler {
    pub(super) fn new(content: Content, seed: u64) -> Self {
        Self {
            content,
            seed,
            random: SmallRng::seed_from_u64(seed),
            made: 0,
            values: HashMap::new(),
            headers: HashMap::new(),
            keys: HashMap::new(),
            names: HashMap::new(),
        }
    }

    /// A value as it was, or one of its size.
    pub(super) fn value(&mut self, part: Part<'static>) -> &'static [u8] {
        let content = self.content;
        kept(part).unwrap_or_else(|| {
            choose(&mut self.values, &mut self.made, part.len(), |len| made(content, len, &mut self.random))
        })
    }

    /// A header's value as it was, or random bytes of its size.
    pub(super) fn header(&mut self, part: Part<'static>) -> &'static [u8] {
        kept(part).unwrap_or_else(|| {
            let random = &mut self.random;
            choose(&mut self.headers, &mut self.made, part.len(), |len| made(Content::Random, len, random))
        })
    }

    /// A key as it was, or bytes that follow from its size, its hash and the seed.
    pub(super) fn key(&mut self, part: Part<'static>) -> &'static [u8] {
        if let Some(bytes) = kept(part) {
            return bytes;
        }
        let hash = match part {
            Part::Hashed { hash, .. } => hash,
            Part::Bytes(_) | Part::Size(_) => 0,
        };
        self.keys.entry((part.len(), hash)).or_insert_with(|| {
            let mut random = SmallRng::seed_from_u64(hash ^ self.seed);
            made(Content::Random, part.len(), &mut random)
        })
    }

    /// A header's name as it was, or letters of its length.
    pub(super) fn name(&mut self, part: Part<'static>) -> &'static [u8] {
        kept(part).unwrap_or_else(|| {
            self.names.entry(part.len()).or_insert_with(|| {
                let letters = b"header-name-".iter().copied().cycle();
                letters.take(usize::try_from(part.len()).unwrap_or(0)).collect::<Vec<u8>>().leak()
            })
        })
    }
}

fn choose(
    choices: &mut HashMap<u64, Choice>,
    made: &mut u64,
    bytes: u64,
    make: impl FnOnce(u64) -> &'static [u8],
) -> &'static [u8] {
    let choice = choices.entry(bytes).or_default();
    let is_enough = choice.made.len() == VALUES_MAX || *made > MADE_BYTES_MAX && !choice.made.is_empty();
    if !is_enough {
        *made += bytes;
        choice.made.push(make(bytes));
    }
    choice.next += 1;
    choice.made[(choice.next - 1) % choice.made.len()]
}

fn made(content: Content, bytes: u64, random: &mut SmallRng) -> &'static [u8] {
    let len = usize::try_from(bytes).unwrap_or(0);
    let mut out = Vec::with_capacity(len);
    match content {
        Content::Json => write_json(&mut out, len, random),
        Content::Random => {
            out.resize(len, 0);
            random.fill(&mut out[..]);
        }
    }
    out.leak()
}
