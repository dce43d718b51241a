//! Text into [`Settings`]: TOML files, JSON, flags. All three become one table first, so that one
//! reader says what is wrong with any of them, and everything at once.

use toml::{Table, Value};

use super::limits::FILE_BYTES_MAX;
use super::problem::{MappingError, Problem};
use super::settings::{EngineSettings, MappingSettings, Settings, allowed};

impl Settings {
    /// Reads a TOML file's text.
    ///
    /// # Errors
    /// If it is not TOML, or some of its settings are unknown or of the wrong kind: all of them.
    pub fn from_toml(text: &str) -> Result<Self, MappingError> {
        Self::from_table(&toml_table(text)?)
    }

    /// Reads a JSON object with the same names.
    ///
    /// # Errors
    /// As [`Settings::from_toml`].
    pub fn from_json(text: &str) -> Result<Self, MappingError> {
        check_length(text)?;
        let not_json =
            |found: &str| Problem::wrong("json", found, "a JSON object", "correct it at that place");
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| not_json(&error.to_string()))?;
        match from_json(value) {
            Some(Value::Table(table)) => Self::from_table(&table),
            _ => Err(not_json("something else").into()),
        }
    }

    /// Reads a table: a file's, an object's, or one made of flags (whose values are texts).
    ///
    /// # Errors
    /// If some of its settings are unknown or of the wrong kind: all of them.
    pub fn from_table(table: &Table) -> Result<Self, MappingError> {
        let (settings, problems) = Self::read_table(table);
        MappingError::unless_empty(problems).map(|()| settings)
    }

    /// What can be read of a table, and what is wrong with the rest.
    pub(super) fn read_table(table: &Table) -> (Self, Vec<Problem>) {
        let mut settings = Self::default();
        let mut problems = Vec::new();
        for (name, value) in table {
            if name != "engine" {
                let canonical = canonical(name);
                if canonical != name && table.contains_key(canonical) {
                    let remedy = format!("remove one of {name} and {canonical}");
                    problems.push(Problem::wrong(name, "a second name", "each setting once", remedy));
                    continue;
                }
                let read = settings.mapping.read(canonical, value);
                problems.extend(complaint(canonical.to_owned(), value, read));
                continue;
            }
            let Value::Table(engine) = value else {
                let remedy = "write [engine] on a line of its own and its settings below";
                problems.push(Problem::wrong("engine", &value, "a table", remedy));
                continue;
            };
            for (name, value) in engine {
                let read = settings.engine.read(name, value);
                problems.extend(complaint(format!("engine.{name}"), value, read));
            }
        }
        (settings, problems)
    }
}

/// A TOML file's text as a table.
pub(super) fn toml_table(text: &str) -> Result<Table, Problem> {
    check_length(text)?;
    text.parse::<Table>().map_err(|error| {
        let remedy = "write `name = value` lines and the tables [engine] and [[source_access]]";
        let mut problem = Problem::wrong("file", "", "TOML 1.0", remedy);
        // Its lines point at the place; in one line they would not.
        let text: String = error.to_string().chars().filter(|c| *c == '\n' || !c.is_control()).collect();
        problem.found = Some(format!("\n{}\n", text.trim()));
        problem
    })
}

fn check_length(text: &str) -> Result<(), Problem> {
    if text.len() as u64 <= FILE_BYTES_MAX {
        return Ok(());
    }
    let found = format!("{} bytes", text.len());
    Err(Problem::wrong("file", &found, format!("at most {FILE_BYTES_MAX} bytes"), "is this the right file?"))
}

/// JSON's values as TOML's. A null means "not given"; a number that TOML cannot hold stays text.
fn from_json(value: serde_json::Value) -> Option<Value> {
    use serde_json::Value as Json;
    Some(match value {
        Json::Null => return None,
        Json::Bool(on) => Value::Boolean(on),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Integer(whole),
            (None, Some(float)) => Value::Float(float),
            (None, None) => Value::String(number.to_string()),
        },
        Json::String(text) => Value::String(text),
        Json::Array(items) => Value::Array(items.into_iter().filter_map(from_json).collect()),
        Json::Object(object) => Value::Table(
            object.into_iter().filter_map(|(name, value)| Some((name, from_json(value)?))).collect(),
        ),
    })
}

