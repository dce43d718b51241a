//! Comparisons, through the binary: results of real runs, and the same with other figures in them.

mod support;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use pelton_harness::compare::{Comparison, SampleOf, Verdict};
use pelton_harness::result::RunResult;
use serde_json::Value;

use support::harness;

fn compare(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = harness(&[&["compare"], arguments].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn compared(arguments: &[&str]) -> (Option<i32>, Comparison) {
    let (code, text, errors) = compare(&[arguments, &["--json", "-"]].concat());
    (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{errors}")))
}

/// The result of a real run, made once for all tests.
fn result() -> &'static str {
    static RESULT: OnceLock<String> = OnceLock::new();
    RESULT.get_or_init(|| {
        let output = harness(&[
            "run",
            "--scenario",
            "throughput",
            "--duration",
            "2s",
            "--warm-up",
            "100ms",
            "--value-size",
            "200B",
            "--json",
            "-",
        ]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    })
}

/// The same result with figures that do not depend on the machine: some noise, and `factor` times the
/// records.
fn doctored(factor: f64) -> Value {
    let mut json: Value = serde_json::from_str(result()).expect("JSON");
    json["machine"]["optimized"] = true.into();
    json["remarks"] = Value::Array(Vec::new());
    let intervals = json["intervals"].as_array_mut().expect("intervals");
    for (number, interval) in (0_u32..).zip(intervals) {
        let noise = 1.0 + f64::from(number * 7 % 10) / 1_000.0;
        let records = (100_000.0 * factor * noise) as u64;
        interval["elapsed_s"] = 0.2.into();
        interval["records"] = records.into();
        interval["record_bytes"] = (records * 200).into();
        interval["engine_cpu_s"] = (records as f64 * 1e-6 * noise).into();
        interval["latency_p50_us"] = ((500.0 * noise) as u64).into();
        interval["latency_p99_us"] = ((900.0 * noise) as u64).into();
    }
    json
}

fn write(directory: &Path, name: &str, json: &Value) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, json.to_string()).expect("written");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn verdicts(comparison: &Comparison) -> Vec<Verdict> {
    comparison.metrics.iter().map(|compared| compared.verdict).collect()
}

#[test]
fn a_short_run_has_ten_intervals_that_add_up() {
    let result: RunResult = serde_json::from_str(result()).expect("a result");
    assert_eq!(result.intervals.len(), 10, "{:?}", result.intervals);
    let records: u64 = result.intervals.iter().map(|interval| interval.records).sum();
    let cpu_s: f64 = result.intervals.iter().map(|interval| interval.engine_cpu_s).sum();
    let elapsed_s: f64 = result.intervals.iter().map(|interval| interval.elapsed_s).sum();
    assert!(elapsed_s > 1.5 && elapsed_s <= 2.2, "{elapsed_s}");
    assert!(records > 0 && records <= result.audit.records_delivered, "{records}");
    assert!(cpu_s > 0.0 && cpu_s <= result.cpu.engine_s * 1.5, "{cpu_s} of {}", result.cpu.engine_s);
    for interval in result.intervals.iter().filter(|interval| interval.records > 0) {
        assert!(interval.latency_p50_us <= interval.latency_p99_us, "{interval:?}");
    }
}

#[test]
fn equals_are_no_regression_and_a_slower_b_is_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let fast = write(directory.path(), "fast.json", &doctored(1.0));
    let slow = write(directory.path(), "slow.json", &doctored(0.9));

    let (code, comparison) = compared(&[text(&fast), text(&fast)]);
    assert_eq!((code, comparison.warnings.len()), (Some(0), 0), "{comparison:?}");
    assert_eq!(verdicts(&comparison), [Verdict::WithinNoise; 5]);

    let (code, comparison) = compared(&[text(&fast), text(&slow)]);
    let (worse, noise) = (Verdict::Worse, Verdict::WithinNoise);
    assert_eq!(code, Some(1));
    assert_eq!(verdicts(&comparison), [worse, worse, noise, noise, noise], "{comparison:?}");
    let share = comparison.metrics[0].difference.expect("a difference").share;
    assert!((share + 0.1).abs() < 0.01, "{share}");

    let (code, comparison) = compared(&[text(&slow), text(&fast)]);
    assert_eq!((code, comparison.metrics[0].verdict), (Some(0), Verdict::Better));
    // Larger than noise, and not larger than what matters.
    let (code, comparison) = compared(&[text(&fast), text(&slow), "--threshold", "20%"]);
    assert_eq!((code, comparison.metrics[0].verdict), (Some(0), Verdict::BelowThreshold));

    let (code, report, _) = compare(&[text(&fast), text(&slow)]);
    assert_eq!(code, Some(1));
    for part in [
        "fast.json: throughput",
        "-10.0 %",
        "WORSE",
        "within noise",
        "REGRESSION: B is worse in records/s, data/s",
    ] {
        assert!(report.contains(part), "{part} is missing from\n{report}");
    }
}

#[test]
fn runs_are_compared_with_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let side = |name: &str, factor: f64, runs: u32| -> Vec<PathBuf> {
        (0..runs)
            .map(|run| {
                let mut json = doctored(factor);
                json["throughput"]["records_per_s"] = (factor * f64::from(500_000 + run)).into();
                write(directory.path(), &format!("{name}-{run}.json"), &json)
            })
            .collect()
    };
    for (runs, sample_of, samples) in [(3, SampleOf::Block, 18), (6, SampleOf::Run, 6)] {
        let (a, b) = (side("a", 1.0, runs), side("b", 0.8, runs));
        let files = |side: &'static str, paths: &[PathBuf]| -> Vec<String> {
            let flag = (side == "b").then(|| "--with".to_owned());
            flag.into_iter().chain(paths.iter().map(|path| text(path).to_owned())).collect()
        };
        let arguments = [files("a", &a), files("b", &b)].concat();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, comparison) = compared(&arguments);
        assert_eq!((code, comparison.sample_of), (Some(1), sample_of));
        let records = &comparison.metrics[0];
        assert_eq!(
            (records.verdict, records.a_samples, records.b_samples),
            (Verdict::Worse, samples, samples)
        );
    }
}

