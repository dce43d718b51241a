//! Results from files, checked as far as a comparison relies on them.

use std::path::{Path, PathBuf};

use crate::result::{RunResult, VERSION};

/// A result and where it is from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its file, as given.
    pub path: String,
    /// What it holds.
    pub result: RunResult,
}

/// Why a file cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// It cannot be read.
    #[error("{}: {source}; give results of `pelton-harness run --json FILE`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// It is not JSON.
    #[error("{}: not JSON ({source}); give results of `pelton-harness run --json FILE`", path.display())]
    NoJson {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        source: serde_json::Error,
    },
    /// A field is missing or holds what it cannot hold.
    #[error("{}: `{field}`: {found}; {remedy}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field's path in the JSON.
        field: String,
        /// What is there, and what should be.
        found: String,
        /// What to do.
        remedy: String,
    },
}

/// Reads a result.
///
/// # Errors
/// If the file cannot be read, is not JSON, is not the result of a run, is of another version, or has
/// figures that no run has.
pub fn read(path: &Path) -> Result<Loaded, ResultError> {
    let text =
        std::fs::read(path).map_err(|source| ResultError::Unreadable { path: path.to_owned(), source })?;
    let json: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|source| ResultError::NoJson { path: path.to_owned(), source })?;
    let wrong = |field: &str, found: String, remedy: &str| ResultError::Field {
        path: path.to_owned(),
        field: field.to_owned(),
        found,
        remedy: remedy.to_owned(),
    };
    const NO_RESULT: &str = "this is no result of `pelton-harness run --json FILE`; give one";
    match json.get("version").map(|version| (version, version.as_u64())) {
        Some((_, Some(version))) if version == u64::from(VERSION) => {}
        Some((found, _)) => {
            let found = format!("{found}, and this harness reads {VERSION}");
            return Err(wrong("version", found, "compare with the harness that wrote it, or run it again"));
        }
        None => return Err(wrong("version", "missing".to_owned(), NO_RESULT)),
    }
    let result: RunResult = serde_path_to_error::deserialize(json)
        .map_err(|error| wrong(&error.path().to_string(), error.inner().to_string(), NO_RESULT))?;
    if let Some((field, found)) = impossible(&result) {
        return Err(wrong(&field, found, "the file was changed or damaged; run it again"));
    }
    Ok(Loaded { path: path.display().to_string(), result })
}

/// A figure that no run has, and why.
fn impossible(result: &RunResult) -> Option<(String, String)> {
    let (throughput, cpu) = (&result.throughput, &result.cpu);
    let whole = [
        ("throughput.elapsed_s".to_owned(), throughput.elapsed_s),
        ("throughput.records_per_s".to_owned(), throughput.records_per_s),
        ("throughput.record_bytes_per_s".to_owned(), throughput.record_bytes_per_s),
        ("cpu.engine_s_per_million_records".to_owned(), cpu.engine_s_per_million_records),
    ];
    let intervals = result.intervals.iter().enumerate().flat_map(|(number, interval)| {
        [
            (format!("intervals[{number}].elapsed_s"), interval.elapsed_s),
            (format!("intervals[{number}].engine_cpu_s"), interval.engine_cpu_s),
        ]
    });
    let negative = whole.into_iter().chain(intervals).find(|(_, figure)| *figure < 0.0);
    if let Some((field, figure)) = negative {
        return Some((field, format!("{figure}, which is less than zero")));
    }
    let empty = result.intervals.iter().position(|interval| interval.elapsed_s <= 0.0)?;
    Some((format!("intervals[{empty}].elapsed_s"), "0, and an interval has a length".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::example;

    fn error(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut json = serde_json::to_value(example()).unwrap();
        change(&mut json);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json.to_string()).unwrap();
        let error = read(file.path()).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
        error
    }

    #[test]
    fn errors_name_the_field_and_what_it_holds() {
        for (message, parts) in [
            (error(|json| json["version"] = 7.into()), ["`version`: 7", "reads 1"]),
            (error(|json| json["version"] = "one".into()), ["`version`: \"one\"", "reads 1"]),
            (error(|json| *json = 3.into()), ["`version`: missing", "no result of"]),
            (
                error(|json| json["intervals"][3]["records"] = "many".into()),
                ["`intervals[3].records`", "\"many\""],
            ),
            (
                error(|json| json["intervals"][3]["elapsed_s"] = 0.0.into()),
                ["`intervals[3].elapsed_s`: 0", "run it again"],
            ),
            (
                error(|json| json["cpu"]["engine_s_per_million_records"] = (-0.5).into()),
                ["`cpu.engine_s_per_million_records`: -0.5", "run it again"],
            ),
            (
                error(|json| drop(json.as_object_mut().unwrap().remove("throughput"))),
                ["missing field `throughput`", "no result of"],
            ),
        ] {
            assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_no_json_is_said_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "records_per_s,100").unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("not JSON"));
        let error = read(Path::new("/does/not/exist.json")).unwrap_err().to_string();
        assert!(error.starts_with("/does/not/exist.json: ") && error.contains("run --json"), "{error}");
    }
}
