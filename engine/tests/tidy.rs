//! The house rules that a compiler does not hold: modules import only what stands above them,
//! `unsafe` has an address, files stay small, nothing is left for later.

use std::fs;
use std::path::{Path, PathBuf};

/// Reading order, data flow and import order at once: a module may import those before it.
const STREET: [&str; 16] = [
    "ids",
    "record",
    "time",
    "mapping",
    "telemetry",
    "source",
    "filter",
    "payload",
    "batch",
    "deliver",
    "invoke",
    "destination",
    "commit",
    "scale",
    "pipeline",
    "cli",
];

/// The only files that may hold `unsafe`. To add one is a decision, not a detail.
const UNSAFE_FILES: [&str; 24] = [
    // glibc's allocator is told to keep memory.
    "main.rs",
    // librdkafka's C functions.
    "source/queue.rs",
    "source/message.rs",
    "source/commits.rs",
    "source/embedded.rs",
    // A string's end, by SSE2.
    "filter/special.rs",
    // JSON by blocks, with AVX2.
    "filter/quick.rs",
    // The writer's raw cursor and its kernels.
    "payload/cursor.rs",
    "payload/kernel.rs",
    "payload/writer.rs",
    "payload/headers.rs",
    "payload/internals.rs",
    "payload/tests/pages.rs",
    "payload/tests/kernels.rs",
    "payload/base64/mod.rs",
    "payload/base64/portable.rs",
    "payload/base64/scalar.rs",
    "payload/base64/sse41.rs",
    "payload/base64/avx2.rs",
    "payload/base64/avx512.rs",
    "payload/base64/avx2_digits.rs",
    "payload/base64/avx512_base64.rs",
    "payload/base64/avx512_headers.rs",
    "payload/base64/avx512_stamp.rs",
];

/// Lines of code and docs in one file, before its tests.
const FILE_LINES_MAX: usize = 400;

/// Marks of unfinished work, looked for in comments too.
const UNFINISHED: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];

