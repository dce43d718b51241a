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

#[cfg(test)]
mod tests {
    use super::super::fixture::{mapping, problems};
    use crate::mapping::{Nothing, Origins, Pattern, Settings};

    #[test]
    fn filters_are_given_as_texts_or_as_aws_s_shape() {
        let (one, two) = (r#"{"value":{"a":["x"]}}"#, r#"{"key":["k"]}"#);
        for toml in [
            format!("filter_criteria = ['{one}', '{two}']"),
            format!("filter_criteria = [{{ pattern = '{one}' }}, {{ Pattern = '{two}' }}]"),
            format!("filter_criteria = {{ Filters = [{{ Pattern = '{one}' }}, {{ Pattern = '{two}' }}] }}"),
            format!(
                "filter_criteria = '[\"{}\", \"{}\"]'",
                one.replace('"', r#"\""#),
                two.replace('"', r#"\""#)
            ),
        ] {
            let patterns = mapping(&toml).filter_criteria;
            assert_eq!(patterns.iter().map(Pattern::as_str).collect::<Vec<_>>(), [one, two], "{toml}");
        }
        let json = format!(r#"{{"filter_criteria":{{"Filters":[{{"Pattern":{one:?}}}]}}}}"#);
        assert_eq!(Settings::from_json(&json).expect("valid").show("filter_criteria").as_deref(), Some(one));
        for none in [
            "",
            "filter_criteria = []",
            "filter_criteria = {}",
            "filter_criteria = { Filters = [] }",
            "filter_criteria = 'none'",
        ] {
            assert!(mapping(none).filter_criteria.is_empty(), "{none}");
        }
        for wrong in [
            "5",
            "{ Patterns = [] }",
            "[5]",
            "[{ Pattern = 5 }]",
            "[{ Pattern = '{}', x = 1 }]",
            "{ Filters = 5 }",
        ] {
            let said = problems(&format!("filter_criteria = {wrong}"));
            assert!(said.contains("allowed: at most 10 JSON patterns"), "{wrong}: {said}");
        }
    }

    #[test]
    fn everything_that_is_wrong_with_filters_is_said_at_once() {
        let toml = r#"filter_criteria = ['{"value":{"a":[]}}', '{"value":["x"]}', 'null', '{"value":{"b":[{"prefx":"y"}],"c":1}}']"#;
        let said = problems(toml);
        for expected in [
            "4 problems in the mapping",
            "filter_criteria pattern 1 at value.a: found an empty array; allowed: at least one value",
            "filter_criteria pattern 3: found null; allowed: a JSON object",
            "filter_criteria pattern 4 at value.b: found the operator prefx; allowed: equals-ignore-case, ",
            "filter_criteria pattern 4 at value.c: found 1; allowed: an object of fields, or an array of values",
        ] {
            assert!(said.contains(expected), "{expected}\n---\n{said}");
        }
        let many =
            |count: usize| format!("filter_criteria = [{}]", vec![r#"'{"value":["x"]}'"#; count].join(","));
        assert_eq!(mapping(&many(10)).filter_criteria.len(), 10);
        assert!(problems(&many(11)).contains("filter_criteria: found 11 patterns; allowed: at most 10;"));
        let strict = |toml: &str| format!("{toml}\n[engine]\nstrict = true");
        assert_eq!(mapping(&strict(&many(5))).filter_criteria.len(), 5);
        let said = problems(&strict(&many(6)));
        assert!(said.contains("found 6 patterns; allowed: at most 5 with engine.strict;"), "{said}");
        let said = problems(&strict(r#"filter_criteria = '{"key":["x"]}'"#));
        assert!(said.contains("filter_criteria pattern 1 at key: found an unknown part"), "{said}");
        let mut origins = Origins::default();
        origins.add_flags(&"filter_criteria = ['{}']".parse().expect("TOML"));
        let error = origins.filters(&Nothing).expect_err("an empty object").to_string();
        assert!(
            error.contains("filter_criteria pattern 1 (flag --filter-criteria): found an empty object"),
            "{error}"
        );
    }
}