/// What to say about a setting that was read with this result.
fn complaint(path: String, value: &Value, read: Option<bool>) -> Option<Problem> {
    match read {
        Some(true) => None,
        Some(false) => {
            let allowed = allowed(&path);
            Some(Problem::wrong(path, value, allowed, "write a value of that kind"))
        }
        None => Some(unknown(path)),
    }
}

/// The name of the setting that is also called `name`: AWS's, where its unit is part of it.
fn canonical(name: &str) -> &str {
    match name {
        "maximum_record_age_in_seconds" => "maximum_record_age",
        _ => name,
    }
}

/// AWS's settings for Kafka that this version does not know what to do with.
const NOT_YET: [&str; 7] = [
    "enabled",
    "provisioned_poller_config",
    "metrics_config",
    "logging_config",
    "schema_registry_config",
    "kms_key_arn",
    "tags",
];

fn unknown(path: String) -> Problem {
    let (table, name) = path.rsplit_once('.').map_or(("", path.as_str()), |(table, name)| (table, name));
    let wanted = simplified(name);
    if let Some(later) = NOT_YET.iter().find(|later| simplified(later) == wanted) {
        let allowed = "the settings of this version";
        let remedy = format!("AWS has {later}, Pelton does not support it yet: remove it");
        return Problem::wrong(path, "a setting of AWS's", allowed, remedy);
    }
    let remedy = nearest(table, &wanted).map_or_else(
        || "remove it, or see `pelton run --help` for all names".to_owned(),
        |path| format!("did you mean {path}?"),
    );
    Problem::wrong(path, "an unknown setting", "the settings of this version", remedy)
}

/// A name without what people vary: case, separators, AWS's unit.
fn simplified(name: &str) -> String {
    let letters: String =
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(64).collect();
    letters.strip_suffix("inseconds").map_or(letters.clone(), str::to_owned)
}

/// The setting whose name is most like `wanted`, where it should stand.
fn nearest(table: &str, wanted: &str) -> Option<String> {
    let candidates = Settings::list().map(|(path, setting)| (path, simplified(setting.name)));
    let scored = candidates.filter_map(|(path, name)| {
        let close = distance(&name, wanted);
        let extends = wanted.len() >= 4 && (name.starts_with(wanted) || wanted.starts_with(&name));
        let elsewhere = path.starts_with("engine.") != (table == "engine");
        let likely = close <= wanted.len().max(3) / 3 || extends;
        likely.then_some(((close, elsewhere), path))
    });
    scored.min().map(|(_, path)| match path.strip_prefix("engine.") {
        Some(name) if table != "engine" => format!("{name} in the table [engine]"),
        Some(name) => name.to_owned(),
        None if table == "engine" => format!("{path} above the table [engine]"),
        None => path,
    })
}

/// How many letters must be put in, taken out or changed to turn `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