#[test]
fn the_house_is_tidy() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    assert!(files.len() > 5, "no sources under {}", source.display());
    let mut found = Vec::new();
    for file in &files {
        let path = file.strip_prefix(&source).expect("under src").to_str().expect("UTF-8").replace('\\', "/");
        let text = fs::read_to_string(file).expect("readable");
        found.extend(violations(&path, &text).into_iter().map(|violation| format!("{path}: {violation}")));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn planted_violations_are_found() {
    let cases = [
        ("batch/policy.rs", "use crate::commit::Watermark;", "imports commit"),
        ("batch/policy.rs", "fn f(_: crate::pipeline::Engine) {}", "imports pipeline"),
        ("record.rs", "use crate::{\n    ids::{Offset, Slot},\n    time::Nanos,\n};", "imports time"),
        ("deliver/mod.rs", "use super::commit::Cadence;", "imports commit"),
        ("lib.rs", "pub mod time;\npub mod ids;", "ids stands below time"),
        ("lib.rs", "pub mod helpers;", "helpers is not on the street"),
        ("helpers/mod.rs", "", "helpers is not on the street"),
        ("deliver/delivery.rs", "fn f() { unsafe { g() } }", "unsafe"),
        ("deliver/delivery.rs", "// XXX later", "XXX"),
        ("deliver/delivery.rs", "fn f() { g().unwrap() }", "unwrap"),
        ("deliver/delivery.rs", &"\n".repeat(FILE_LINES_MAX + 1), "401 lines"),
    ];
    for (path, text, expected) in cases {
        let found = violations(path, text);
        assert!(found.len() == 1 && found[0].contains(expected), "{path}: {text:?} gave {found:?}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    let cases = [
        ("commit/cadence.rs", "use crate::ids::Offset;\nuse crate::{commit::Watermark, source::Source};"),
        (
            "ids.rs",
            "/// See [`crate::mapping`].\n// never unsafe, never .unwrap()\nconst S: &str = \"crate::cli\";",
        ),
        ("mapping/parse.rs", "use super::{a, b};\nfn f() { g(x, cli, y) }"),
        ("ids.rs", "const R: &str = r#\"\"unsafe\" crate::cli\"#; const C: char = '\"'; fn f<'a>() {}"),
        ("ids.rs", "#[cfg(test)]\nmod tests {\n use crate::cli::Run;\n fn f() { g().unwrap() }\n}"),
        ("payload/writer.rs", "#![expect(unsafe_code)]\nfn f() { unsafe { g() } }"),
        ("batch/open.rs", "/* crate::cli /* nested */ unsafe */ use crate::payload;"),
        ("main.rs", "use pelton::cli; mod anything {}"),
    ];
    for (path, text) in cases {
        assert_eq!(violations(path, text), [""; 0], "{path}: {text:?}");
    }
}

fn rust_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// What is wrong with the file at `path` (relative to `src`).
fn violations(path: &str, text: &str) -> Vec<String> {
    let code = without_comments_and_strings(text);
    // Tests may import what they like and unwrap what they like.
    let code = code.find("#[cfg(test)]\nmod tests").map_or(code.as_str(), |tests| &code[..tests]);
    let mut found = Vec::new();
    match path.split(['/', '.']).next() {
        Some("main") => {}
        Some("lib") => found.extend(street_order(code)),
        Some(module) => match place(module) {
            Some(own) => found.extend(
                imports(code)
                    .filter(|import| place(import).is_some_and(|place| place > own))
                    .map(|import| format!("imports {import}, which stands below {module}")),
            ),
            None => found.push(format!("{module} is not on the street")),
        },
        None => {}
    }
    if !UNSAFE_FILES.contains(&path) && words(code).any(|word| word == "unsafe") {
        found.push("holds unsafe, which belongs into the files named in tests/tidy.rs".into());
    }
    if code.contains(".unwrap()") {
        found.push("holds unwrap(); `expect` and name the invariant, or return an error".into());
    }
    for mark in UNFINISHED {
        if words(text).any(|word| word == mark) {
            found.push(format!("holds {mark}; do it, or open an issue"));
        }
    }
    let lines = code.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(format!("has {lines} lines before its tests; the limit is {FILE_LINES_MAX}"));
    }
    found
}

fn place(module: &str) -> Option<usize> {
    STREET.iter().position(|&name| name == module)
}

/// `lib.rs` must list the modules in the order of the street.
fn street_order(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut last = 0;
    for line in code.lines() {
        let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        let Some(module) = line.strip_prefix("mod ").and_then(|rest| rest.split([';', ' ']).next()) else {
            continue;
        };
        match place(module) {
            None => found.push(format!("{module} is not on the street")),
            Some(place) if place < last => found.push(format!("{module} stands below {}", STREET[last])),
            Some(place) => last = place,
        }
    }
    found
}

/// The first names after each `crate::` and `super::`, groups included.
fn imports(code: &str) -> impl Iterator<Item = &str> {
    ["crate::", "super::"].into_iter().flat_map(|root| code.split(root).skip(1)).flat_map(|rest| {
        let group = rest.strip_prefix('{').map(|inside| {
            let mut depth = 0;
            let end = inside.find(|c| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                depth < 0
            });
            let mut depth = 0;
            inside[..end.unwrap_or(inside.len())].split(move |c| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                depth == 0 && c == ','
            })
        });
        let single = group.is_none().then_some(rest);
        group.into_iter().flatten().chain(single).filter_map(|part| words(part).next())
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The text with comments and the insides of string and character literals blanked. Line breaks
/// stay.
fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = literal_or_comment(rest, code.chars().next_back());
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[skipped..];
        }
    }
    code
}

/// The length of the comment or literal that `text` begins with, or 0.
fn literal_or_comment(text: &str, before: Option<char>) -> usize {
    let until = |end: usize, closing: &str| {
        text[end..].find(closing).map_or(text.len(), |at| end + at + closing.len())
    };
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    if let Some(inside) = text.strip_prefix('"') {
        return 1 + escaped_until(inside, '"');
    }
    // A raw string, unless the `r` ends an identifier.
    if text.starts_with('r') && !before.is_some_and(|c| c != 'b' && (c.is_alphanumeric() || c == '_')) {
        let hashes = text[1..].chars().take_while(|&c| c == '#').count();
        if text[1 + hashes..].starts_with('"') {
            return until(2 + hashes, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    // A character, not a lifetime.
    if let Some(inside) = text.strip_prefix('\'') {
        let mut chars = inside.chars();
        if chars.next() == Some('\\') || chars.next() == Some('\'') {
            return 1 + escaped_until(inside, '\'');
        }
    }
    0
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    text.len()
}

fn escaped_until(text: &str, closing: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == closing && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}
