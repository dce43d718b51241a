//! One run: start everything, do to it what the plan says, let it settle, close the ledgers.

mod act;
mod close;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use pelton::time::Clock;

use super::audit::Terms;
use super::content::{Content, mix};
use super::fault::Law;
use super::feed::{Feed, Rate};
use super::fleet::{self, Fleet, Make};
use super::function::Function;
use super::kafka::{Admin, Broker, Committed};
use super::mapping::{Mapping, now_ms};
use super::plan::{Kind, Step, plan};
use super::side::Side;
use super::verdict::{ChaosVerdict, Happening};
use super::{ChaosSettings, pause};

/// Retries of a mapping that gives up: the fourth failure is the last.
const RETRIES: u8 = 3;
/// Engines of a mapping at the start.
const ENGINES: usize = 2;
/// How often commits are asked for.
const ASK_MS: u64 = 500;
/// How long the broker may take to say what is committed.
const ANSWER: Duration = Duration::from_secs(2);
/// After the broker is back, an engine may still end because it did not find it.
const BACK_MS: u64 = 30_000;

/// What is to be done later.
#[derive(Clone, Copy, Debug)]
enum Later {
    Thaw { mapping: usize, engine: u16 },
    BrokerBack(&'static str),
}

struct Run<'s> {
    settings: &'s ChaosSettings,
    name: String,
    clock: Clock,
    broker: Broker,
    admin: Admin,
    function: Function,
    mappings: Vec<Arc<Mapping>>,
    committed: Vec<Committed>,
    feed: Feed,
    fleets: Vec<Fleet>,
    later: Vec<(u64, Later)>,
    away: bool,
    back_ms: u64,
    asked_ms: u64,
    happened: Vec<Happening>,
    counts: BTreeMap<Kind, u64>,
    sides: Vec<Side>,
    orphans: Vec<JoinHandle<anyhow::Result<Side>>>,
    say: &'s mut dyn FnMut(&str),
}

