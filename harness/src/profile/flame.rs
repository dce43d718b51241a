//! Stacks as a flame graph.

use std::collections::BTreeMap;

use anyhow::Context as _;
use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{self, Options};

use super::session::Seen;
use super::stages::{Stage, ThreadKind, own_stage};
use super::symbols::Symbols;

/// Stacks, folded: `thread;outermost;…;innermost weight`, weights in microseconds of CPU time,
/// sorted; and the stage that each function belongs to, if it has one of its own. Threads of one
/// kind are one.
#[derive(Debug, Default)]
pub struct Folded {
    /// One for each stack.
    pub lines: Vec<String>,
    /// By the name that a line has for the function.
    pub stages: BTreeMap<String, Option<Stage>>,
}

impl Folded {
    /// Everything that was seen.
    #[must_use]
    pub fn of(seen: &Seen, symbols: &Symbols, interval_us: u64) -> Self {
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        let mut stages = BTreeMap::new();
        let mut sampled: BTreeMap<ThreadKind, u64> = BTreeMap::new();
        for ((thread, addresses), weight) in &seen.stacks {
            let kind = seen.threads.get(thread).map_or(ThreadKind::Other, |thread| thread.kind);
            let mut line = kind.name().to_owned();
            for address in addresses.iter().rev() {
                for frame in symbols.frames(*address).iter().rev() {
                    let name = short(&frame.function);
                    line.push(';');
                    line.push_str(&name);
                    stages.entry(name).or_insert_with(|| own_stage(frame));
                }
            }
            *lines.entry(line).or_default() += weight.intervals * interval_us;
            *sampled.entry(kind).or_default() += weight.intervals * interval_us;
        }
        for thread in seen.threads.values() {
            // Threads that hold back the signal are there as a whole.
            let used = u64::try_from(thread.cpu_profiled.as_micros()).unwrap_or(u64::MAX);
            if !sampled.contains_key(&thread.kind) && used > 0 {
                *lines.entry(not_sampled(thread.kind)).or_default() += used;
            }
        }
        let lines = lines.into_iter().map(|(line, weight)| format!("{line} {weight}")).collect();
        Self { lines, stages }
    }

    /// The flame graph, as an SVG document, in the colours of the stages.
    ///
    /// # Errors
    /// If there is nothing to draw.
    pub fn svg(&self, title: &str) -> anyhow::Result<String> {
        let mut colours = PaletteMap::default();
        for (name, stage) in &self.stages {
            colours.insert(name, stage.map_or(PLAIN, colour));
        }
        for kind in ThreadKind::ALL {
            colours.insert(kind.name(), PLAIN);
            colours.insert(not_sampled(kind), PLAIN);
        }
        colours.insert("all", PLAIN);
        let mut options = Options::default();
        title.clone_into(&mut options.title);
        "µs".clone_into(&mut options.count_name);
        options.palette_map = Some(&mut colours);
        options.bgcolors = Some(BackgroundColor::Flat(rgb(0xf1_f3f3)));
        options.deterministic = true;
        options.image_width = Some(1160);
        options.frame_height = 17;
        options.min_width = 0.1;
        let mut drawn = Vec::new();
        flamegraph::from_lines(&mut options, self.lines.iter().map(String::as_str), &mut drawn)
            .context("drawing the flame graph")?;
        String::from_utf8(drawn).context("the flame graph is no text")
    }
}

fn not_sampled(kind: ThreadKind) -> String {
    format!("{} (not sampled)", kind.name())
}

/// What serves all stages.
const PLAIN: Color = rgb(0xd5_d3cc);

const fn rgb(colour: u32) -> Color {
    let [_, r, g, b] = colour.to_be_bytes();
    Color { r, g, b }
}

/// As on the page, a little lighter, so that black text can be read on it.
const fn colour(stage: Stage) -> Color {
    rgb(match stage {
        Stage::Poll => 0x8f_b6e6,
        Stage::Filter => 0xb9_cf85,
        Stage::Encode | Stage::Base64 => 0xf0_b27a,
        Stage::Headers => 0xe0_926a,
        Stage::Json => 0xf3_d38f,
        Stage::Batch => 0x97_cc9f,
        Stage::HandOver => 0x80_cbc5,
        Stage::Gather => 0xa9_dee8,
        Stage::Send => 0xbb_a5de,
        Stage::Commit => 0xe3_a3c5,
        Stage::Loop => 0xb4_bbc1,
        Stage::Harness => 0xe3_e5e7,
        Stage::Unknown => 0xa0_a4a8,
    })
}

/// A function's name without the types it is made for, and without what separates folded stacks.
fn short(function: &str) -> String {
    let mut text = String::with_capacity(function.len());
    let mut depth = 0_usize;
    let mut rest = function;
    // `<T as Trait>::name` says which trait, which is worth keeping.
    if let Some(inside) = function.strip_prefix('<') {
        text.push('<');
        rest = inside;
    }
    for c in rest.chars() {
        match c {
            '<' => {
                if depth == 0 && !text.is_empty() {
                    text.push_str("<…>");
                }
                depth += 1;
            }
            '>' if depth > 0 => depth -= 1,
            ';' | '\n' | '\r' if depth == 0 => text.push(':'),
            c if depth == 0 => text.push(c),
            _ => {}
        }
    }
    text.replace("::<…>", "")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::session::{Thread, Weight};
    use super::*;

    #[test]
    fn names_are_short_and_cannot_break_a_stack() {
        assert_eq!(short("a::b::<C<D>>::e"), "a::b::e");
        assert_eq!(short("<A<B> as C<D>>::f"), "<A<…> as C<…>>::f");
        assert_eq!(short("f;g\nh"), "f:g:h");
        assert_eq!(short("a->b"), "a->b");
    }

    #[test]
    fn what_was_not_sampled_is_there_as_a_whole() {
        let mut seen = Seen::default();
        let cpu_profiled = Duration::from_micros(500);
        seen.threads.insert(1, Thread { name: "rdk:main".into(), kind: ThreadKind::Client, cpu_profiled });
        seen.threads.insert(2, Thread { name: "pelton-0".into(), kind: ThreadKind::Consumer, cpu_profiled });
        seen.stacks.insert((2, vec![16]), Weight { samples: 1, intervals: 2 });
        let folded = Folded::of(&seen, &Symbols::new(Vec::new()), 1_000);
        assert_eq!(
            folded.lines,
            ["consumer threads;[unknown] 0x10 2000", "librdkafka's threads (not sampled) 500"]
        );
        let drawn = folded.svg("CPU <time> & more").unwrap();
        assert!(drawn.contains("&lt;time&gt; &amp; more") && !drawn.contains("<time>"));
        assert!(Folded::default().svg("nothing").is_err());
    }
}
