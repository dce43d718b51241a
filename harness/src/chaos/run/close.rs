//! The end of a run: everything is delivered, the engines end, the ledgers are closed.

use anyhow::bail;

use super::super::event::Event;
use super::super::fault::Law;
use super::super::fleet::{self, Fleet};
use super::super::mapping::Mapping;
use super::super::pause;
use super::super::plan::Step;
use super::super::verdict::{ChaosVerdict, MappingResult, VERSION};
use super::{Duration, Run, ask};

/// How long the end may take without anything being done.
const STANDSTILL_MS_MAX: u64 = 120_000;

impl Run<'_> {
    /// Lets everything be delivered, ends the engines, closes the ledgers.
    pub(super) fn close(mut self, steps: &[Step], partial: bool) -> anyhow::Result<ChaosVerdict> {
        self.happens("nothing more is done; what is left is delivered".to_owned());
        self.function.obey(Law::kind());
        let partitions: Vec<usize> =
            (0..self.mappings.len()).map(|number| self.feed.partitions(number)).collect();
        let produced = self.feed.finish()?;
        let mut ends = Vec::new();
        for ((mapping, partitions), produced) in self.mappings.iter().zip(&partitions).zip(produced) {
            let found = self.admin.ends(&mapping.topic, *partitions)?;
            let mut expected = produced;
            expected.resize(*partitions, 0);
            if found != expected {
                bail!("{}: the broker has {found:?} records, produced were {expected:?}", mapping.topic);
            }
            ends.push(found);
        }
        for orphan in std::mem::take(&mut self.orphans) {
            let side = orphan.join().map_err(|_| anyhow::anyhow!("watching an engine panicked"))??;
            self.happens(format!("{}: {}", side.what, side.how));
            self.sides.push(side);
        }
        let finished = self.settle(&partitions, &ends)?;
        for fleet in &mut self.fleets {
            fleet.stop_all()?;
        }
        while !self.fleets.iter().all(Fleet::is_empty) {
            for fleet in &mut self.fleets {
                fleet.watch(true)?;
            }
            pause(Duration::from_millis(50));
        }
        let now_ms = self.now_ms();
        let mut mappings = Vec::new();
        for (number, mapping) in self.mappings.iter().enumerate() {
            ask(mapping, &self.committed[number], partitions[number]);
            let letters = self.letters(mapping)?;
            let poisoned = poisoned(mapping, &ends[number]);
            let audit = mapping.audit(|audit, now_ms| audit.verdict(&ends[number], &letters, now_ms));
            mappings.push(MappingResult { audit, poisoned, engines: self.fleets[number].ends.clone() });
        }
        Ok(ChaosVerdict {
            version: VERSION,
            kafka: self.broker.get("KAFKA_VERSION").to_owned(),
            seed: self.settings.seed,
            plan_ms: u64::try_from(self.settings.time.as_millis())?,
            run_ms: now_ms,
            partial_responses: partial,
            finished,
            steps: steps.len() as u64,
            counts: self.counts.iter().map(|(kind, count)| (kind.words().to_owned(), *count)).collect(),
            answers: self.function.answers(),
            mappings,
            sides: self.sides.clone(),
            rss_bytes_max: fleet::MEMORY_BUDGET_BYTES + fleet::FIXED_OVERHEAD_BYTES,
            happened: self.happened.clone(),
        })
    }

    /// Waits until all is done and committed; whether it came to that before everything stood still.
    fn settle(&mut self, partitions: &[usize], ends: &[Vec<u64>]) -> anyhow::Result<bool> {
        let mut best = (0, self.now_ms());
        loop {
            for fleet in &mut self.fleets {
                if fleet.running() == 0 {
                    fleet.start()?;
                }
                fleet.watch(true)?;
            }
            let mut all = true;
            let mut sum = 0;
            for (number, mapping) in self.mappings.iter().enumerate() {
                let committed = ask(mapping, &self.committed[number], partitions[number]);
                let done = mapping.audit(|audit, _| audit.done());
                sum += committed.unwrap_or(0) + done;
                all &= committed == Some(ends[number].iter().sum());
            }
            let now_ms = self.now_ms();
            if sum > best.0 {
                best = (sum, now_ms);
            }
            if all {
                return Ok(true);
            }
            if now_ms > best.1 + STANDSTILL_MS_MAX {
                return Ok(false);
            }
            pause(Duration::from_millis(200));
        }
    }

    /// What lies in the on-failure topic; each letter is checked against what was produced.
    fn letters(&self, mapping: &Mapping) -> anyhow::Result<Vec<(u32, u64)>> {
        #[derive(serde::Deserialize)]
        struct Letter<'l> {
            #[serde(borrow)]
            payload: Event<'l>,
        }
        let mut found = Vec::new();
        let Some(topic) = &mapping.on_failure else { return Ok(found) };
        self.admin.read(topic, |value| match serde_json::from_slice::<Letter<'_>>(value) {
            Ok(letter) => {
                for (partition, offsets) in mapping.read(&letter.payload) {
                    found.extend(offsets.into_iter().map(|offset| (partition, offset)));
                }
            }
            Err(error) => mapping.complain(format!(
                "a letter in {topic}: {error}: {}",
                String::from_utf8_lossy(&value[..value.len().min(300)])
            )),
        })?;
        Ok(found)
    }
}

/// How many of the records are poisoned.
fn poisoned(mapping: &Mapping, ends: &[u64]) -> u64 {
    let in_partition = |(partition, end): (u32, &u64)| {
        (0..*end).filter(|&offset| mapping.is_poisoned(partition, offset)).count() as u64
    };
    (0..).zip(ends).map(in_partition).sum()
}
