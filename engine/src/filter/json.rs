//! JSON read once from front to back: checked as it is passed, copied nowhere, nothing built.
//!
//! Why not a parser from elsewhere: a filter must know of *every* value whether it is JSON (what is
//! not is delivered), and how its numbers are spelt (two long identifiers are not to be taken for
//! each other as doubles). Parsers that build a tape or a tree lose the spelling, refuse numbers
//! that are JSON, unescape in place and so need a copy; the bench `filter` holds what they cost.
//!
//! The grammar is RFC 8259's, and nothing more. Strings may spell lone surrogates. Containers may
//! be nested [`DEPTH_MAX`] deep, as in the JVM's usual parser; what is deeper does not count as
//! JSON.

use super::escapes::resolve;
use super::special::special;

/// How deep containers may be nested.
pub const DEPTH_MAX: usize = 1000;

/// What was read is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

/// Whether `text` is one JSON value, with white space around it or not.
#[must_use]
pub fn is_json(text: &str) -> bool {
    if is_json_at_a_glance(text) {
        return true;
    }
    let mut json = Json::new(text);
    json.skip(0).and_then(|()| json.end()).is_ok()
}

/// Whether `text` is JSON without escapes, of a kind that is told quickly. `false` says nothing.
#[inline]
pub(super) fn is_json_at_a_glance(text: &str) -> bool {
    #[cfg(target_arch = "x86_64")]
    return super::quick::is_certainly_json(text);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = text;
        false
    }
}

/// A string as it is spelt, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelt<'j> {
    /// What stands between the quotes.
    pub text: &'j str,
    /// There is a backslash in it.
    pub escaped: bool,
}

impl<'j> Spelt<'j> {
    /// The string that is meant. Escapes are resolved into `room`, whose content is lost.
    #[inline]
    pub fn resolve<'r>(self, room: &'r mut String) -> &'r str
    where
        'j: 'r,
    {
        if !self.escaped {
            return self.text;
        }
        resolve(self.text, room);
        room
    }
}

/// A reader of one JSON text.
#[derive(Clone, Debug)]
pub struct Json<'j> {
    text: &'j str,
    at: usize,
}

/// What a value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An object.
    Object,
    /// An array.
    Array,
    /// A string.
    Text,
    /// Anything else: a number, `true`, `false`, `null`, or nothing that is JSON.
    Bare,
}

impl<'j> Json<'j> {
    /// Begins before the first value of `text`.
    #[inline]
    #[must_use]
    pub fn new(text: &'j str) -> Self {
        let mut json = Self { text, at: 0 };
        json.space();
        json
    }

