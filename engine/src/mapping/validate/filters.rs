//! Filters: how many, and what each says.

use super::Check;
use crate::mapping::limits::{FILTERS_MAX, FILTERS_MAX_STRICT};
use crate::mapping::pattern::Pattern;
use crate::mapping::problem::Problem;
use crate::mapping::settings::{EngineSettings, MappingSettings};

impl Check<'_> {
    pub(super) fn filter_criteria(
        &mut self,
        given: &MappingSettings,
        engine: &EngineSettings,
    ) -> Vec<Pattern> {
        const PATH: &str = "filter_criteria";
        let strict = engine.strict.is_some_and(|on| on.0);
        let texts = given.filter_criteria.as_ref().map_or(&[][..], |patterns| patterns.0.as_slice());
        let (limit, whose) =
            if strict { (FILTERS_MAX_STRICT, " with engine.strict") } else { (FILTERS_MAX, "") };
        if texts.len() > limit {
            let found = format!("{} patterns", texts.len());
            let allowed = format!("at most {limit}{whose}");
            let remedy = "join some: values of one array are ORed, and so are the objects of a $or";
            self.problems.push(Problem::wrong(PATH, &found, allowed, remedy));
        }
        let mut patterns = Vec::with_capacity(texts.len());
        for (number, text) in (1..).zip(texts) {
            match Pattern::parse(text, strict) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.problems.extend(error.complaints().iter().map(|complaint| {
                    // The first word is the setting, by which its origin is found.
                    let field = format!("{PATH} pattern {number}");
                    let field =
                        if complaint.at.is_empty() { field } else { format!("{field} at {}", complaint.at) };
                    Problem::wrong(field, &complaint.found, &complaint.allowed, &complaint.remedy)
                })),
            }
        }
        patterns
    }
}
