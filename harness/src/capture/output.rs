//! Where a capture is written: standard output, or a file that has its name only once it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// What is between a block and the system.
const BUFFER_BYTES: usize = 256 << 10;

/// An open output.
#[derive(Debug)]
pub enum Output {
    /// Standard output.
    Standard(io::StdoutLock<'static>),
    /// A file beside the one that is wanted.
    File {
        /// The open file.
        part: BufWriter<File>,
        /// Its name until it is whole.
        part_path: PathBuf,
        /// Its name then.
        path: PathBuf,
    },
}

impl Output {
    /// Opens `path`, or standard output for `-`. A file that exists is only replaced if `overwrite`
    /// says so, and not before the new one is whole.
    ///
    /// # Errors
    /// If the file exists, or its directory cannot be written to.
    pub fn open(path: &Path, overwrite: bool) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Standard(io::stdout().lock()));
        }
        if path.exists() && !overwrite {
            bail!("{} exists; give another name, or --overwrite", path.display());
        }
        let mut part_path = path.as_os_str().to_owned();
        part_path.push(".part");
        let part_path = PathBuf::from(part_path);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&part_path)
            .with_context(|| format!("writing {}", part_path.display()))?;
        Ok(Self::File {
            part: BufWriter::with_capacity(BUFFER_BYTES, file),
            part_path,
            path: path.to_owned(),
        })
    }

    /// What errors call it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Standard(_) => "standard output".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If the system refuses; everything is then in the file with `.part` in its name.
    pub fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Standard(mut out) => Ok(out.flush()?),
            Self::File { part, part_path, path } => {
                let file = part.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.sync_all().with_context(|| format!("writing {}", part_path.display()))?;
                fs::rename(&part_path, &path)
                    .with_context(|| format!("renaming {} to {}", part_path.display(), path.display()))
            }
        }
    }

    /// After an error: keeps what was written if it is worth keeping, and says where it is.
    #[must_use]
    pub fn abandon(self, records: bool) -> Option<PathBuf> {
        let Self::File { mut part, part_path, .. } = self else { return None };
        let _ = part.flush();
        if records {
            return Some(part_path);
        }
        let _ = fs::remove_file(&part_path);
        None
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::File { part, .. } => part.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::File { part, .. } => part.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_only_once_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.capture");
        let mut output = Output::open(&path, false).unwrap();
        output.write_all(b"bytes").unwrap();
        assert!(!path.exists());
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
        let error = Output::open(&path, false).unwrap_err().to_string();
        assert!(error.contains("--overwrite"), "{error}");
        let mut again = Output::open(&path, true).unwrap();
        again.write_all(b"other").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
        again.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"other");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_written_before_an_error_is_kept_if_there_are_records() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.capture");
        assert_eq!(Output::open(&path, false).unwrap().abandon(false), None);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let part = Output::open(&path, false).unwrap().abandon(true).unwrap();
        assert!(part.exists() && !path.exists());
    }
}