    /// The byte to be read next; 0, which is nowhere allowed, at the end.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn eat(&mut self, byte: u8) -> bool {
        let is = self.peek() == byte;
        self.at += usize::from(is);
        is
    }

    /// What the value to be read next is.
    #[inline(always)]
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.peek() {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::Text,
            _ => Kind::Bare,
        }
    }

    /// Ends the text: only white space may follow.
    ///
    /// # Errors
    /// If something else does.
    #[inline]
    pub fn end(&mut self) -> Result<(), NotJson> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(NotJson) }
    }

    /// Enters an object or array, whose first byte is to be read next. Returns whether it has
    /// members; if not, it is already left.
    #[inline(always)]
    pub fn enter(&mut self, close: u8) -> bool {
        self.at += 1;
        self.space();
        !self.eat(close)
    }

    /// Goes on behind a member. Returns whether there is another; if not, the container is left.
    ///
    /// # Errors
    /// If neither a comma nor `close` follows.
    #[inline(always)]
    pub fn another(&mut self, close: u8) -> Result<bool, NotJson> {
        self.space();
        if self.eat(b',') {
            self.space();
            return Ok(true);
        }
        if self.eat(close) { Ok(false) } else { Err(NotJson) }
    }

    /// Reads a member's name and what stands before its value.
    ///
    /// # Errors
    /// If there is none.
    #[inline(always)]
    pub fn name(&mut self) -> Result<Spelt<'j>, NotJson> {
        if self.peek() != b'"' {
            return Err(NotJson);
        }
        let name = self.string()?;
        self.space();
        if !self.eat(b':') {
            return Err(NotJson);
        }
        self.space();
        Ok(name)
    }

    /// Reads a string, whose quote is to be read next.
    ///
    /// # Errors
    /// If it does not end, or holds what no string may.
    #[inline(always)]
    pub fn string(&mut self) -> Result<Spelt<'j>, NotJson> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let end = special(bytes, start);
        if bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Spelt { text: &self.text[start..end], escaped: false });
        }
        self.escaped_string(start, end)
    }

    #[cold]
    #[inline(never)]
    fn escaped_string(&mut self, start: usize, mut at: usize) -> Result<Spelt<'j>, NotJson> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {}
                _ => return Err(NotJson),
            }
            at = match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at + 2,
                Some(b'u') => {
                    let digits = bytes.get(at + 2..at + 6).ok_or(NotJson)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return Err(NotJson);
                    }
                    at + 6
                }
                _ => return Err(NotJson),
            };
            at = special(bytes, at);
        }
        self.at = at + 1;
        Ok(Spelt { text: &self.text[start..at], escaped: true })
    }

    /// Reads a number or a word, as it is spelt.
    ///
    /// # Errors
    /// If it is neither.
    #[inline]
    pub fn bare(&mut self) -> Result<&'j str, NotJson> {
        let start = self.at;
        self.skip_bare()?;
        Ok(&self.text[start..self.at])
    }

    #[inline(always)]
    fn skip_bare(&mut self) -> Result<(), NotJson> {
        match self.peek() {
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => Err(NotJson),
        }
    }

    #[inline(always)]
    fn word(&mut self, word: &str) -> Result<(), NotJson> {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        if found { Ok(()) } else { Err(NotJson) }
    }

    #[inline(always)]
    fn digits(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at > start
    }

    #[inline(always)]
    fn number(&mut self) -> Result<(), NotJson> {
        self.eat(b'-');
        let mut good = self.eat(b'0') || self.digits();
        if self.eat(b'.') {
            good &= self.digits();
        }
        if self.peek() | 0x20 == b'e' {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            good &= self.digits();
        }
        if good { Ok(()) } else { Err(NotJson) }
    }

    /// Passes a value, whatever it is, `depth` containers deep.
    ///
    /// # Errors
    /// If it is not JSON, or too deep.
    pub fn skip(&mut self, depth: usize) -> Result<(), NotJson> {
        let mut open = Open::default();
        loop {
            match self.peek() {
                b'"' => {
                    self.string()?;
                }
                b'{' => {
                    if self.enter(b'}') {
                        open.push(true, depth)?;
                        self.name()?;
                        continue;
                    }
                    // Empty, and so as deep as it is.
                    open.check(depth)?;
                }
                b'[' => {
                    if self.enter(b']') {
                        open.push(false, depth)?;
                        continue;
                    }
                    open.check(depth)?;
                }
                _ => self.skip_bare()?,
            }
            loop {
                let Some(in_object) = open.innermost() else { return Ok(()) };
                let close = if in_object { b'}' } else { b']' };
                if self.another(close)? {
                    if in_object {
                        self.name()?;
                    }
                    break;
                }
                open.pop();
            }
        }
    }
}

/// Which containers are open: a bit for each, set for objects.
#[derive(Default)]
struct Open {
    /// The innermost 64, the innermost of all in the lowest bit.
    near: u64,
    /// The others, 64 in each, the outermost first.
    far: [u64; DEPTH_MAX.div_ceil(64)],
    depth: usize,
}

impl Open {
    #[inline(always)]
    fn check(&self, depth: usize) -> Result<(), NotJson> {
        if self.depth + depth < DEPTH_MAX { Ok(()) } else { Err(NotJson) }
    }

    #[inline(always)]
    fn push(&mut self, object: bool, depth: usize) -> Result<(), NotJson> {
        self.check(depth)?;
        if self.depth.is_multiple_of(64) {
            self.far[self.depth / 64] = self.near;
        }
        self.near = self.near << 1 | u64::from(object);
        self.depth += 1;
        Ok(())
    }

