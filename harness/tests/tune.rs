//! Searches as somebody would start them: the binary, its files and its exit codes.

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use pelton_harness::tune::tuned::Tuned;

use support::harness;

/// A small search in virtual time.
const SMALL: [&str; 9] =
    ["tune", "--scenario", "latency", "--trace", "10s", "--points", "48", "--seeds", "3"];

fn tune(directory: &Path, more: &[&str]) -> (Tuned, Output) {
    let json = directory.join("tuned.json");
    let mut all = SMALL.to_vec();
    all.extend(["--json", json.to_str().expect("a path in UTF-8")]);
    all.extend(more);
    let output = harness(&all);
    let text = std::fs::read(&json)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (serde_json::from_slice(&text).expect("a result's JSON"), output)
}

/// What must be the same in two searches with the same seed.
fn without_the_run(mut tuned: Tuned) -> Tuned {
    tuned.command = String::new();
    tuned
}

#[test]
fn a_search_recommends_what_meets_the_goal_and_repeats_itself() {
    let directory = tempfile::tempdir().unwrap();
    let (first, output) = tune(directory.path(), &["--no-runs"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(first.recommended.meets_goal);
    let best = &first.recommended.candidate;
    assert!(best.age_ms.largest_max <= 1_000.0, "{best:?}");
    assert!(
        first.front.iter().all(|one| one.keeps_up)
            && best.per_million_records.mean < first.aws_default.cost.per_million_records,
        "{best:?}"
    );
    assert!(text.contains(&format!("batch_size = {}", best.settings.batch_size)), "{text}");
    assert!(
        text.contains("--maximum-batching-window-in-seconds") || text.contains("default of 500 ms"),
        "{text}"
    );
    let (second, _) = tune(directory.path(), &["--no-runs"]);
    assert_eq!(without_the_run(first), without_the_run(second));
}

#[test]
fn a_search_goes_on_from_its_results_file() {
    let directory = tempfile::tempdir().unwrap();
    let results = directory.path().join("search.jsonl");
    let results = results.to_str().unwrap();
    let (first, _) = tune(directory.path(), &["--no-runs", "--results", results]);
    let whole = std::fs::read_to_string(results).unwrap();
    // Half of it, as if it had been interrupted: what is missing is measured, and nothing changes.
    let half: String =
        whole.lines().take(whole.lines().count() / 2).map(|line| format!("{line}\n")).collect();
    std::fs::write(results, &half).unwrap();
    let (second, _) = tune(directory.path(), &["--no-runs", "--results", results]);
    assert_eq!(without_the_run(first.clone()), without_the_run(second));
    let again = std::fs::read_to_string(results).unwrap();
    assert!(again.starts_with(&half) && again.lines().count() == whole.lines().count());
    // What is over is reported again, and nothing is measured.
    let (third, _) = tune(directory.path(), &["--no-runs", "--results", results]);
    assert_eq!(without_the_run(first), without_the_run(third));
    assert_eq!(std::fs::read_to_string(results).unwrap(), again);
    let output = harness(&[&SMALL[..], &["--no-runs", "--results", results, "--memory", "1GiB"]].concat());
    assert_eq!(output.status.code(), Some(3));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("memory was \"512MiB\" and is \"1GiB\""), "{error}");
}

#[test]
fn settings_that_are_given_stay_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let (tuned, _) = tune(directory.path(), &["--no-runs", "--pollers", "3", "--batch-size", "250"]);
    assert!(tuned.evaluations.iter().all(|one| one.settings.pollers == 3 && one.settings.batch_size == 250));
}

#[test]
fn a_goal_that_cannot_be_met_is_said_and_ends_with_1() {
    let directory = tempfile::tempdir().unwrap();
    let (tuned, output) = tune(directory.path(), &["--no-runs", "--max-age", "p99=2ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!tuned.recommended.meets_goal);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Nearest to the goal") && text.contains("no setting that was tried"), "{text}");
}

#[test]
fn finalists_are_run_for_real_beside_the_simulator() {
    let directory = tempfile::tempdir().unwrap();
    let html = directory.path().join("tune.html");
    let more = ["--runs", "1", "--run-duration", "2s", "--html", html.to_str().unwrap()];
    let (tuned, _) = tune(directory.path(), &more);
    let [run] = &tuned.runs[..] else { panic!("one run: {:?}", tuned.runs) };
    assert_eq!(run.settings, tuned.recommended.candidate.settings);
    assert!(run.is_clean && run.real.age.count > 1_000, "{run:?}");
    // The same records in both, but for those of the moment in which the warm-up ends.
    let counts = (run.real.age.count as f64, run.simulated.age.count as f64);
    assert!((counts.0 / counts.1 - 1.0).abs() < 0.05, "{counts:?}");
    assert!(tuned.calibration.cpu_us_per_record > 0.0);
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.contains("What to set, and why") || page.contains("No setting that was tried"));
    let before_scripts = page.split("<script").next().unwrap();
    let loads = ["src=\"http", "href=\"http", "url(http"].iter().any(|load| before_scripts.contains(load));
    assert!(!loads && page.contains("plotly.js v"), "nothing is loaded from anywhere");
}

