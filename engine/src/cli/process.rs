//! The process's surroundings: clock, environment, files.

use std::fs::File;
use std::io::Read as _;

use crate::mapping::Surroundings;
use crate::time::wall_ms;

/// The surroundings of a real process.
#[derive(Clone, Copy, Debug)]
pub struct Process;

impl Surroundings for Process {
    fn now_ms(&self) -> i64 {
        wall_ms()
    }

    fn variable(&self, name: &str) -> Option<String> {
        // `var` panics on names that cannot be; a mapping may say anything.
        let possible = !name.is_empty() && !name.contains(['=', '\0']);
        if possible { std::env::var(name).ok() } else { None }
    }

    fn file(&self, path: &str, bytes_max: usize) -> Result<String, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        // One byte more than allowed tells a long file from one that just fits.
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() > bytes_max {
            return Err(format!("more than {bytes_max} bytes"));
        }
        String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let directory = tempfile::tempdir().expect("a place to write");
        let path = directory.path().join("secret");
        std::fs::write(&path, "12345").expect("written");
        let path = path.to_str().expect("UTF-8");
        assert_eq!(Process.file(path, 5).as_deref(), Ok("12345"));
        assert_eq!(Process.file(path, 4), Err("more than 4 bytes".to_owned()));
        std::fs::write(path, [0xff]).expect("written");
        assert_eq!(Process.file(path, 4), Err("not UTF-8".to_owned()));
        assert!(Process.file(directory.path().to_str().expect("UTF-8"), 4).is_err(), "a directory");
        assert!(Process.file("/nowhere/at/all", 4).is_err());
    }

    #[test]
    fn impossible_variables_do_not_exist() {
        for name in ["", "A=B", "A\0B", "SURELY_NOT_SET_IN_ANY_ENVIRONMENT"] {
            assert_eq!(Process.variable(name), None);
        }
    }
}
