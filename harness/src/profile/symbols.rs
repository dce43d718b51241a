//! From addresses to the functions they lie in, inlined ones included.
//!
//! The stages of encoding are inlined into one function per instruction set, so only the line
//! tables can tell them apart. Where those are missing this module says what to do about it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hint::black_box;
use std::rc::Rc;

use addr2line::Loader;

use super::objects::CodeObject;

/// A function that was running, or had been inlined into one that was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Its name with its path, as far as the symbols tell; or the object and address.
    pub function: String,
    /// The source file of the line that was running.
    pub file: Option<String>,
}

/// How much the symbols tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// Nothing: the binary was stripped.
    Nothing,
    /// The names of functions, but not what was inlined into them.
    Functions,
    /// Functions, and what was inlined into them.
    Inlined,
}

impl Detail {
    /// What is wrong and what to do about it, in words; `None` if nothing is.
    #[must_use]
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Inlined => None,
            Self::Functions => Some(
                "The binary has function names but no line tables with inlined functions, so encoding is shown as \
                 one stage. Set `debug = \"line-tables-only\"` (and not `split-debuginfo`) under \
                 [profile.release] in Cargo.toml, build again, and profile the binary where it was built.",
            ),
            Self::Nothing => Some(
                "The binary was stripped: its functions have no names, so only whole threads can be told apart. Set \
                 `strip = false` and `debug = \"line-tables-only\"` under [profile.release] in Cargo.toml, build \
                 again, and do not run `strip` on the binary.",
            ),
        }
    }
}

/// Looks addresses up.
pub struct Symbols {
    objects: Vec<(CodeObject, Option<Loader>)>,
    known: RefCell<HashMap<u64, Rc<[Frame]>>>,
}

impl Symbols {
    /// Over this process's code. Reads symbol tables; line tables are read as they are needed.
    #[must_use]
    pub fn new(objects: Vec<CodeObject>) -> Self {
        let objects = objects
            .into_iter()
            .map(|object| {
                let loader = object.path.as_ref().and_then(|path| Loader::new(path).ok());
                (object, loader)
            })
            .collect();
        Self { objects, known: RefCell::default() }
    }

    /// The functions at `address`, the inlined ones first. Never empty.
    #[must_use]
    pub fn frames(&self, address: u64) -> Rc<[Frame]> {
        Rc::clone(self.known.borrow_mut().entry(address).or_insert_with(|| self.look_up(address).into()))
    }

    /// How much the symbols of the running binary tell, found out by looking up a function of which
    /// it is known what was inlined into it.
    #[must_use]
    pub fn detail(&self) -> Detail {
        let start = landmark as *const () as u64;
        let mut detail = Detail::Nothing;
        for address in start..start + LANDMARK_BYTES_MAX {
            let frames = self.frames(address);
            let Some(outermost) = frames.last() else { break };
            if !outermost.function.contains("landmark") {
                break;
            }
            detail = detail.max(Detail::Functions);
            if frames.len() > 1 && frames.iter().any(|frame| frame.function.contains("inlined_here")) {
                return Detail::Inlined;
            }
        }
        detail
    }

    fn look_up(&self, address: u64) -> Vec<Frame> {
        let Some((object, loader)) = self.objects.iter().find(|(object, _)| object.range.contains(&address))
        else {
            return vec![Frame { function: format!("[unknown] {address:#x}"), file: None }];
        };
        let in_file = address - object.bias;
        let mut frames = Vec::new();
        if let Some(loader) = loader {
            if let Ok(mut found) = loader.find_frames(in_file) {
                while let Ok(Some(frame)) = found.next() {
                    let Some(function) = &frame.function else { continue };
                    let file = frame.location.and_then(|location| location.file);
                    let name = function.demangle().unwrap_or_default();
                    frames.push(Frame {
                        function: qualified(&without_hash(&name), file),
                        file: file.map(str::to_owned),
                    });
                }
            }
            if frames.is_empty()
                && let Some(symbol) = loader.find_symbol(in_file)
            {
                let name = addr2line::demangle_auto(symbol.into(), None);
                frames.push(Frame { function: without_hash(&name), file: None });
            }
        }
        if frames.is_empty()
            && let Some(export) = object.sections.export_at(in_file)
        {
            frames.push(Frame { function: export.to_owned(), file: None });
        }
        if frames.is_empty() {
            let name = object.name.rsplit('/').next().unwrap_or_default();
            frames.push(Frame { function: format!("[{}]", name.trim_matches(['[', ']'])), file: None });
        }
        frames
    }
}

