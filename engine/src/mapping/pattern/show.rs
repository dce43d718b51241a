//! Tests as a pattern writes them.

use std::fmt;

use super::{AddressRange, Condition, Range, Test};

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => quoted(f, text),
            Self::Address(range) => write!(f, "an address in {range}"),
            Self::Number(number) => f.write_str(&number.text),
            Self::Word(word) => f.write_str(word.as_str()),
            Self::Present => f.write_str("{\"exists\":true}"),
            Self::Prefix(text) => operator(f, "prefix", text),
            Self::PrefixFolded(text) => nested(f, "prefix", text.as_str()),
            Self::Suffix(text) => operator(f, "suffix", text),
            Self::SuffixFolded(text) => nested(f, "suffix", text.as_str()),
            Self::Folded(text) => operator(f, "equals-ignore-case", text.as_str()),
            Self::Wildcard(wildcard) => operator(f, "wildcard", &wildcard.to_string()),
            Self::Range(range) => write!(f, "{{\"numeric\":[{range}]}}"),
            Self::AnythingBut(tests) => {
                f.write_str("anything but ")?;
                listed(f, tests)
            }
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (bound, sign) in [(self.low, '>'), (self.high, '<')] {
            if let Some((number, included)) = bound {
                write!(f, "{comma}\"{sign}{}\",{number}", if included { "=" } else { "" })?;
                comma = ",";
            }
        }
        Ok(())
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.ends();
        if first == last { write!(f, "{first}") } else { write!(f, "{first} to {last}") }
    }
}

impl Condition {
    /// The tests as a pattern writes them, with commas.
    #[must_use]
    pub fn wanted(&self) -> String {
        let absent = self.may_be_absent.then(|| "{\"exists\":false}".to_owned());
        self.tests.iter().map(ToString::to_string).chain(absent).collect::<Vec<_>>().join(", ")
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}

fn operator(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    write!(f, "{{\"{name}\":")?;
    quoted(f, text)?;
    f.write_str("}")
}

fn nested(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    write!(f, "{{\"{name}\":")?;
    operator(f, "equals-ignore-case", text)?;
    f.write_str("}")
}

fn listed(f: &mut fmt::Formatter<'_>, tests: &[Test]) -> fmt::Result {
    for (at, test) in tests.iter().enumerate() {
        write!(f, "{}{test}", if at == 0 { "" } else { ", " })?;
    }
    Ok(())
}
