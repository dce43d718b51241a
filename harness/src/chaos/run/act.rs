//! What each step of the plan is in deeds.

use super::super::fleet;
use super::super::kafka::Admin;
use super::super::mapping::Mapping;
use super::super::plan::{Kind, Step};
use super::super::side::{self, Place};
use super::{Later, Run, ask};

/// Engines of a mapping, at most.
const ENGINES_MAX: usize = 3;
/// Partitions that are added at once, and how many a topic may have.
const GROWTH: usize = 2;
const PARTITIONS_MAX: usize = 24;
/// How long a broker that was stopped or killed stays away.
const AWAY_MS: u64 = 1_500;

impl Run<'_> {
    /// Does it, if there is somebody to do it to.
    pub(super) fn act(&mut self, step: Step) -> anyhow::Result<()> {
        let number = usize::try_from(step.dice % self.fleets.len() as u64)?;
        let dice = step.dice >> 8;
        let name = self.mappings[number].terms.name;
        let done = match step.kind {
            Kind::KillEngine => {
                let (committed, away) = (&self.committed[number], self.away);
                let partitions = self.feed.partitions(number);
                let ask = |mapping: &Mapping| {
                    if !away {
                        ask(mapping, committed, partitions);
                    }
                };
                let killed = self.fleets[number].kill(dice, ask)?;
                let started = self.fleets[number].start()?;
                killed.map(|killed| format!("{name}-{killed} killed, {name}-{started} started"))
            }
            Kind::StopEngine => {
                let stopped = self.fleets[number].stop(dice)?;
                let started = self.fleets[number].start()?;
                stopped.map(|stopped| format!("{name}-{stopped} stopped, {name}-{started} started"))
            }
            Kind::FreezeEngine => {
                let frozen = self.fleets[number].freeze(dice)?;
                if let Some(engine) = frozen {
                    let wakes_ms = self.now_ms() + fleet::SESSION_MS + 1_500 + dice % 3_000;
                    self.later.push((wakes_ms, Later::Thaw { mapping: number, engine }));
                }
                if self.fleets[number].running() == 0 {
                    self.fleets[number].start()?;
                }
                frozen.map(|frozen| format!("{name}-{frozen} frozen"))
            }
            Kind::AddEngine => {
                let room = self.fleets[number].running() < ENGINES_MAX;
                let added = if room { Some(self.fleets[number].start()?) } else { None };
                added.map(|added| format!("{name}-{added} added"))
            }
            Kind::RemoveEngine => {
                let spare = self.fleets[number].running() > 1;
                let removed = if spare { self.fleets[number].stop(dice)? } else { None };
                removed.map(|removed| format!("{name}-{removed} removed"))
            }
            Kind::RestartBroker => self.take_broker(&["stop"], "start", AWAY_MS)?,
            Kind::KillBroker => self.take_broker(&["stop", "--hard"], "start", AWAY_MS)?,
            Kind::PauseBroker => self.take_broker(&["pause"], "resume", fleet::SESSION_MS + 2_000)?,
            Kind::AddPartitions => self.grow(number)?,
            Kind::DeleteTopic => {
                let count = self.orphans.len();
                let orphan = self.beside(|place, admin| side::delete_topic(place, admin, count))?;
                self.orphans.push(std::thread::spawn(move || orphan.watch()));
                Some("a topic is deleted under its engine".to_owned())
            }
            Kind::FullDisk => {
                let count = self.sides.len();
                self.sides.push(side::full_report()?);
                let side = self.beside(|place, admin| side::full_log(place, admin, count))?;
                let what = format!("{}: {}", side.what, side.how);
                self.sides.push(side);
                Some(what)
            }
        };
        let Some(what) = done else {
            self.happens(format!("{}: nobody to do it to", step.kind.words()));
            return Ok(());
        };
        *self.counts.entry(step.kind).or_default() += 1;
        self.happens(what);
        Ok(())
    }

    fn take_broker(
        &mut self,
        order: &[&str],
        back: &'static str,
        away_ms: u64,
    ) -> anyhow::Result<Option<String>> {
        self.away = true;
        for mapping in &self.mappings {
            mapping.audit(|audit, now_ms| audit.on_outage(true, now_ms));
        }
        self.broker.order(order)?;
        self.later.push((self.now_ms() + away_ms, Later::BrokerBack(back)));
        Ok(Some(format!("broker: {}", order.join(" "))))
    }

    fn grow(&mut self, number: usize) -> anyhow::Result<Option<String>> {
        let partitions = self.feed.partitions(number) + GROWTH;
        if partitions > PARTITIONS_MAX {
            return Ok(None);
        }
        let mapping = &self.mappings[number];
        self.admin.grow_topic(&mapping.topic, partitions)?;
        mapping.audit(|audit, now_ms| audit.on_growth(now_ms));
        self.feed.grow(number, partitions);
        Ok(Some(format!("{} has {partitions} partitions", mapping.topic)))
    }

    fn beside<T>(&self, act: impl FnOnce(Place<'_>, &Admin) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let endpoint = self.function.endpoint();
        let place = Place {
            binary: &self.settings.engine,
            directory: &self.settings.directory,
            bootstrap_servers: self.broker.bootstrap_servers(),
            endpoint: &endpoint,
            run: &self.name,
        };
        act(place, &self.admin)
    }
}

/// Whether it waits for a broker that is away.
pub(super) const fn needs_broker(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::RestartBroker
            | Kind::KillBroker
            | Kind::PauseBroker
            | Kind::AddPartitions
            | Kind::DeleteTopic
            | Kind::FullDisk
    )
}
