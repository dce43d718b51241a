//! What makes a comparison doubtful.

use std::collections::BTreeSet;

use serde_json::Value;

use super::metric::SampleOf;
use super::reading::Loaded;
use crate::result::NOT_OPTIMIZED;

/// Of a machine, what differs between builds that may well be compared.
const BUILD_FIELDS: [&str; 3] = ["commit", "version", "optimized"];
/// Of a scenario, what is for people.
const WORDS: [&str; 1] = ["about"];

/// What makes the comparison doubtful: different loads first, then different machines, then single
/// runs.
pub(super) fn warnings(a: &[Loaded], b: &[Loaded], sample_of: SampleOf) -> Vec<String> {
    let mut warnings = Vec::new();
    let scenario = |run: &Loaded| Value::from(run.result.scenario.as_str());
    if let Some(differs) = differing("scenario", a, b, &scenario) {
        warnings.push(format!(
            "DIFFERENT SCENARIOS: {differs}: the figures are of two workloads, not of two builds"
        ));
    }
    warnings.extend(differing_fields("spec", a, b, &WORDS, &|run| json(&run.result.spec)));
    warnings.extend(differing("latency_from", a, b, &|run| json(&run.result.latency_from)));
    warnings.extend(differing_fields("machine", a, b, &BUILD_FIELDS, &|run| json(&run.result.machine)));
    for run in a.iter().chain(b) {
        warnings.extend(of_run(run, sample_of));
    }
    warnings
}

fn of_run(run: &Loaded, sample_of: SampleOf) -> Vec<String> {
    let (path, result) = (&run.path, &run.result);
    let mut warnings = Vec::new();
    if !result.is_clean() {
        warnings
            .push(format!("{path}: its audit failed: records were lost, repeated, reordered or not sent"));
    }
    if !result.machine.optimized {
        warnings.push(format!("{path}: {NOT_OPTIMIZED}"));
    }
    if result.interrupted {
        warnings.push(format!("{path}: the run was interrupted"));
    }
    if sample_of == SampleOf::Block && result.intervals.is_empty() {
        warnings.push(format!(
            "{path}: it has no `intervals` (written by an older harness, or nothing was measured); run it again"
        ));
    }
    warnings.extend(
        result
            .remarks
            .iter()
            .filter(|remark| *remark != NOT_OPTIMIZED)
            .map(|remark| format!("{path}: {remark}")),
    );
    warnings
}

/// The fields of an object that have more than one value among all runs.
fn differing_fields(
    name: &str,
    a: &[Loaded],
    b: &[Loaded],
    except: &[&str],
    of: &dyn Fn(&Loaded) -> Value,
) -> Vec<String> {
    let objects: Vec<Value> = a.iter().chain(b).map(of).collect();
    let fields: BTreeSet<&String> =
        objects.iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys).collect();
    fields
        .into_iter()
        .filter(|field| !except.contains(&field.as_str()))
        .filter_map(|field| {
            let value = |run: &Loaded| of(run).get(field.as_str()).cloned().unwrap_or_default();
            differing(&format!("{name}.{field}"), a, b, &value)
        })
        .collect()
}

/// `name: A has this, B that`, if there is more than one value among all runs.
fn differing(name: &str, a: &[Loaded], b: &[Loaded], of: &dyn Fn(&Loaded) -> Value) -> Option<String> {
    let values = |side: &[Loaded]| -> BTreeSet<String> { side.iter().map(|run| shown(&of(run))).collect() };
    let (a, b) = (values(a), values(b));
    let list = |values: BTreeSet<String>| values.into_iter().collect::<Vec<_>>().join(" and ");
    (a.union(&b).count() > 1).then(|| format!("`{name}`: A has {}, B has {}", list(a), list(b)))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// As JSON, in which all of these have the names that people know.
fn json(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{RunResult, example};

    fn found(change: impl FnOnce(&mut RunResult)) -> Vec<String> {
        let one = Loaded { path: "a.json".into(), result: example() };
        let mut other = Loaded { path: "b.json".into(), result: example() };
        change(&mut other.result);
        warnings(&[one], &[other], SampleOf::Block)
    }

    #[test]
    fn equal_runs_of_two_commits_have_none() {
        assert_eq!(found(|result| result.machine.commit = "another".into()), [""; 0]);
    }

    #[test]
    fn what_differs_is_named_with_both_values() {
        for (warnings, expected) in [
            (
                found(|result| result.scenario = "latency".into()),
                "DIFFERENT SCENARIOS: `scenario`: A has demo, B has latency",
            ),
            (found(|result| result.spec.batch_size = Some(500)), "`spec.batch_size`: A has none, B has 500"),
            (
                found(|result| result.machine.cpu = "another".into()),
                "`machine.cpu`: A has a CPU, B has another",
            ),
            (found(|result| result.machine.optimized = false), "b.json: this is not an optimised build"),
            (found(|result| result.audit.records_lost = 1), "b.json: its audit failed"),
            (found(|result| result.interrupted = true), "b.json: the run was interrupted"),
            (found(|result| result.intervals.clear()), "b.json: it has no `intervals`"),
            (found(|result| result.remarks.push("it rained".into())), "b.json: it rained"),
        ] {
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].starts_with(expected), "{warnings:?}");
        }
    }

    #[test]
    fn a_difference_within_one_side_counts_too() {
        let run = |seed| {
            let mut result = example();
            result.spec.seed = Some(seed);
            Loaded { path: "a.json".into(), result }
        };
        let warnings = warnings(&[run(1), run(2)], &[run(1)], SampleOf::Block);
        assert_eq!(warnings, ["`spec.seed`: A has 1 and 2, B has 1"]);
    }
}