const _: () = assert!(
    MappingSettings::LIST.len() + EngineSettings::LIST.len() < 64,
    "the help still fits a page or two"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::value::{Access, Names, Size, Span, Whole};
    use proptest::prelude::*;
    use std::time::Duration;

    fn problems(text: &str) -> String {
        Settings::from_toml(text).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_file_reads_into_settings() {
        let text = r#"
            topics = ["orders"]
            bootstrap_servers = "a:1, b:2"
            batch_size = 1_000
            maximum_batching_window = "2s"
            [[source_access]]
            type = "SASL_SCRAM_512_AUTH"
            uri = "env:SECRET"
            [engine]
            memory_budget = "64MiB"
            [engine.librdkafka]
            fetch.wait.max.ms = 50
            "client.rack" = "a"
        "#;
        let Settings { mapping, engine } = Settings::from_toml(text).expect("valid");
        assert_eq!(mapping.bootstrap_servers, Some(Names(vec!["a:1".into(), "b:2".into()])));
        assert_eq!(mapping.batch_size, Some(Whole(1_000)));
        assert_eq!(mapping.maximum_batching_window, Some(Span(Duration::from_secs(2))));
        assert_eq!(engine.memory_budget, Some(Size(64 << 20)));
        let access = mapping.source_access.expect("given").0;
        assert_eq!(access, [Access { kind: "SASL_SCRAM_512_AUTH".into(), uri: Some("env:SECRET".into()) }]);
        let librdkafka = engine.librdkafka.expect("given").to_string();
        assert_eq!(librdkafka, "client.rack=a, fetch.wait.max.ms=50");
    }

    #[test]
    fn json_and_toml_with_the_same_names_mean_the_same() {
        let json = r#"{"topics":["t"],"batch_size":7,"region":null,"engine":{"threads":2,"tls":true}}"#;
        let toml = "topics=['t']\nbatch_size=7\n[engine]\nthreads=2\ntls=true";
        assert_eq!(Settings::from_json(json), Settings::from_toml(toml));
    }

    #[test]
    fn all_unknown_and_misspelt_settings_are_named_at_once_with_the_likely_name() {
        let text = "BatchSize = 5\nbatch_sise = 5\nfunction_name = 'f'\nthreads = 2\nwhatever_else = 1\n\
                    MaximumBatchingWindowInSeconds = 3\nmetrics_config = {}\n[engine]\npoller = 3\ntopics = 't'";
        let problems = problems(text);
        for expected in [
            "BatchSize: found an unknown setting; allowed: the settings of this version; did you mean batch_size?",
            "batch_sise: found an unknown setting; allowed: the settings of this version; did you mean batch_size?",
            "function_name: found an unknown setting; allowed: the settings of this version; did you mean function?",
            "did you mean threads in the table [engine]?",
            "whatever_else: found an unknown setting; allowed: the settings of this version; remove it",
            "did you mean maximum_batching_window?",
            "AWS has metrics_config, Pelton does not support it yet",
            "engine.poller: found an unknown setting; allowed: the settings of this version; did you mean pollers?",
            "did you mean topics above the table [engine]?",
        ] {
            assert!(problems.contains(expected), "{expected}\n---\n{problems}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_says_what_kind_is_right() {
        let problems = problems("batch_size = 'many'\nmaximum_batching_window = '2 fortnights'\nengine = 3");
        assert!(
            problems.contains("batch_size: found \"many\"; allowed: 1 to 10000 records; default 100"),
            "{problems}"
        );
        assert!(problems.contains("maximum_batching_window: found \"2 fortnights\""), "{problems}");
        assert!(problems.contains("engine: found 3; allowed: a table"), "{problems}");
    }

    #[test]
    fn broken_toml_and_json_say_where() {
        assert!(problems("batch_size = ").contains("line 1"));
        let error = Settings::from_json("{\"a\":").expect_err("broken").to_string();
        assert!(error.contains("line 1"), "{error}");
        assert!(Settings::from_json("[]").is_err());
        assert!(Settings::from_toml(&"#".repeat(2 << 20)).is_err(), "a file has a limit");
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = Settings::from_toml("batch_size = '5'").expect("valid");
        let file = Settings::from_toml("batch_size = 6\nregion = 'r'\n[engine]\nthreads = 3").expect("valid");
        let both = flags.or(file);
        assert_eq!(both.show("batch_size").as_deref(), Some("5"));
        assert_eq!(both.show("region").as_deref(), Some("r"));
        assert_eq!(both.show("engine.threads").as_deref(), Some("3"));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::Boolean),
            any::<i64>().prop_map(Value::Integer),
            any::<f64>().prop_map(Value::Float),
            ".{0,20}".prop_map(Value::String),
            "-?[0-9_.]{0,12}(ms|s|m|min|h|KiB|MiB|GiB|B)?".prop_map(Value::String),
            "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{4,12}[Z+-]?[0-9:]{0,5}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[a-z.]{0,6}|type|uri", inner, 0..4)
                    .prop_map(|table| Value::Table(table.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "(?s).{0,200}") {
            let _ = Settings::from_toml(&text);
            let _ = Settings::from_json(&text);
        }

        #[test]
        fn no_value_makes_a_setting_panic_and_what_is_shown_is_read_again(value in any_value()) {
            for (path, setting) in Settings::list() {
                let nest = |value: Value| {
                    let table = Table::from_iter([(setting.name.to_owned(), value)]);
                    if path.starts_with("engine.") {
                        Table::from_iter([("engine".to_owned(), Value::Table(table))])
                    } else {
                        table
                    }
                };
                let Ok(settings) = Settings::from_table(&nest(value.clone())) else { continue };
                let shown = settings.show(&path).expect("just read");
                let composed = ["source_access", "engine.librdkafka"].contains(&path.as_str());
                if !composed {
                    let again = Settings::from_table(&nest(Value::String(shown.clone())));
                    prop_assert_eq!(again.ok().and_then(|again| again.show(&path)), Some(shown));
                }
            }
        }

        #[test]
        fn distance_is_a_distance(a in "[a-c]{0,6}", b in "[a-c]{0,6}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
        }
    }
}