#[test]
fn a_limit_is_kept_with_every_draw_without_being_dear() {
    let directory = tempfile::tempdir().unwrap();
    // What keeps the limit just so with one draw of these bursts misses it with others.
    let spec = [
        ["--arrival", "bursts(rate=1200/s, burst=3000, base=400/s)"],
        ["--partitions", "12"],
        ["--stub", "log-normal(median=80ms, sigma=0.4, record-cost=500us)"],
        ["--trace", "30s"],
    ];
    let json = directory.path().join("tuned.json");
    let mut all = vec!["tune", "--scenario", "latency", "--no-runs", "--json", json.to_str().unwrap()];
    all.extend(spec.iter().flatten());
    assert!(harness(&all).status.success());
    let tuned: Tuned = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let best = &tuned.recommended.candidate;
    assert!(tuned.recommended.meets_goal && best.age_ms.largest_max <= 1_000.0, "{best:?}");
    let with_one_draw = tuned
        .evaluations
        .iter()
        .filter(|one| one.keeps_up && one.age.p99_us <= 1_000_000)
        .map(|one| one.cost.per_million_records)
        .fold(f64::INFINITY, f64::min);
    assert!(best.per_million_records.mean < with_one_draw * 1.3, "{best:?} and {with_one_draw}");
}

#[test]
fn less_in_each_record_is_tuned_for_too() {
    let directory = tempfile::tempdir().unwrap();
    let more = [
        "--no-runs",
        "--value-size",
        "20KiB",
        "--header",
        "trace:100B",
        "--stub",
        "fixed(5ms, byte-cost-ns=20)",
        "--arrival",
        "poisson(200/s)",
    ];
    let (tuned, output) = tune(directory.path(), &more);
    let text = String::from_utf8_lossy(&output.stdout);
    let cost = |habit: &str| {
        let one = tuned.habits.iter().find(|one| serde_json::to_value(one.habit).unwrap() == habit);
        one.unwrap_or_else(|| panic!("{habit}: {text}")).evaluation.cost.per_million_records
    };
    let as_is = cost("as_is");
    assert!(cost("half_values") < as_is * 0.8 && cost("no_headers") < as_is, "{text}");
    assert!(text.contains("with values of half the size"), "{text}");
}

#[test]
fn further_settings_are_run_to_see_whether_any_is_cheaper() {
    let directory = tempfile::tempdir().unwrap();
    let more = ["--runs", "1", "--run-duration", "1s", "--exhaustive", "3"];
    let (tuned, output) = tune(directory.path(), &more);
    let text = String::from_utf8_lossy(&output.stdout);
    let further = tuned.exhaustive.as_ref().expect("they were wanted");
    assert_eq!(further.runs.len(), 3);
    assert!(further.runs.iter().all(|run| run.settings != tuned.recommended.candidate.settings));
    assert!(tuned.runs.iter().chain(&further.runs).all(|run| run.real.per_million_records > Some(0.0)));
    assert!(text.contains("Against 3 further settings in real runs"), "{text}");
}

#[test]
fn an_endpoint_is_probed_for_its_law() {
    let mut stub = Command::new(env!("CARGO_BIN_EXE_pelton-harness"))
        .args(["stub", "--port", "0", "--latency", "8ms", "--record-cost", "30us"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let output = stub.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
    let url =
        line.split_whitespace().find(|word| word.starts_with("http://")).expect("an address").to_owned();
    let directory = tempfile::tempdir().unwrap();
    let (tuned, _) = tune(directory.path(), &["--no-runs", "--endpoint", &url]);
    stub.kill().unwrap();
    stub.wait().unwrap();
    assert_eq!(tuned.probes.len(), 8);
    // Never faster than the stub's law; how much slower is the machine's affair.
    let large = tuned.probes.iter().find(|probe| probe.records > 900.0).expect("a large batch");
    assert!(large.p50_us >= 38_000.0, "{large:?}");
    let took = tuned.function.law.latency(0, 1_000, large.payload_bytes as usize);
    assert!(took.as_micros() as f64 >= 20_000.0, "{}", tuned.function);
}

#[test]
fn wrong_usage_says_what_would_do_and_exits_with_2() {
    for (arguments, word) in [
        (&["--max-age", "p98=1s"][..], "p99=2s"),
        (&["--scenario", "throughput"], "records in memory have no times"),
        (&["--pollers", "99"], "`pollers` is 99"),
        (&["--threads", "4", "--pollers-max", "2"], "each of 4 threads has one"),
        (&["--memory", "1GiB", "--prices", "/nowhere.toml"], "copy harness/prices"),
        (&["--memory", "64MiB"], "128MiB to 10240MiB"),
        (&["--trace", "0s"], "`trace` is 0s"),
        (&["--points", "3"], "8..=65536"),
        (&["--observe", "3s"], "--topic"),
        (&["--no-runs", "--runs", "2"], "cannot be used with"),
    ] {
        let output = harness(&[&["tune"][..], arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(word), "{arguments:?}: {error}");
    }
    let output = harness(&["tune", "--payload-bytes-max", "1KiB", "--value-size", "1KiB", "--no-runs"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(error.contains("`payload_bytes_max` is 1024: no record"), "{error}");
    let output = harness(&["tune", "--arrival", "fast", "--no-runs"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(error.contains("`arrival`: fast has no times") && error.contains("poisson(2k/s)"), "{error}");
}