#[test]
fn an_audit_that_only_b_failed_is_a_regression() {
    let directory = tempfile::tempdir().expect("a directory");
    let clean = write(directory.path(), "clean.json", &doctored(1.0));
    let mut json = doctored(1.0);
    json["audit"]["records_lost"] = 1.into();
    let lossy = write(directory.path(), "lossy.json", &json);
    let (code, report, _) = compare(&[text(&clean), text(&lossy)]);
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("lossy.json: its audit failed"), "{report}");
    assert!(report.contains("REGRESSION: B is worse in audit\n"), "{report}");
    assert_eq!(compare(&[text(&lossy), text(&lossy)]).0, Some(0));
}

#[test]
fn an_older_result_has_too_few_samples_and_other_loads_and_machines_are_said_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let new = write(directory.path(), "new.json", &doctored(1.0));
    let mut json = doctored(0.5);
    json.as_object_mut().expect("an object").remove("intervals");
    json["scenario"] = "latency".into();
    json["spec"]["batch_size"] = 500.into();
    json["machine"]["cpu"] = "another CPU".into();
    json["machine"]["optimized"] = false.into();
    let old = write(directory.path(), "old.json", &json);
    let (code, report, _) = compare(&[text(&new), text(&old)]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("no regression; too few samples to say of records/s"), "{report}");
    let table = report.find("difference").expect("a table");
    for part in [
        "DIFFERENT SCENARIOS: `scenario`: A has throughput, B has latency",
        "`spec.batch_size`",
        "`machine.cpu`",
        "old.json: this is not an optimised build",
        "old.json: it has no `intervals`",
    ] {
        assert!(report.find(part).is_some_and(|at| at < table), "{part} is not before the table:\n{report}");
    }
}

#[test]
fn wrong_usage_is_2_and_what_is_no_result_3() {
    let directory = tempfile::tempdir().expect("a directory");
    let good = write(directory.path(), "good.json", &doctored(1.0));
    let mut json = doctored(1.0);
    json["intervals"][2]["records"] = "many".into();
    let odd = write(directory.path(), "odd.json", &json);
    let csv = directory.path().join("results.csv");
    std::fs::write(&csv, "records_per_s,1").expect("written");
    let (good, odd, csv) = (text(&good), text(&odd), text(&csv));
    for (arguments, code, words) in [
        (&[][..], 2, "FILE"),
        (&[good], 2, "--with"),
        (&[good, good, good], 2, "--with"),
        (&[good, good, "--threshold", "3"], 2, "3%"),
        (&[good, good, "--confidence", "95"], 2, "0.95"),
        (&[good, "/does/not/exist.json"], 3, "/does/not/exist.json"),
        (&[good, csv], 3, "results.csv: not JSON"),
        (&[good, odd], 3, "odd.json: `intervals[2].records`: invalid type: string \"many\""),
        (&[good, good, "--json", "/does/not/exist/it.json"], 3, "/does/not/exist/it.json"),
    ] {
        let (found, _, errors) = compare(arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(words), "{arguments:?}: {errors}");
    }
}
