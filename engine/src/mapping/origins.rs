//! The layers that a mapping is made of, flags over a file over defaults, and who said what.

use std::fmt;

use toml::Table;

use super::parse::toml_table;
use super::problem::{MappingError, Problem};
use super::settings::Settings;
use super::{Mapping, Pattern, Surroundings};
use crate::ids::Topic;

/// Who said what a setting is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag.
    Flag,
    /// A file, by name.
    File(String),
    /// Something else than the default, in words.
    Derived(String),
    /// Nobody.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::File(name) => f.write_str(name),
            Self::Derived(words) => f.write_str(words),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The layers that settings are merged from, and what could not be read of them.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    flags: Settings,
    file: Option<(String, Settings)>,
    problems: Vec<Problem>,
}

impl Origins {
    /// Adds what flags say: a table like a file's, whose values are texts.
    pub fn add_flags(&mut self, table: &Table) {
        let (settings, problems) = Settings::read_table(table);
        self.flags = settings;
        self.problems.extend(problems.into_iter().map(|problem| located(problem, Some(Origin::Flag))));
    }

    /// Adds what the file called `name` says.
    pub fn add_file(&mut self, name: &str, text: &str) {
        let (settings, problems) = match toml_table(text) {
            Ok(table) => Settings::read_table(&table),
            Err(problem) => (Settings::default(), vec![problem]),
        };
        let origin = Origin::File(name.to_owned());
        self.problems.extend(problems.into_iter().map(|problem| located(problem, Some(origin.clone()))));
        self.file = Some((name.to_owned(), settings));
    }

    /// Who gave the setting at `path`, if anybody did.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<Origin> {
        if self.flags.show(path).is_some() {
            return Some(Origin::Flag);
        }
        let (name, settings) = self.file.as_ref()?;
        settings.show(path).map(|_| Origin::File(name.clone()))
    }

    /// What all layers say: flags over the file.
    #[must_use]
    pub fn merged(&self) -> Settings {
        let file = self.file.as_ref().map(|(_, settings)| settings.clone()).unwrap_or_default();
        self.flags.clone().or(file)
    }

    /// The filters alone, and the topic that records are of unless they say so themselves: nothing else
    /// need be given.
    ///
    /// # Errors
    /// If something could not be read, or a pattern is wrong: all of it, each with who said so.
    pub fn filters(&self, surroundings: &dyn Surroundings) -> Result<(Vec<Pattern>, Topic), MappingError> {
        let merged = self.merged();
        let (patterns, problems) = merged.filters(surroundings);
        let origin = self.of("filter_criteria");
        let wrong = problems.into_iter().map(|problem| located(problem, origin.clone()));
        MappingError::unless_empty(self.problems.iter().cloned().chain(wrong).collect())?;
        let topics = merged.mapping.topics.map_or_else(Vec::new, |names| names.0);
        Ok((patterns, Topic::new(topics.first().map_or("topic", String::as_str))))
    }

    /// The mapping that the layers make; see [`Settings::validate`].
    ///
    /// # Errors
    /// If anything could not be read or is wrong: all of it, each with who said so.
    pub fn validate(&self, surroundings: &dyn Surroundings) -> Result<Mapping, MappingError> {
        let mut problems = self.problems.clone();
        let result = self.merged().validate(surroundings);
        if let Err(error) = &result {
            // What could not be read looks as if it were missing: say it once. And a file that is
            // no TOML says nothing at all.
            let unreadable = problems.iter().any(|problem| problem.field == "file");
            let said = |new: &&Problem| unreadable || self.problems.iter().any(|old| old.field == new.field);
            let new = error.problems().iter().filter(|problem| !said(problem)).cloned();
            problems.extend(new.map(|problem| {
                // `source_access BASIC_AUTH uri` and `engine.librdkafka.group.id` belong to settings too.
                let path = problem.field.split(' ').next().unwrap_or_default();
                let path = if path.starts_with("engine.librdkafka.") { "engine.librdkafka" } else { path };
                let origin = self.of(path);
                located(problem, origin)
            }));
        }
        MappingError::unless_empty(problems)?;
        result
    }
}

fn located(mut problem: Problem, origin: Option<Origin>) -> Problem {
    problem.origin = origin.map(|origin| match origin {
        Origin::Flag => {
            let name = problem.field.split(' ').next().unwrap_or_default().trim_start_matches("engine.");
            let name = if name.starts_with("librdkafka.") { "librdkafka" } else { name };
            format!("flag --{}", name.replace('_', "-"))
        }
        other => other.to_string(),
    });
    problem
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Nothing;

    #[test]
    fn problems_of_all_layers_are_said_at_once_with_who_said_so() {
        let mut origins = Origins::default();
        let flags = "batch_size = 'many'\nsource_access = 'BASIC_AUTH=x'\n[engine]\nthreads = '65'\nlibrdkafka = 'group.id=g'";
        origins.add_flags(&flags.parse().expect("TOML"));
        origins.add_file("pelton.toml", "topic = 't'\nbatch_size = 5\nregion = '!'\n[engine]\nthreads = 2");
        let text = origins.validate(&Nothing).expect_err("much is wrong").to_string();
        for expected in [
            "batch_size (flag --batch-size): found \"many\"",
            "topic (pelton.toml): found an unknown setting; allowed: the settings of this version; did you mean topics?",
            "topics: not given",
            "bootstrap_servers: not given",
            "region (pelton.toml): found \"!\"",
            "source_access BASIC_AUTH uri (flag --source-access): found x",
            "engine.threads (flag --threads): found 65",
            "engine.librdkafka.group.id (flag --librdkafka): found g",
        ] {
            assert!(text.contains(expected), "{expected}\n---\n{text}");
        }
        assert_eq!(text.matches("batch_size").count(), 1, "{text}");
    }

    #[test]
    fn a_file_that_is_no_toml_is_the_only_problem() {
        let mut origins = Origins::default();
        origins.add_file("pelton.toml", "batch_size = \n");
        let error = origins.validate(&Nothing).expect_err("broken");
        assert_eq!(error.problems().len(), 1);
        let text = error.to_string();
        assert!(text.contains("file (pelton.toml): found \nTOML parse error at line 1"), "{text}");
    }
}