/// Makes a run. `say` is told what happens, a line at a time; `interrupted` ends the plan early.
///
/// # Errors
/// If the run cannot be made: no broker, no engine. What the system under test does wrong is in
/// the verdict.
pub fn run(
    settings: &ChaosSettings,
    interrupted: &AtomicBool,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<ChaosVerdict> {
    std::fs::create_dir_all(&settings.directory)
        .with_context(|| format!("creating {}", settings.directory.display()))?;
    let partial = knows_partial(settings)?;
    say("starting Apache Kafka");
    let broker = Broker::start(&settings.kafka, &settings.directory.join("broker"))?;
    let mut run = Run::start(settings, partial, broker, say)?;
    let steps = plan(settings.seed, settings.time);
    let outcome = run.torment(&steps, interrupted);
    // Whatever it was, what is frozen or away is let go, so that nothing is left behind.
    run.let_go()?;
    outcome?;
    run.close(&steps, partial)
}

/// Whether this engine has partial responses and on-failure destinations.
fn knows_partial(settings: &ChaosSettings) -> anyhow::Result<bool> {
    let help =
        std::process::Command::new(&settings.engine).args(["run", "--help"]).output().with_context(|| {
            format!("running {}; build it first, or say where it is by --engine", settings.engine.display())
        })?;
    Ok(String::from_utf8_lossy(&help.stdout).contains("--destination-config"))
}

impl<'s> Run<'s> {
    fn start(
        settings: &'s ChaosSettings,
        partial: bool,
        broker: Broker,
        say: &'s mut dyn FnMut(&str),
    ) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let seed = settings.seed;
        let name = format!("chaos-{}", std::process::id());
        let servers = broker.bootstrap_servers().to_owned();
        let admin = Admin::new(&servers)?;
        let terms = |name, give_up| Terms { name, function_timeout_ms: fleet::FUNCTION_TIMEOUT_MS, give_up };
        let mapping = |terms: Terms, partial, salt| {
            let content = Content::new(mix(seed ^ salt), 20..=200);
            Arc::new(Mapping::new(terms, &name, partial, mix(seed ^ salt ^ 0xff), content, clock))
        };
        let mut mappings = vec![mapping(terms("whole", None), false, 1)];
        if partial {
            mappings.push(mapping(terms("partial", Some(RETRIES + 1)), true, 2));
        }
        let partitions = settings.partitions as usize;
        let mut committed = Vec::new();
        for mapping in &mappings {
            admin.create_topic(&mapping.topic, i32::try_from(partitions)?)?;
            if let Some(topic) = &mapping.on_failure {
                admin.create_topic(topic, 1)?;
            }
            committed.push(Committed::new(&servers, &mapping.group, &mapping.topic)?);
        }
        let function = Function::start(&mappings, Law::hostile(seed))?;
        let rate = rate(settings);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate")]
        let batch_size = ((rate.per_second / 20.0) as u64).clamp(100, 2_000);
        let make = Make {
            binary: settings.engine.clone(),
            directory: settings.directory.clone(),
            bootstrap_servers: servers.clone(),
            endpoint: function.endpoint(),
            batch_size,
            pollers: 8,
            retries: RETRIES,
        };
        let mut fleets: Vec<Fleet> =
            mappings.iter().map(|mapping| Fleet::new(make.clone(), mapping)).collect();
        let feed = Feed::start(&servers, &mappings, partitions, rate)?;
        for fleet in &mut fleets {
            for _ in 0..ENGINES {
                fleet.start()?;
            }
        }
        Ok(Self {
            settings,
            name,
            clock,
            broker,
            admin,
            function,
            mappings,
            committed,
            feed,
            fleets,
            later: Vec::new(),
            away: false,
            back_ms: 0,
            asked_ms: 0,
            happened: Vec::new(),
            counts: BTreeMap::new(),
            sides: Vec::new(),
            orphans: Vec::new(),
            say,
        })
    }

    fn now_ms(&self) -> u64 {
        now_ms(&self.clock)
    }

    fn happens(&mut self, what: String) {
        let at_ms = self.now_ms();
        #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
        let seconds = at_ms as f64 / 1_000.0;
        (self.say)(&format!("{seconds:8.1} s  {what}"));
        self.happened.push(Happening { at_ms, what });
    }

    /// Does what the plan says, until its time is over and everything is produced.
    fn torment(&mut self, steps: &[Step], interrupted: &AtomicBool) -> anyhow::Result<()> {
        let time_ms = u64::try_from(self.settings.time.as_millis())?;
        let records = self.settings.records.unwrap_or(0);
        let mut steps = steps.iter().copied().peekable();
        let mut told_ms = 0;
        loop {
            let now_ms = self.now_ms();
            self.do_what_is_due(now_ms)?;
            // The broker is not taken away twice, and what needs it waits for it.
            let next =
                steps.next_if(|step| step.at_ms <= now_ms && (!self.away || !act::needs_broker(step.kind)));
            if let Some(step) = next {
                self.act(step)?;
            }
            self.look_after()?;
            if now_ms >= told_ms + 10_000 {
                told_ms = now_ms;
                self.tell();
            }
            // A run that produces a given number goes on until then, at most twice its time.
            let produced = self.feed.sent() >= records || now_ms >= time_ms * 2;
            if (now_ms >= time_ms && produced) || interrupted.load(Ordering::Relaxed) {
                return Ok(());
            }
            pause(Duration::from_millis(50));
        }
    }

    fn tell(&mut self) {
        let done: u64 = self.mappings.iter().map(|mapping| mapping.audit(|audit, _| audit.done())).sum();
        let (sent, now_ms) = (self.feed.sent(), self.now_ms() / 1_000);
        let engines: usize = self.fleets.iter().map(Fleet::running).sum();
        (self.say)(&format!("{now_ms:8}   s  {sent} records produced, {done} done, {engines} engines"));
    }

    fn look_after(&mut self) -> anyhow::Result<()> {
        let now_ms = self.now_ms();
        let away = self.away || now_ms < self.back_ms + BACK_MS;
        for fleet in &mut self.fleets {
            fleet.watch(away)?;
        }
        if !self.away && now_ms >= self.asked_ms + ASK_MS {
            self.asked_ms = now_ms;
            for number in 0..self.mappings.len() {
                self.ask(number);
            }
        }
        Ok(())
    }

    /// Tells the audit what is committed.
    fn ask(&self, number: usize) {
        ask(&self.mappings[number], &self.committed[number], self.feed.partitions(number));
    }

    fn do_what_is_due(&mut self, now_ms: u64) -> anyhow::Result<()> {
        while let Some(at) = self.later.iter().position(|(due_ms, _)| *due_ms <= now_ms) {
            let (_, later) = self.later.swap_remove(at);
            self.follow_up(later)?;
        }
        Ok(())
    }

    fn follow_up(&mut self, later: Later) -> anyhow::Result<()> {
        match later {
            Later::Thaw { mapping, engine } => {
                self.fleets[mapping].thaw(engine)?;
                self.happens(format!("{}-{engine} wakes", self.mappings[mapping].terms.name));
            }
            Later::BrokerBack(order) => {
                self.broker.order(&[order])?;
                self.away = false;
                self.back_ms = self.now_ms();
                for mapping in &self.mappings {
                    mapping.audit(|audit, now_ms| audit.on_outage(false, now_ms));
                }
                self.happens("the broker is back".to_owned());
            }
        }
        Ok(())
    }

    fn let_go(&mut self) -> anyhow::Result<()> {
        for (_, later) in std::mem::take(&mut self.later) {
            self.follow_up(later)?;
        }
        Ok(())
    }
}

/// Asks what is committed and tells the audit. Returns the sum.
fn ask(mapping: &Mapping, committed: &Committed, partitions: usize) -> Option<u64> {
    let committed = committed.ask(partitions, ANSWER)?;
    mapping.audit(|audit, now_ms| {
        for (partition, offset) in &committed {
            audit.on_committed(*partition, *offset, now_ms);
        }
    });
    Some(committed.iter().map(|(_, offset)| offset).sum())
}

/// Produces a given number within nine tenths of the time.
#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn rate(settings: &ChaosSettings) -> Rate {
    match settings.records {
        Some(records) => {
            Rate { per_second: records as f64 / (settings.time.as_secs_f64() * 0.9), records_max: records }
        }
        None => Rate { per_second: settings.rate as f64, records_max: u64::MAX },
    }
}
