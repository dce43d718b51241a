//! The stages of the street, and which code belongs to which.
//!
//! A sample belongs to the stage of the innermost call that has one. Code that serves everybody
//! (the standard library, memory copies, system calls, reading a clock) has none of its own and
//! goes with its caller; what no rule knows stays [`Stage::Unknown`] and is never spread over the
//! others.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::symbols::Frame;

/// What a thread of the engine does with its CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Fetching, decompressing, checking and handing over messages.
    Poll,
    /// Matching records against filter criteria.
    Filter,
    /// All of encoding, where the symbols cannot tell its parts apart.
    Encode,
    /// Keys and values as base64.
    Base64,
    /// Headers as names and numbers.
    Headers,
    /// The rest of each record's JSON.
    Json,
    /// Runs, limits, the record index, buffers.
    Batch,
    /// From the poller to the invocation side and back.
    HandOver,
    /// The event from head, slices and tail.
    Gather,
    /// HTTP, system calls of the socket included.
    Send,
    /// Watermarks and commits.
    Commit,
    /// The consumer thread's loop: events, counters, sleeping and waking.
    Loop,
    /// This harness's own part: meter, and the function where it is a stub in process.
    Harness,
    /// What no rule knows.
    Unknown,
}

impl Stage {
    /// In the order in which a record meets them.
    pub const ALL: [Self; 14] = [
        Self::Poll,
        Self::Filter,
        Self::Encode,
        Self::Base64,
        Self::Headers,
        Self::Json,
        Self::Batch,
        Self::HandOver,
        Self::Gather,
        Self::Send,
        Self::Commit,
        Self::Loop,
        Self::Harness,
        Self::Unknown,
    ];

    /// A short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Filter => "filter",
            Self::Encode => "encode",
            Self::Base64 => "base64",
            Self::Headers => "headers",
            Self::Json => "rest of the JSON",
            Self::Batch => "batch",
            Self::HandOver => "hand-over",
            Self::Gather => "gather",
            Self::Send => "send",
            Self::Commit => "commit",
            Self::Loop => "loop",
            Self::Harness => "harness",
            Self::Unknown => "unknown",
        }
    }

    /// What it is, in one sentence.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Poll => {
                "Reading from Kafka: librdkafka's threads that fetch, check and decompress, and handing their \
                 messages to the poller."
            }
            Self::Filter => "Matching each record against the filter criteria.",
            Self::Encode => "Writing each record as JSON; its parts cannot be told apart with these symbols.",
            Self::Base64 => "Turning keys and values into base64 text, straight into the payload.",
            Self::Headers => "Writing each header as its name and the numbers of its bytes.",
            Self::Json => "Topic, partition, offset, timestamp and the punctuation of each record.",
            Self::Batch => "Finding runs, minding limits, keeping the index of records and the buffers.",
            Self::HandOver => {
                "Giving batches to the invocation side and taking its answers: queues, waking threads."
            }
            Self::Gather => "Putting an event together from its head, slices of the batch, and its tail.",
            Self::Send => "Invoking the function: HTTP and the system calls that move the payload.",
            Self::Commit => "Tracking which offsets are done, and committing them.",
            Self::Loop => "The consumer thread's loop: client events, counters, going to sleep and waking.",
            Self::Harness => {
                "The harness's own part inside the engine's threads: counting, and the stub function. An engine in \
                 production does not have it."
            }
            Self::Unknown => "Code that no rule or symbol assigns to a stage. Not spread over the others.",
        }
    }

    /// Without the parts of encoding.
    #[must_use]
    pub const fn merged(self) -> Self {
        match self {
            Self::Base64 | Self::Headers | Self::Json => Self::Encode,
            other => other,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whose thread it is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadKind {
    /// Polls and encodes.
    Consumer,
    /// The Kafka client's own.
    Client,
    /// Invokes functions.
    Invocation,
    /// Anybody else's.
    Other,
}

impl ThreadKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Consumer, Self::Client, Self::Invocation, Self::Other];

    /// By the name that the kernel knows, of up to 15 bytes.
    #[must_use]
    pub fn of(name: &str) -> Self {
        if name.starts_with("pelton-invoke") {
            Self::Invocation
        } else if name.starts_with("pelton-") {
            Self::Consumer
        } else if name.starts_with("rdk:") {
            Self::Client
        } else {
            Self::Other
        }
    }

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer threads",
            Self::Client => "librdkafka's threads",
            Self::Invocation => "invocation threads",
            Self::Other => "other threads",
        }
    }
}

