//! The one notation of every law: `name` or `name(argument, name=argument)`.

use std::str::FromStr;

/// Why a law's text was refused: what was asked for, what was found, what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not {what}; {remedy}")]
pub struct LawError {
    what: &'static str,
    found: String,
    remedy: String,
}

impl LawError {
    pub(crate) fn new(what: &'static str, found: &str, remedy: &str) -> Self {
        Self { what, found: found.to_owned(), remedy: remedy.to_owned() }
    }
}

/// A law's text, taken apart: its name and its arguments.
pub(crate) struct Call<'t> {
    text: &'t str,
    what: &'static str,
    remedy: &'static str,
    pub(crate) name: &'t str,
    arguments: Vec<(Option<&'t str>, &'t str)>,
}

impl<'t> Call<'t> {
    /// Takes `text` apart. `what` and `remedy` go into the errors: "a size law", "write fixed(1KiB)".
    pub(crate) fn parse(text: &'t str, what: &'static str, remedy: &'static str) -> Result<Self, LawError> {
        let wrong = || LawError::new(what, text, remedy);
        let trimmed = text.trim();
        let (name, arguments) = match trimmed.split_once('(') {
            None => (trimmed, ""),
            Some((name, rest)) => (name.trim_end(), rest.strip_suffix(')').ok_or_else(wrong)?.trim()),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(wrong());
        }
        let arguments = if arguments.is_empty() {
            Vec::new()
        } else {
            arguments
                .split(',')
                .map(|argument| match argument.split_once('=') {
                    None => (None, argument.trim()),
                    Some((name, value)) => (Some(name.trim()), value.trim()),
                })
                .collect()
        };
        Ok(Self { text, what, remedy, name, arguments })
    }

    /// The error that refuses this text.
    pub(crate) fn wrong(&self) -> LawError {
        LawError::new(self.what, self.text, self.remedy)
    }

    /// Takes out the argument that is called `name`, or else the first without a name.
    pub(crate) fn take<T: FromStr>(&mut self, name: &str) -> Result<T, LawError> {
        self.take_if_given(name)?.ok_or_else(|| self.wrong())
    }

    /// As [`Self::take`], where the argument may be left out.
    pub(crate) fn take_if_given<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, LawError> {
        let at = self
            .arguments
            .iter()
            .position(|argument| argument.0 == Some(name))
            .or_else(|| self.arguments.iter().position(|argument| argument.0.is_none()));
        let Some(at) = at else { return Ok(None) };
        let (_, value) = self.arguments.remove(at);
        value.parse().map(Some).map_err(|_| self.wrong())
    }

    /// As [`Self::take_if_given`], by name only.
    pub(crate) fn take_named<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, LawError> {
        let Some(at) = self.arguments.iter().position(|argument| argument.0 == Some(name)) else {
            return Ok(None);
        };
        let (_, value) = self.arguments.remove(at);
        value.parse().map(Some).map_err(|_| self.wrong())
    }

    /// `law`, if every argument was taken.
    pub(crate) fn finish<T>(&self, law: T) -> Result<T, LawError> {
        if self.arguments.is_empty() { Ok(law) } else { Err(self.wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(text: &str) -> Result<(u32, Option<u32>), LawError> {
        let mut call = Call::parse(text, "a pair", "write pair(1, b=2)")?;
        let pair = (call.take("a")?, call.take_if_given("b")?);
        call.finish(pair)
    }

    #[test]
    fn arguments_go_by_name_or_by_place() {
        for text in ["pair(1, 2)", "pair(a=1, b=2)", " pair ( b = 2 , 1 ) ", "pair(b=2,a=1)"] {
            assert_eq!(two(text), Ok((1, Some(2))), "{text}");
        }
        assert_eq!(two("pair(1)"), Ok((1, None)));
    }

    #[test]
    fn a_wrong_text_names_itself_and_the_remedy() {
        for text in ["pair", "pair()", "pair(1", "pair(x)", "pair(1,2,3)", "pair(1, c=2, 3)", "(1)", "a b(1)"]
        {
            let error = two(text).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("write pair(1, b=2)"), "{error}");
        }
    }
}
