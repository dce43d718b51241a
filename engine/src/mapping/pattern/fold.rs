//! Text whose case does not matter, as event-ruler has it: each character of the pattern stands
//! for its lower and its upper form, and for nothing else (`ß` for `ß` and `SS`).

/// A text of a pattern, to be compared without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    text: String,
    /// The forms of each character, unless all are ASCII.
    forms: Option<Vec<Form>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Form {
    lower: String,
    upper: String,
}

impl Folded {
    /// `text`, whatever its case.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let form = |c: char| Form { lower: c.to_lowercase().collect(), upper: c.to_uppercase().collect() };
        let forms = (!text.is_ascii()).then(|| text.chars().map(form).collect());
        Self { text: text.to_owned(), forms }
    }

    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `other` is this text.
    #[must_use]
    pub fn equals(&self, other: &str) -> bool {
        self.after_prefix(other) == Some("")
    }

    /// Whether `other` begins with this text.
    #[must_use]
    pub fn is_prefix_of(&self, other: &str) -> bool {
        self.after_prefix(other).is_some()
    }

    /// Whether `other` ends with this text.
    #[must_use]
    pub fn is_suffix_of(&self, other: &str) -> bool {
        let Some(forms) = &self.forms else {
            let (text, other) = (self.text.as_bytes(), other.as_bytes());
            return other.len() >= text.len() && other[other.len() - text.len()..].eq_ignore_ascii_case(text);
        };
        let mut rest = other;
        for Form { lower, upper } in forms.iter().rev() {
            let Some(shorter) =
                rest.strip_suffix(lower.as_str()).or_else(|| rest.strip_suffix(upper.as_str()))
            else {
                return false;
            };
            rest = shorter;
        }
        true
    }

    fn after_prefix<'o>(&self, other: &'o str) -> Option<&'o str> {
        let Some(forms) = &self.forms else {
            let (first, rest) = other.split_at_checked(self.text.len())?;
            return first.eq_ignore_ascii_case(&self.text).then_some(rest);
        };
        forms.iter().try_fold(other, |rest, Form { lower, upper }| {
            rest.strip_prefix(lower.as_str()).or_else(|| rest.strip_prefix(upper.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter_and_all_else_does() {
        let ascii = Folded::new("Alice");
        assert!(ascii.equals("aLICE") && !ascii.equals("Alic") && !ascii.equals("Alicee"));
        assert!(ascii.is_prefix_of("ALICEx") && ascii.is_suffix_of("xalice") && !ascii.is_suffix_of("lice"));
        let beyond = Folded::new("Größe");
        assert!(beyond.equals("GRÖSSE") && beyond.equals("größe") && !beyond.equals("grosse"));
        assert!(beyond.is_prefix_of("GRÖßEN") && beyond.is_suffix_of("xGRÖSSE"));
        assert!(!Folded::new("k").equals("\u{212a}"), "the Kelvin sign is no form of k");
        assert!(
            Folded::new("").is_prefix_of("") && Folded::new("").equals("") && !Folded::new("").equals("x")
        );
        assert!(!Folded::new("a").equals("é"), "a split within a character");
    }
}