/// The stage of a sample: `frames` from the innermost function outwards.
pub fn stage_of<'f>(frames: impl Iterator<Item = &'f Frame>, thread: ThreadKind) -> Stage {
    let mut by_default = match thread {
        ThreadKind::Client => Stage::Poll,
        _ => Stage::Unknown,
    };
    for frame in frames {
        if let Some(stage) = own_stage(frame) {
            return stage;
        }
        match thread {
            // C code of the client that the engine calls, where its caller has no name.
            ThreadKind::Consumer if frame.function.starts_with("rd_") => by_default = Stage::Poll,
            // A connection is a task of its own, with nothing of the engine's around it.
            ThreadKind::Invocation if frame.function.contains("hyper") => return Stage::Send,
            // Looking for work, and sleeping when there is none.
            ThreadKind::Invocation if frame.function.contains("tokio::") => by_default = Stage::HandOver,
            _ => {}
        }
    }
    by_default
}

/// Which modules, below `engine/src` and `harness/src`, belong to which stage; the first that fits
/// counts. A word narrows the rule to functions whose name contains it. `None`: the caller decides.
const RULES: &[(Package, &str, &str, Option<Stage>)] = &[
    (Package::Engine, "ids", "", None),
    (Package::Engine, "record", "", None),
    (Package::Engine, "time", "", None),
    (Package::Engine, "source/message", "", None),
    (Package::Engine, "source/commits", "", Some(Stage::Commit)),
    (Package::Engine, "source", "", Some(Stage::Poll)),
    (Package::Engine, "filter", "", Some(Stage::Filter)),
    (Package::Engine, "payload/base64/avx512_base64", "", Some(Stage::Base64)),
    (Package::Engine, "payload/base64/avx512_headers", "", Some(Stage::Headers)),
    (Package::Engine, "payload/base64/avx512_stamp", "", Some(Stage::Json)),
    (Package::Engine, "payload/base64", "header", Some(Stage::Headers)),
    (Package::Engine, "payload/base64", "base64", Some(Stage::Base64)),
    (Package::Engine, "payload/base64", "stamp", Some(Stage::Json)),
    (Package::Engine, "payload/base64", "text", Some(Stage::Json)),
    (Package::Engine, "payload/base64", "digits", Some(Stage::Json)),
    // Loads, stores and constants that base64, headers and numbers share.
    (Package::Engine, "payload/base64", "", None),
    (Package::Engine, "payload/kernel", "", None),
    (Package::Engine, "payload/headers", "", Some(Stage::Headers)),
    (Package::Engine, "payload/cursor", "header", Some(Stage::Headers)),
    (Package::Engine, "payload/pool", "", Some(Stage::Batch)),
    (Package::Engine, "payload/buffer", "", Some(Stage::Batch)),
    (Package::Engine, "payload/arena", "", Some(Stage::Batch)),
    (Package::Engine, "payload/envelope", "", Some(Stage::Gather)),
    (Package::Engine, "payload", "", Some(Stage::Json)),
    (Package::Engine, "batch/payload", "", Some(Stage::Gather)),
    (Package::Engine, "batch", "", Some(Stage::Batch)),
    (Package::Engine, "deliver", "", Some(Stage::HandOver)),
    (Package::Engine, "invoke/stub", "", Some(Stage::Harness)),
    (Package::Engine, "invoke/law", "", Some(Stage::Harness)),
    (Package::Engine, "invoke/turnstile", "", Some(Stage::Harness)),
    (Package::Engine, "invoke/verify", "", Some(Stage::Harness)),
    (Package::Engine, "invoke/body", "", Some(Stage::Gather)),
    (Package::Engine, "invoke", "", Some(Stage::Send)),
    (Package::Engine, "destination", "", Some(Stage::Send)),
    (Package::Engine, "commit", "", Some(Stage::Commit)),
    (Package::Engine, "pipeline/commits", "", Some(Stage::Commit)),
    (Package::Engine, "pipeline/dispatch", "", Some(Stage::HandOver)),
    (Package::Engine, "pipeline/parcel", "", Some(Stage::HandOver)),
    (Package::Engine, "pipeline/sieve", "", Some(Stage::Filter)),
    (Package::Engine, "pipeline/fill", "", Some(Stage::Batch)),
    (Package::Engine, "pipeline/partitions", "", Some(Stage::Batch)),
    (Package::Engine, "pipeline/poller", "seal", Some(Stage::Batch)),
    (Package::Engine, "pipeline/poller", "launch", Some(Stage::HandOver)),
    (Package::Engine, "pipeline/poller", "retry", Some(Stage::HandOver)),
    (Package::Engine, "pipeline/poller", "on_answer", Some(Stage::HandOver)),
    (Package::Engine, "pipeline/poller", "complete", Some(Stage::HandOver)),
    (Package::Engine, "", "", Some(Stage::Loop)),
    // What stands for the broker.
    (Package::Harness, "memory", "", Some(Stage::Poll)),
    (Package::Harness, "", "", Some(Stage::Harness)),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Package {
    Engine,
    Harness,
}

/// The stage that `frame` has by itself, whoever called it.
#[must_use]
pub fn own_stage(frame: &Frame) -> Option<Stage> {
    let (package, module) = place(frame)?;
    let function = last_segment(&frame.function);
    RULES
        .iter()
        .find(|(of, prefix, word, _)| *of == package && is_below(&module, prefix) && function.contains(word))
        .and_then(|(.., stage)| *stage)
}

/// Package and module of a frame: by its source file, which stays right where a name was lost; else
/// by its name.
fn place(frame: &Frame) -> Option<(Package, String)> {
    if let Some(file) = &frame.file {
        // What was made by a macro or is generic lies in the file of its text, whoever uses it.
        return [(Package::Engine, "engine/src/"), (Package::Harness, "harness/src/")].into_iter().find_map(
            |(package, root)| {
                let at = file.rfind(root)?;
                let before = file[..at].chars().next_back();
                if before.is_some_and(|before| before != '/') {
                    return None;
                }
                let module = file[at + root.len()..].trim_end_matches(".rs").trim_end_matches("/mod");
                Some((package, module.to_owned()))
            },
        );
    }
    let at = frame.function.find("pelton")?;
    let path = frame.function[at..].split(['<', '>', ' ', ',', '{', '(']).next()?;
    let (root, module) = path.split_once("::")?;
    let package = match root {
        "pelton" => Package::Engine,
        "pelton_harness" => Package::Harness,
        _ => return None,
    };
    Some((package, module.replace("::", "/")))
}

fn is_below(module: &str, prefix: &str) -> bool {
    module
        .strip_prefix(prefix)
        .is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

/// A function's own name, without its path and the types it is made for.
fn last_segment(function: &str) -> &str {
    // `<T as Trait>::name`, `path::name::<T>`, `path::name::{closure#0}`.
    let mut depth = 0_i32;
    let (mut end, mut start) = (function.len(), 0);
    for (at, c) in function.char_indices().rev() {
        match c {
            '>' | '}' => {
                if depth == 0 {
                    end = at;
                }
                depth += 1;
            }
            '<' | '{' => {
                depth -= 1;
                if depth == 0 {
                    end = at;
                }
            }
            ':' if depth == 0 => {
                if at + 1 < end {
                    start = at + 1;
                    break;
                }
                end = at;
            }
            _ => {}
        }
    }
    function.get(start..end).unwrap_or(function)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn at(file: &str, function: &str) -> Frame {
        Frame { function: function.to_owned(), file: Some(format!("/some/where/{file}")) }
    }

    fn named(function: &str) -> Frame {
        Frame { function: function.to_owned(), file: None }
    }

    fn stage(frames: &[Frame]) -> Stage {
        stage_of(frames.iter(), ThreadKind::Consumer)
    }

    #[test]
    fn the_innermost_call_with_a_stage_decides() {
        let memcpy = named("__memmove_avx512_unaligned_erms");
        let write_run = at("engine/src/payload/writer.rs", "pelton::payload::writer::write_run_avx512");
        let fill = at("engine/src/pipeline/fill.rs", "fill");
        assert_eq!(stage(&[memcpy.clone(), write_run.clone(), fill.clone()]), Stage::Json);
        assert_eq!(stage(&[memcpy.clone(), fill.clone()]), Stage::Batch);
        assert_eq!(stage(&[named("core::iter::map"), write_run, fill]), Stage::Json);
        assert_eq!(stage(&[memcpy]), Stage::Unknown);
        assert_eq!(stage(&[]), Stage::Unknown);
    }

    #[test]
    fn the_parts_of_encoding_are_told_apart_though_they_share_files() {
        let file = "engine/src/payload/base64/avx512.rs";
        let shared = at(file, "load");
        let cases = [
            ("base64", Stage::Base64),
            (
                "<pelton::payload::base64::avx512::Avx512 as pelton::payload::kernel::Kernel>::base64",
                Stage::Base64,
            ),
            ("pelton::payload::base64::avx512::headers::<core::iter::Empty>", Stage::Headers),
            ("header", Stage::Headers),
            ("stamp", Stage::Json),
            ("digits", Stage::Json),
        ];
        for (function, expected) in cases {
            assert_eq!(stage(&[shared.clone(), at(file, function)]), expected, "{function}");
        }
        let shared = at("engine/src/payload/base64/mod.rs", "own_ahead");
        for (file, expected) in [
            ("avx512_base64", Stage::Base64),
            ("avx512_headers", Stage::Headers),
            ("avx512_stamp", Stage::Json),
        ] {
            let put = at(&format!("engine/src/payload/base64/{file}.rs"), "put");
            assert_eq!(stage(&[shared.clone(), put]), expected, "{file}");
        }
        assert_eq!(stage(&[at("engine/src/source/message.rs", "value"), at(file, "header")]), Stage::Headers);
        assert_eq!(Stage::Headers.merged(), Stage::Encode);
    }

    #[test]
    fn names_do_where_there_are_no_files() {
        assert_eq!(stage(&[named("pelton::payload::writer::write_run_avx512::<X>")]), Stage::Json);
        assert_eq!(stage(&[named("<pelton::pipeline::poller::Poller>::fill::<Q>")]), Stage::Loop);
        assert_eq!(
            stage(&[named("<pelton::source::queue::KafkaQueue as pelton::source::RecordQueue>::read")]),
            Stage::Poll
        );
        assert_eq!(stage(&[named("<pelton_harness::memory::MemoryQueue as X>::read")]), Stage::Poll);
        assert_eq!(stage(&[named("<pelton_harness::meter::MeterTap as X>::note")]), Stage::Harness);
    }

    #[test]
    fn c_code_of_the_client_is_poll_unless_it_commits() {
        let c = named("rd_kafka_q_serve_rkmessages");
        assert_eq!(stage(std::slice::from_ref(&c)), Stage::Poll);
        assert_eq!(stage(&[c.clone(), at("engine/src/source/commits.rs", "send")]), Stage::Commit);
        assert_eq!(stage_of([named("anything")].iter(), ThreadKind::Client), Stage::Poll);
        assert_eq!(stage_of([].iter(), ThreadKind::Client), Stage::Poll);
    }

    #[test]
    fn an_invocation_thread_sends_or_waits() {
        let tokio = named("tokio::runtime::scheduler::multi_thread::worker::run");
        let of = |frames: &[Frame]| stage_of(frames.iter(), ThreadKind::Invocation);
        assert_eq!(of(&[named("epoll_wait"), tokio.clone()]), Stage::HandOver);
        assert_eq!(of(&[named("writev"), named("hyper::proto::h1::io::poll_flush"), tokio]), Stage::Send);
        assert_eq!(of(&[named("epoll_wait")]), Stage::Unknown);
    }

    #[test]
    fn threads_are_known_by_their_names() {
        assert_eq!(ThreadKind::of("pelton-0"), ThreadKind::Consumer);
        assert_eq!(ThreadKind::of("pelton-invoke"), ThreadKind::Invocation);
        assert_eq!(ThreadKind::of("rdk:broker1"), ThreadKind::Client);
        assert_eq!(ThreadKind::of("bash"), ThreadKind::Other);
    }

    #[test]
    fn a_functions_own_name_is_found_behind_any_type() {
        for (function, own) in [
            ("a::b::c", "c"),
            ("c", "c"),
            ("<A as B<C>>::name", "name"),
            ("a::name::<X<Y>>", "name"),
            ("a::name<X<Y>>", "name"),
            ("a::name::{closure#0}", "name"),
            ("", ""),
        ] {
            assert_eq!(last_segment(function), own, "{function}");
        }
        for odd in [">", "<", "::", "a::", "{<", "é>::é<"] {
            let _ = last_segment(odd);
        }
    }

    #[test]
    fn every_rule_names_a_module_that_is_there() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        // On the street's map, and not built yet.
        let planned = ["destination"];
        for (package, module, ..) in RULES {
            let root = match package {
                Package::Engine => workspace.join("engine/src"),
                Package::Harness => workspace.join("harness/src"),
            };
            let found = root.join(module).is_dir() || root.join(format!("{module}.rs")).is_file();
            assert!(
                found || planned.contains(module),
                "{module} is not there: the rule for it is out of date"
            );
        }
    }
}
