//! The verb `chaos` where it cannot run: what is missing is said exactly.

use std::process::Command;

#[test]
fn an_engine_that_is_not_there_is_named_with_the_remedy() {
    let output = Command::new(env!("CARGO_BIN_EXE_pelton-harness"))
        .args(["chaos", "--quiet", "--minutes", "0.2", "--engine", "/nowhere/pelton", "--directory"])
        .arg(tempfile::tempdir().expect("a directory").path().join("chaos"))
        .output()
        .expect("the harness is built");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    for part in ["/nowhere/pelton", "build it first", "--engine"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
}

#[test]
fn a_time_that_is_too_short_is_refused_with_its_range() {
    let output = Command::new(env!("CARGO_BIN_EXE_pelton-harness"))
        .args(["chaos", "--minutes", "0.01"])
        .output()
        .expect("the harness is built");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("0.2 to 1440 minutes"), "{errors}");
}
