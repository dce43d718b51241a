//! Every evaluation of a search, in a file of JSON lines: a search that was interrupted goes on, and
//! one that is over is reported again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::evaluate::{Evaluation, Fidelity};
use super::probe::Probe;
use super::space::Settings;
use super::tuned::Habitual;
use super::verify::{Calibration, Measured};
use crate::traffic::Habit;
use crate::workload::function::StubLaw;

/// The version of the file, and of the simulator that measured what is in it.
pub const VERSION: u32 = 2;

/// One line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    /// The first.
    Search {
        /// [`VERSION`].
        version: u32,
        /// Everything that evaluations depend on.
        inputs: serde_json::Value,
    },
    /// A setting in virtual time.
    Evaluation(Box<Evaluation>),
    /// The function, as it was probed.
    Function {
        /// What fits best.
        law: StubLaw,
        /// What it fits.
        probes: Vec<Probe>,
    },
    /// What the engine itself adds.
    Calibration(Calibration),
    /// The best settings for records with less in them.
    Habit(Box<Habitual>),
    /// A setting in a real run.
    Run(Box<Measured>),
}

/// What identifies an evaluation.
type Key = (Settings, u64, u64, bool);

/// Evaluations, in memory and, if there is one, in a file.
#[derive(Debug, Default)]
pub struct Store {
    file: Option<(PathBuf, BufWriter<File>)>,
    known: HashMap<Key, Evaluation>,
    law: Option<(StubLaw, Vec<Probe>)>,
    calibration: Option<Calibration>,
    runs: Vec<Measured>,
    habits: Vec<Habitual>,
    /// How many of the evaluations were there at the beginning.
    found: usize,
}

