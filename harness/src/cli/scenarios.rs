//! The scenarios that come with the harness.

use std::fmt::Write;
use std::path::Path;

use crate::workload::spec::{Spec, SpecError};

/// Name and text of each.
const SCENARIOS: [(&str, &str); 13] = [
    ("demo", include_str!("../../scenarios/demo.toml")),
    ("throughput", include_str!("../../scenarios/throughput.toml")),
    ("small", include_str!("../../scenarios/small.toml")),
    ("large", include_str!("../../scenarios/large.toml")),
    ("latency", include_str!("../../scenarios/latency.toml")),
    ("overlap", include_str!("../../scenarios/overlap.toml")),
    ("faults", include_str!("../../scenarios/faults.toml")),
    ("telemetry", include_str!("../../scenarios/telemetry.toml")),
    ("clicks", include_str!("../../scenarios/clicks.toml")),
    ("documents", include_str!("../../scenarios/documents.toml")),
    ("cdc", include_str!("../../scenarios/cdc.toml")),
    ("skew", include_str!("../../scenarios/skew.toml")),
    ("backlog", include_str!("../../scenarios/backlog.toml")),
];

/// Finds a scenario by its name, or reads it from a file.
///
/// # Errors
/// If there is neither, or the file cannot be read.
pub fn find(name: &str) -> Result<Spec, SpecError> {
    if let Some((_, text)) = SCENARIOS.iter().find(|(known, _)| *known == name) {
        return Spec::from_toml(text, name);
    }
    let text = std::fs::read_to_string(Path::new(name)).map_err(|error| {
        let known: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        SpecError::File {
            origin: name.to_owned(),
            reason: format!("{error}; give a TOML file, or one of {}", known.join(", ")),
        }
    })?;
    let mut spec = Spec::from_toml(&text, name)?;
    spec.replay = spec.replay.map(|replay| match Path::new(name).parent() {
        // An absolute path stays as it is.
        Some(directory) => directory.join(replay),
        None => replay,
    });
    Ok(spec)
}

/// One line for each.
#[must_use]
pub fn list() -> String {
    let mut text = String::new();
    for (name, toml) in SCENARIOS {
        let about = Spec::from_toml(toml, name).ok().and_then(|spec| spec.about).unwrap_or_default();
        let _ = writeln!(text, "{name:<12}{about}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_be_run_and_says_what_it_teaches() {
        for (name, _) in SCENARIOS {
            let spec = find(name).unwrap();
            spec.resolve().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(spec.about.is_some_and(|about| !about.is_empty()), "{name}");
        }
    }

    #[test]
    fn the_readme_has_a_line_for_every_scenario() {
        let readme = include_str!("../../../README.md");
        for (name, _) in SCENARIOS {
            assert!(readme.contains(&format!("\n| `{name}` | ")), "{name}");
        }
    }

    #[test]
    fn an_unknown_scenario_names_the_known_ones() {
        let error = find("nothing").unwrap_err().to_string();
        assert!(error.contains("nothing") && error.contains("throughput"), "{error}");
    }
}
