//! Text with `*` in it.

/// A text in which `*` stands for any text, also for none. `\*` and `\\` are themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard {
    /// What stands before, between and after the asterisks: one more than there are of them.
    pieces: Vec<String>,
}

impl Wildcard {
    /// Reads a text with asterisks.
    ///
    /// # Errors
    /// If two asterisks follow each other, or a backslash stands before anything else: which.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut pieces = vec![String::new()];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let piece = match c {
                '*' if chars.peek() == Some(&'*') => return Err("two asterisks in a row"),
                '*' => {
                    pieces.push(String::new());
                    continue;
                }
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '\\')) => escaped,
                    _ => return Err("a backslash before something else than * or \\"),
                },
                other => other,
            };
            if let Some(last) = pieces.last_mut() {
                last.push(piece);
            }
        }
        Ok(Self { pieces })
    }

    /// What stands before, between and after the asterisks.
    #[must_use]
    pub fn pieces(&self) -> &[String] {
        &self.pieces
    }

    /// Whether `text` is like that. Takes the leftmost place for each piece, so never goes back.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (first, rest) = match self.pieces.as_slice() {
            [only] => return only == text,
            [first, rest @ ..] => (first, rest),
            [] => return false,
        };
        let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
        let Some((last, between)) = rest.split_last() else { return false };
        for piece in between {
            let Some(at) = text.find(piece.as_str()) else { return false };
            text = &text[at + piece.len()..];
        }
        text.ends_with(last.as_str())
    }
}

/// As a pattern spells it.
impl std::fmt::Display for Wildcard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, piece) in self.pieces.iter().enumerate() {
            let escaped = piece.replace('\\', "\\\\").replace('*', "\\*");
            write!(f, "{}{escaped}", if at == 0 { "" } else { "*" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_asterisk_is_any_text() {
        for (pattern, yes, no) in [
            ("a*c", &["ac", "abc", "a*c", "acc"][..], &["a", "c", "abcd", "xac"][..]),
            ("*", &["", "x"], &[]),
            ("*.jar", &[".jar", "a.jar"], &["jar", "a.jar "]),
            ("a*b*c", &["abc", "aXbYc", "abbc"], &["acb", "ab"]),
            (r"a\*b", &["a*b"], &["aXb", r"a\*b"]),
            (r"a\\*", &[r"a\", r"a\x"], &["a"]),
            ("*ab", &["aab", "abab"], &["aba"]),
            ("a*a", &["aa", "aaa"], &["a"]),
        ] {
            let wildcard = Wildcard::parse(pattern).expect(pattern);
            assert!(yes.iter().all(|text| wildcard.matches(text)), "{pattern}");
            assert!(!no.iter().any(|text| wildcard.matches(text)), "{pattern}");
        }
        for wrong in ["a**", r"a\b", "a\\"] {
            assert!(Wildcard::parse(wrong).is_err(), "{wrong}");
        }
    }

    /// The rule itself, slowly.
    fn slowly(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=text.len()).any(|skipped| slowly(rest, &text[skipped..])),
            ([p, pattern @ ..], [t, text @ ..]) => p == t && slowly(pattern, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_the_rule_says(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let Ok(wildcard) = Wildcard::parse(&pattern) else { return Ok(()) };
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(wildcard.matches(&text), slowly(&chars(&pattern), &chars(&text)));
        }
    }
}