    #[inline(always)]
    fn pop(&mut self) {
        self.depth -= 1;
        self.near >>= 1;
        if self.depth.is_multiple_of(64) {
            self.near = self.far[self.depth / 64];
        }
    }

    #[inline(always)]
    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.near & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    /// What the most used parser says.
    fn is_json_for_serde(text: &str) -> bool {
        serde_json::from_str::<&RawValue>(text.trim_matches([' ', '\n', '\t', '\r'])).is_ok()
    }

    #[test]
    fn what_is_json_and_what_is_not() {
        let json = [
            "{}",
            "[]",
            " {\"a\" : [1 , 2.5e-3,-0, true,false,null ,\"\"] }\n",
            "0",
            "-0.0E+1",
            "\"\\ud800\"",
            "\"\\u00e9\\n\\/\\\"\"",
            "1e400",
            "123456789012345678901234567890",
            "\"\u{7f}é\u{10ffff}\"",
            "{\"a\":{\"a\":{}},\"a\":[]}",
            "[[],[[]],{}]",
        ];
        let not = [
            "",
            " ",
            "{",
            "}",
            "[",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{1:1}",
            "01",
            "-",
            "+1",
            ".5",
            "1.",
            "1e",
            "1e+",
            "tru",
            "truee",
            "nul",
            "NaN",
            "Infinity",
            "'a'",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u123",
            "\"a\nb\"",
            "\"\u{0}\"",
            "{} {}",
            "[1 2]",
            "[1}",
            "{\"a\":1]",
            "\u{feff}{}",
            "// c\n1",
            "{,}",
            "[,]",
            "{\"a\":1 \"b\":2}",
            "\u{a0}1",
            "1\u{0}",
            "plain text",
        ];
        for text in json {
            assert!(is_json(text) && is_json_for_serde(text), "{text:?}");
        }
        for text in not {
            assert!(!is_json(text) && !is_json_for_serde(text), "{text:?}");
        }
    }

    #[test]
    fn the_depth_is_limited_and_costs_no_stack() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(is_json(&nested(DEPTH_MAX)) && !is_json(&nested(DEPTH_MAX + 1)));
            assert!(!is_json(&nested(1_000_000)));
        }
        assert!(!is_json(&format!("{}{{}}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX))));
        let mixed = format!("{}{}", "[{\"a\":".repeat(400), "}]".repeat(400)).replace(":}", ":[]}");
        assert!(is_json(&mixed) && !is_json(&mixed.replace("[]}", "[]]")));
    }

    /// JSON and nearly JSON: values printed in several ways, then changed a little.
    fn nearly_json() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"b\\n\"",
            "\"",
            "\\",
            "1",
            "-",
            ".",
            "e",
            "0",
            "true",
            "null",
            " ",
            "\n",
            "\u{1}",
            "é",
            "\\u00e9",
            "\\ud83d\\ude00",
            "\"a long string of text that passes a chunk\"",
        ]);
        prop::collection::vec(pieces, 0..14).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn json_is_what_serde_json_takes_for_it(text in prop_oneof![nearly_json(), "\\PC{0,20}", crate::filter::samples::json_text()]) {
            prop_assert_eq!(is_json(&text), is_json_for_serde(&text), "{}", text);
        }

        #[test]
        fn a_change_of_one_byte_is_seen_as_serde_json_sees_it(
            text in crate::filter::samples::json_text(), at: prop::sample::Index, byte in 0..128_u8,
        ) {
            let mut bytes = text.into_bytes();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(text) = std::str::from_utf8(&bytes) {
                prop_assert_eq!(is_json(text), is_json_for_serde(text), "{}", text);
            }
        }

        #[test]
        fn escapes_are_resolved_as_serde_json_resolves_them(meant in "\\PC{0,20}", escape_all: bool) {
            let spelt = if escape_all {
                meant.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
            } else {
                let quoted = serde_json::to_string(&meant).unwrap();
                quoted[1..quoted.len() - 1].to_owned()
            };
            let mut room = "left over".to_owned();
            prop_assert_eq!(Spelt { text: &spelt, escaped: true }.resolve(&mut room), meant);
        }
    }
}
