//! The engines: processes of the `pelton` binary that are started, signalled, watched and ended.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::mapping::Mapping;

/// How long an engine may take to end after SIGTERM: its drain deadline, closing the client, and a
/// machine that is busy.
const END_MS_MAX: u64 = 60_000;
/// What every engine may use for records.
pub(super) const MEMORY_BUDGET_BYTES: u64 = 64 << 20;
/// What a process has besides: code, the Kafka client, threads, connections.
pub(super) const FIXED_OVERHEAD_BYTES: u64 = 64 << 20;
/// The engines' `function_timeout`.
pub(super) const FUNCTION_TIMEOUT_MS: u64 = 2_000;
/// The group's session: whoever is silent for longer is thrown out.
pub(super) const SESSION_MS: u64 = 6_000;

/// What engines have in common.
#[derive(Clone, Debug)]
pub(super) struct Make {
    /// The `pelton` binary.
    pub(super) binary: PathBuf,
    /// Where mapping files and logs are kept.
    pub(super) directory: PathBuf,
    /// The broker.
    pub(super) bootstrap_servers: String,
    /// The function.
    pub(super) endpoint: String,
    /// The most records of a batch.
    pub(super) batch_size: u64,
    /// Pollers of an engine.
    pub(super) pollers: u32,
    /// `maximum_retry_attempts` of mappings that give up.
    pub(super) retries: u8,
}

/// A process.
#[derive(Debug)]
struct Engine {
    number: u16,
    child: Child,
    log: PathBuf,
    frozen: bool,
    /// When it was told to end.
    told_ms: Option<u64>,
}

/// How the engines of a mapping have ended so far.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Ends {
    /// Engines started.
    pub started: u64,
    /// Ended with 0 after SIGTERM.
    pub drained: u64,
    /// Ended after SIGTERM with another code: the broker was away, or a batch still failed.
    pub stopped_otherwise: u64,
    /// Did not start because no broker answered.
    pub no_broker: u64,
    /// The largest resident memory of an engine, in bytes.
    pub rss_peak_bytes: u64,
}

/// The engines of a mapping.
#[derive(Debug)]
pub(super) struct Fleet {
    make: Make,
    mapping: Arc<Mapping>,
    engines: Vec<Engine>,
    next: u16,
    pub(super) ends: Ends,
}

impl Fleet {
    pub(super) fn new(make: Make, mapping: &Arc<Mapping>) -> Self {
        Self { make, mapping: Arc::clone(mapping), engines: Vec::new(), next: 0, ends: Ends::default() }
    }

    /// Engines that are not about to end.
    pub(super) fn running(&self) -> usize {
        self.living().count()
    }