impl Store {
    /// A store that is gone with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// The store in `path`, which is made if it is not there. What it holds must be of the same `inputs`.
    /// A last line that is not whole, of a process that was killed, is cut off.
    ///
    /// # Errors
    /// If the file cannot be read or written, is none of these, or is of other inputs.
    pub fn open(path: &Path, inputs: &serde_json::Value) -> anyhow::Result<Self> {
        let name = path.display();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("`results`: {name}"))?;
        let mut store = Self::default();
        let whole = store.read(&file, path, inputs)?;
        if whole == 0 && !is_ours(&file)? {
            bail!("`results`: {name} is no file of a search; give another one");
        }
        file.set_len(whole).with_context(|| format!("`results`: {name}"))?;
        let mut file = file;
        file.seek(SeekFrom::End(0)).with_context(|| format!("`results`: {name}"))?;
        store.file = Some((path.to_owned(), BufWriter::new(file)));
        if whole == 0 {
            store.write(&Line::Search { version: VERSION, inputs: inputs.clone() })?;
        }
        store.found = store.known.len();
        Ok(store)
    }

    /// Takes in what there is. Returns how many bytes of it are whole lines.
    fn read(&mut self, file: &File, path: &Path, inputs: &serde_json::Value) -> anyhow::Result<u64> {
        let name = path.display();
        let (mut whole, mut number) = (0, 0);
        let mut reader = BufReader::new(file);
        let mut text = Vec::new();
        loop {
            text.clear();
            let bytes = reader.read_until(b'\n', &mut text).with_context(|| format!("`results`: {name}"))?;
            if bytes == 0 || text.last() != Some(&b'\n') {
                return Ok(whole);
            }
            number += 1;
            let line: Line = serde_json::from_slice(&text).with_context(|| {
                format!("`results`: {name}, line {number}: no line of a search; give another file")
            })?;
            match line {
                Line::Search { version, .. } if version != VERSION => {
                    bail!("`results`: {name} has version {version}, this is for {VERSION}; give another file")
                }
                Line::Search { inputs: found, .. } => same(&found, inputs, path)?,
                _ if number == 1 => {
                    bail!("`results`: {name} does not begin with its inputs; give another file")
                }
                Line::Evaluation(evaluation) => {
                    self.known.insert(key(&evaluation.settings, evaluation.with), *evaluation);
                }
                Line::Function { law, probes } => self.law = Some((law, probes)),
                Line::Calibration(calibration) => self.calibration = Some(calibration),
                Line::Habit(habitual) => self.habits.push(*habitual),
                Line::Run(run) => self.runs.push(*run),
            }
            whole += bytes as u64;
        }
    }

    fn write(&mut self, line: &Line) -> anyhow::Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        serde_json::to_writer(&mut *file, line)
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(file.write_all(b"\n")?))
            .with_context(|| format!("`results`: {}", path.display()))
    }

    /// The evaluation of `settings` so measured, if it is known.
    #[must_use]
    pub fn known(&self, settings: &Settings, with: Fidelity) -> Option<&Evaluation> {
        self.known.get(&key(settings, with))
    }

    /// The best settings near `from` for records with less in them, if they are known.
    #[must_use]
    pub fn habit(&self, habit: Habit, from: &Settings) -> Option<&Habitual> {
        self.habits.iter().find(|one| one.habit == habit && one.from == *from)
    }

    /// Keeps the best settings for records with less in them.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn found_for(&mut self, habitual: Habitual) -> anyhow::Result<()> {
        self.write(&Line::Habit(Box::new(habitual.clone())))?;
        self.habits.push(habitual);
        self.flush()
    }

    /// The evaluation of `settings` so measured: the known one, or what `measure` says.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn evaluation(
        &mut self,
        settings: &Settings,
        with: Fidelity,
        measure: impl FnOnce() -> Evaluation,
    ) -> anyhow::Result<Evaluation> {
        if let Some(known) = self.known.get(&key(settings, with)) {
            return Ok(known.clone());
        }
        let evaluation = measure();
        self.write(&Line::Evaluation(Box::new(evaluation.clone())))?;
        self.known.insert(key(settings, with), evaluation.clone());
        Ok(evaluation)
    }

    /// The function, if it was probed.
    #[must_use]
    pub fn law(&self) -> Option<(&StubLaw, &[Probe])> {
        self.law.as_ref().map(|(law, probes)| (law, &probes[..]))
    }

    /// Keeps what was probed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn probed(&mut self, law: StubLaw, probes: Vec<Probe>) -> anyhow::Result<()> {
        self.write(&Line::Function { law: law.clone(), probes: probes.clone() })?;
        self.law = Some((law, probes));
        self.flush()
    }

    /// What the engine adds, if it was measured.
    #[must_use]
    pub const fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// Keeps what the engine adds.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn calibrated(&mut self, calibration: Calibration) -> anyhow::Result<()> {
        self.write(&Line::Calibration(calibration))?;
        self.calibration = Some(calibration);
        self.flush()
    }

    /// The real run of `settings`, if there was one.
    #[must_use]
    pub fn run(&self, settings: &Settings) -> Option<&Measured> {
        self.runs.iter().find(|run| run.settings == *settings)
    }

    /// Keeps a real run.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn ran(&mut self, run: Measured) -> anyhow::Result<()> {
        self.write(&Line::Run(Box::new(run.clone())))?;
        self.runs.push(run);
        self.flush()
    }

    /// Writes out what waits.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.flush().with_context(|| format!("`results`: {}", path.display()))
    }

    /// All evaluations, in an order that depends on nothing but them.
    #[must_use]
    pub fn evaluations(&self) -> Vec<Evaluation> {
        let mut all: Vec<_> = self.known.iter().collect();
        all.sort_by_key(|(key, _)| **key);
        all.into_iter().map(|(_, evaluation)| evaluation.clone()).collect()
    }

    /// How many evaluations the file had at the beginning.
    #[must_use]
    pub const fn found(&self) -> usize {
        self.found
    }
}