/// With its path, which line tables leave out of the names of inlined functions: the file says it.
fn qualified(function: &str, file: Option<&str>) -> String {
    let path = || {
        let (root, module) = file?.strip_suffix(".rs")?.rsplit_once("/src/")?;
        let krate = match root.rsplit('/').next()? {
            "engine" => "pelton",
            "harness" => "pelton_harness",
            // Crates lie in directories of their name and version.
            other => other.rsplit_once('-').map_or(other, |(name, version)| {
                if version.starts_with(|c: char| c.is_ascii_digit()) { name } else { other }
            }),
        };
        let mut path = krate.replace('-', "_");
        for part in module.split('/').filter(|part| !matches!(*part, "lib" | "mod" | "main")) {
            path.push_str("::");
            path.push_str(part);
        }
        Some(path)
    };
    match path() {
        // What a generic function is made for has a path of its own.
        Some(path)
            if !function.split('<').next().is_some_and(|name| name.is_empty() || name.contains("::")) =>
        {
            format!("{path}::{function}")
        }
        _ => function.to_owned(),
    }
}

/// Without the `::h0123456789abcdef` that older symbols end with.
fn without_hash(name: &str) -> String {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            path.to_owned()
        }
        _ => name.to_owned(),
    }
}

const LANDMARK_BYTES_MAX: u64 = 256;

/// A function whose symbols are known: see [`Symbols::detail`].
#[inline(never)]
fn landmark(n: u64) -> u64 {
    inlined_here(black_box(n))
}

#[inline(always)]
fn inlined_here(n: u64) -> u64 {
    (0..n).map(|k| black_box(k).rotate_left(3)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::objects;
    use super::*;

    #[test]
    fn an_inlined_function_is_told_from_its_caller() {
        assert_eq!(landmark(3), 24, "it is in the binary");
        let symbols = Symbols::new(objects::of_this_process().unwrap());
        assert_eq!(symbols.detail(), Detail::Inlined);
        let frames = symbols.frames(landmark as *const () as u64);
        let landmark = frames.last().unwrap();
        assert!(landmark.function.ends_with("symbols::landmark"), "{landmark:?}");
        assert!(landmark.file.as_ref().unwrap().ends_with("profile/symbols.rs"), "{landmark:?}");
    }

    #[test]
    fn an_address_of_nothing_has_a_name_of_its_own() {
        let symbols = Symbols::new(objects::of_this_process().unwrap());
        assert_eq!(symbols.frames(16)[0].function, "[unknown] 0x10");
        assert_eq!(Symbols::new(Vec::new()).detail(), Detail::Nothing);
    }

    #[test]
    fn an_inlined_function_gets_its_path_from_its_file() {
        let of = |function, file| qualified(function, Some(file));
        assert_eq!(of("base64", "/w/engine/src/payload/base64/mod.rs"), "pelton::payload::base64::base64");
        assert_eq!(of("push<u8>", "/rustc/abc/library/alloc/src/vec/mod.rs"), "alloc::vec::push<u8>");
        assert_eq!(
            of("new", "/r/index/hyper-util-0.1.21/src/client/legacy.rs"),
            "hyper_util::client::legacy::new"
        );
        assert_eq!(of("write<a::B>", "/w/engine/src/batch/open.rs"), "pelton::batch::open::write<a::B>");
        assert_eq!(of("<A as B>::c", "/w/engine/src/lib.rs"), "<A as B>::c");
        assert_eq!(of("a::b", "/w/engine/src/lib.rs"), "a::b");
        assert_eq!(of("rd_kafka_poll", "/r/librdkafka/src/rdkafka.c"), "rd_kafka_poll");
        assert_eq!(qualified("f", None), "f");
    }

    #[test]
    fn hashes_go_and_names_stay() {
        assert_eq!(without_hash("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(without_hash("a::hash"), "a::hash");
        assert_eq!(without_hash("a::h0123456789abcdeg"), "a::h0123456789abcdeg");
    }

    #[test]
    fn what_is_missing_is_said_with_its_remedy() {
        assert_eq!(Detail::Inlined.remedy(), None);
        assert!(Detail::Functions.remedy().unwrap().contains("line-tables-only"));
        assert!(Detail::Nothing.remedy().unwrap().contains("strip = false"));
    }
}