    fn living(&self) -> impl Iterator<Item = usize> + '_ {
        let lives = |engine: &Engine| engine.told_ms.is_none() && !engine.frozen;
        self.engines.iter().enumerate().filter(move |(_, engine)| lives(engine)).map(|(at, _)| at)
    }

    fn choose(&self, dice: u64) -> Option<usize> {
        let count = self.running() as u64;
        let chosen = usize::try_from(dice.checked_rem(count)?).unwrap_or(0);
        self.living().nth(chosen)
    }

    /// Starts one more. Returns its number.
    pub(super) fn start(&mut self) -> anyhow::Result<u16> {
        let number = self.next;
        self.next += 1;
        let name = format!("{}-{number}", self.mapping.terms.name);
        let file = self.make.directory.join(format!("{name}.toml"));
        std::fs::write(&file, self.toml(&name, number))
            .with_context(|| format!("writing {}", file.display()))?;
        let log = self.make.directory.join(format!("{name}.log"));
        self.mapping.audit(|audit, now_ms| audit.on_start(number, now_ms));
        let child = spawn(&self.make.binary, &file, &log)?;
        self.engines.push(Engine { number, child, log, frozen: false, told_ms: None });
        self.ends.started += 1;
        Ok(number)
    }

    fn toml(&self, function: &str, number: u16) -> String {
        let Make { bootstrap_servers, endpoint, batch_size, pollers, retries, .. } = &self.make;
        let Mapping { topic, group, on_failure, .. } = &*self.mapping;
        let mut text = format!(
            "bootstrap_servers = {bootstrap_servers:?}\ntopics = {topic:?}\nconsumer_group_id = {group:?}\n\
             function = {function:?}\nfunction_endpoint = {endpoint:?}\n\
             starting_position = \"TRIM_HORIZON\"\nbatch_size = {batch_size}\n\
             maximum_batching_window = \"100ms\"\n"
        );
        if let Some(on_failure) = on_failure {
            write!(
                text,
                "maximum_retry_attempts = {retries}\nbisect_batch_on_function_error = true\n\
                 function_response_types = [\"ReportBatchItemFailures\"]\n\
                 destination_config = \"kafka://{on_failure}\"\n"
            )
            .expect("a String takes all");
        }
        let budget = MEMORY_BUDGET_BYTES;
        // Every other engine scales by lag, so that partitions move within engines too.
        let pollers_min = if number.is_multiple_of(2) { *pollers } else { 1 };
        write!(
            text,
            "[engine]\npollers = {pollers}\npollers_min = {pollers_min}\nmemory_budget = {budget}\n\
             commit_interval = \"500ms\"\nfunction_timeout = \"{FUNCTION_TIMEOUT_MS}ms\"\n\
             connect_timeout = \"1s\"\nretry_backoff = \"200ms\"\nretry_backoff_max = \"2s\"\ndrain_deadline = \"10s\"\nsigning = \"never\"\n\
             metrics_address = \"off\"\n[engine.librdkafka]\n\"session.timeout.ms\" = {SESSION_MS}\n\
             \"heartbeat.interval.ms\" = 1000\n\"topic.metadata.refresh.interval.ms\" = 5000\n\"reconnect.backoff.max.ms\" = 1000\n"
        )
        .expect("a String takes all");
        text
    }

    /// SIGKILL; `committed` says what is committed once it is dead. `None` if there is nobody.
    pub(super) fn kill(
        &mut self,
        dice: u64,
        committed: impl FnOnce(&Mapping),
    ) -> anyhow::Result<Option<u16>> {
        let Some(chosen) = self.choose(dice) else { return Ok(None) };
        let mut engine = self.engines.swap_remove(chosen);
        self.ends.rss_peak_bytes = self.ends.rss_peak_bytes.max(rss_peak_bytes(engine.child.id()));
        engine.child.kill().context("SIGKILL to an engine")?;
        engine.child.wait().context("waiting for a killed engine")?;
        committed(&self.mapping);
        self.mapping.audit(|audit, now_ms| audit.on_kill(engine.number, now_ms));
        Ok(Some(engine.number))
    }

    /// SIGTERM; its end is seen by [`Fleet::watch`]. `None` if there is nobody.
    pub(super) fn stop(&mut self, dice: u64) -> anyhow::Result<Option<u16>> {
        let Some(chosen) = self.choose(dice) else { return Ok(None) };
        let engine = &mut self.engines[chosen];
        self.mapping.audit(|audit, now_ms| audit.on_stop(engine.number, now_ms));
        engine.told_ms = Some(self.mapping.now_ms());
        signal(&engine.child, Signal::SIGTERM)?;
        Ok(Some(engine.number))
    }

    /// SIGSTOP. `None` if there is nobody.
    pub(super) fn freeze(&mut self, dice: u64) -> anyhow::Result<Option<u16>> {
        let Some(chosen) = self.choose(dice) else { return Ok(None) };
        let engine = &mut self.engines[chosen];
        self.mapping.audit(|audit, now_ms| audit.on_freeze(engine.number, true, now_ms));
        engine.frozen = true;
        signal(&engine.child, Signal::SIGSTOP)?;
        Ok(Some(engine.number))
    }

    /// SIGCONT to one that was frozen.
    pub(super) fn thaw(&mut self, number: u16) -> anyhow::Result<()> {
        let Some(engine) = self.engines.iter_mut().find(|engine| engine.number == number) else {
            return Ok(());
        };
        engine.frozen = false;
        self.mapping.audit(|audit, now_ms| audit.on_freeze(engine.number, false, now_ms));
        signal(&engine.child, Signal::SIGCONT)
    }

    /// Looks after them: who has ended, and how; how much memory they use. Whoever ended without
    /// being told to is replaced, and is a finding, unless it is because the broker was away.
    pub(super) fn watch(&mut self, broker_away: bool) -> anyhow::Result<()> {
        let now_ms = self.mapping.now_ms();
        let mut replace = 0;
        let mut at = 0;
        while at < self.engines.len() {
            let engine = &mut self.engines[at];
            self.ends.rss_peak_bytes = self.ends.rss_peak_bytes.max(rss_peak_bytes(engine.child.id()));
            let Some(status) = engine.child.try_wait().context("our child")? else {
                if engine.told_ms.is_some_and(|told| now_ms > told + END_MS_MAX) {
                    let number = engine.number;
                    engine.child.kill().context("SIGKILL to an engine")?;
                    engine.told_ms = Some(now_ms);
                    self.mapping.complain(format!("engine {number} did not end within {END_MS_MAX} ms"));
                }
                at += 1;
                continue;
            };
            let engine = self.engines.swap_remove(at);
            let log = std::fs::read_to_string(&engine.log).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default().to_owned();
            if log.contains("panicked") {
                self.mapping.complain(format!("engine {} panicked: {last}", engine.number));
            }
            match engine.told_ms {
                Some(_) if status.success() => self.ends.drained += 1,
                Some(_) => self.ends.stopped_otherwise += 1,
                None => {
                    self.mapping.audit(|audit, now_ms| audit.on_stop(engine.number, now_ms));
                    if broker_away {
                        self.ends.no_broker += 1;
                    } else {
                        self.mapping.complain(format!("engine {} ended: {status}: {last}", engine.number));
                    }
                    replace += 1;
                }
            }
        }
        for _ in 0..replace {
            self.start()?;
        }
        Ok(())
    }

    /// Tells everybody to end.
    pub(super) fn stop_all(&mut self) -> anyhow::Result<()> {
        while self.stop(0)?.is_some() {}
        Ok(())
    }

    /// Whether nobody is left.
    pub(super) fn is_empty(&self) -> bool {
        self.engines.is_empty()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for engine in &mut self.engines {
            drop(engine.child.kill());
            drop(engine.child.wait());
        }
    }
}

/// `pelton run` with a mapping file.
pub(super) fn spawn(binary: &Path, file: &Path, log: &Path) -> anyhow::Result<Child> {
    let log = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    Command::new(binary)
        .arg("run")
        .arg("--config")
        .arg(file)
        .env_remove("RUST_LOG")
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("a second handle of the log")?)
        .stderr(log)
        .spawn()
        .with_context(|| {
            format!("starting {}; build it first, or say where it is by --engine", binary.display())
        })
}

/// Sends a signal to a child that has not been waited for.
pub(super) fn signal(child: &Child, signal: Signal) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id")?);
    kill(pid, signal).with_context(|| format!("{signal} to process {pid}"))
}

/// The largest resident memory that a process has had, in bytes; 0 where the system does not say.
fn rss_peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.trim().parse().ok());
    kib.map_or(0, |kib: u64| kib * 1024)
}