/// Whether a file without a whole line is empty, or the beginning of a search.
fn is_ours(mut file: &File) -> anyhow::Result<bool> {
    const BEGINS: &[u8] = b"{\"kind\":\"search\"";
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(BEGINS.len() as u64).read_to_end(&mut text)?;
    Ok(BEGINS.starts_with(&text))
}

fn key(settings: &Settings, with: Fidelity) -> Key {
    (*settings, with.seed, with.traffic_share.to_bits(), with.exact)
}

/// Whether a file is of these inputs; else the first that differs is named.
fn same(found: &serde_json::Value, inputs: &serde_json::Value, path: &Path) -> anyhow::Result<()> {
    if found == inputs {
        return Ok(());
    }
    let differs = match (found.as_object(), inputs.as_object()) {
        (Some(found), Some(inputs)) => {
            inputs.iter().find(|(name, value)| found.get(*name) != Some(value)).map(|(name, value)| {
                let was = found.get(name).map_or("nothing".to_owned(), ToString::to_string);
                format!("{name} was {was} and is {value}")
            })
        }
        _ => None,
    };
    bail!(
        "`results`: {} is of another search ({}); give another file, or the same flags",
        path.display(),
        differs.unwrap_or_else(|| "its inputs differ".to_owned())
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::evaluate::tests::{bench, settings, traffic};
    use super::super::evaluate::{Bench, Lanes};
    use super::*;
    use crate::traffic::Traffic;

    fn evaluate(store: &mut Store, bench: &Bench, traffic: &Traffic, batch_size: u32) -> bool {
        let (settings, mut ran) = (settings(batch_size, 100, 2), false);
        store
            .evaluation(&settings, Fidelity::WHOLE, || {
                ran = true;
                bench.evaluate(&mut Lanes::new(traffic, bench), &settings, Fidelity::WHOLE)
            })
            .unwrap();
        ran
    }

    #[test]
    fn a_search_goes_on_where_it_was_interrupted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("search.jsonl");
        let (traffic, bench) = (traffic("arrival = \"constant(100/s)\"", 2), bench(1));
        let inputs = json!({"workload": "a", "seed": 1});
        let mut store = Store::open(&path, &inputs).unwrap();
        assert!(evaluate(&mut store, &bench, &traffic, 10) && evaluate(&mut store, &bench, &traffic, 20));
        assert!(!evaluate(&mut store, &bench, &traffic, 10), "once is enough");
        let all = store.evaluations();
        drop(store);
        // Killed in the middle of a line.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{}", &text[text.len() - 300..text.len() - 20])).unwrap();
        let mut store = Store::open(&path, &inputs).unwrap();
        assert_eq!((store.found(), store.evaluations()), (2, all));
        assert!(!evaluate(&mut store, &bench, &traffic, 20) && evaluate(&mut store, &bench, &traffic, 30));
        drop(store);
        assert_eq!(Store::open(&path, &inputs).unwrap().found(), 3);
    }

    #[test]
    fn a_file_of_something_else_is_refused_by_what_differs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("search.jsonl");
        drop(Store::open(&path, &json!({"workload": "a", "seed": 1})).unwrap());
        let error = |inputs| Store::open(&path, &inputs).unwrap_err().to_string();
        let text = error(json!({"workload": "a", "seed": 2}));
        assert!(text.contains("seed was 1 and is 2") && text.contains("give another file"), "{text}");
        std::fs::write(&path, "hello\n").unwrap();
        assert!(error(json!({})).contains("line 1"));
        std::fs::write(&path, "somebody's notes").unwrap();
        assert!(error(json!({})).contains("no file of a search"));
        assert_eq!(std::fs::read(&path).unwrap(), b"somebody's notes", "and it is left as it is");
        std::fs::write(&path, "{\"kind\":\"sea").unwrap();
        assert!(Store::open(&path, &json!({})).is_ok(), "the very first line was cut");
        std::fs::write(&path, "{\"kind\":\"search\",\"version\":9,\"inputs\":{}}\n").unwrap();
        assert!(error(json!({})).contains("version 9"));
    }
}
