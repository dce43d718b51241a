//! What is done beside the mappings: a topic is deleted under an engine, disks are full.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::fleet::{signal, spawn};
use super::kafka::{Admin, config};
use super::pause;

/// Functions of this name take everything; nothing is audited.
pub(super) const FUNCTION: &str = "beside";
/// How long an engine without its topic is watched. The client itself waits half a minute before it
/// believes that a topic is gone.
const WATCH: Duration = Duration::from_secs(120);
/// CPU time that waiting may cost in that time, in hundredths of a second: a tenth of a core.
const CPU_TICKS_MAX: u64 = 1_200;
/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(45);
/// Records of a topic that is soon deleted.
const RECORDS: usize = 500;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Side {
    /// What was done.
    pub what: String,
    /// Whether the engine, or the harness, behaved.
    pub ok: bool,
    /// How.
    pub how: String,
}

/// Where side engines are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    pub(super) binary: &'p Path,
    pub(super) directory: &'p Path,
    pub(super) bootstrap_servers: &'p str,
    pub(super) endpoint: &'p str,
    pub(super) run: &'p str,
}

impl Place<'_> {
    /// A topic of its own with some records, and a mapping file that reads it.
    fn mapping(&self, admin: &Admin, name: &str) -> anyhow::Result<(String, PathBuf)> {
        let topic = format!("{}-{name}", self.run);
        admin.create_topic(&topic, 2)?;
        let producer: BaseProducer = config(self.bootstrap_servers).create()?;
        for _ in 0..RECORDS {
            producer
                .send(BaseRecord::<(), str>::to(&topic).payload("beside"))
                .map_err(|(error, _)| anyhow::anyhow!("a record for {topic}: {error}"))?;
        }
        producer.flush(PATIENCE)?;
        let file = self.directory.join(format!("{name}.toml"));
        let (servers, endpoint) = (self.bootstrap_servers, self.endpoint);
        let text = format!(
            "bootstrap_servers = {servers:?}\ntopics = {topic:?}\nconsumer_group_id = {topic:?}\n\
             function = \"{FUNCTION}\"\nfunction_endpoint = {endpoint:?}\n[engine]\n\
             commit_interval = \"200ms\"\ndrain_deadline = \"5s\"\nsigning = \"never\"\nmetrics_address = \"off\"\n"
        );
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        Ok((topic, file))
    }
}

/// An engine whose topic was deleted under it.
#[derive(Debug)]
pub(super) struct Orphan {
    child: Child,
    topic: String,
    log: PathBuf,
    /// Whether everything was delivered and committed before.
    taken: bool,
    /// The length of its log, and the CPU time it had used, when the topic was deleted.
    before: (usize, u64),
}

/// Deletes a topic under the engine that reads it.
pub(super) fn delete_topic(place: Place<'_>, admin: &Admin, number: usize) -> anyhow::Result<Orphan> {
    let name = format!("deleted-{number}");
    let (topic, file) = place.mapping(admin, &name)?;
    let log = place.directory.join(format!("{name}.log"));
    let child = spawn(place.binary, &file, &log)?;
    let mut orphan = Orphan { child, topic, log, taken: false, before: (0, 0) };
    let topic = &orphan.topic;
    let all = || admin.committed(topic, topic, 2).is_some_and(|sum| sum == RECORDS as u64);
    orphan.taken = until(PATIENCE, all);
    admin.delete_topic(topic)?;
    orphan.before = (orphan.log().len(), cpu_ticks(orphan.child.id()));
    Ok(orphan)
}

impl Orphan {
    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What its log says of the loss.
    fn told(&self) -> Option<String> {
        let log = self.log();
        let since = log.get(self.before.0..).unwrap_or_default();
        let found = since.lines().find(|line| line.contains(&self.topic) && names_the_loss(line));
        found.map(|line| line.trim().to_owned())
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// It must say that its topic is gone, and end or wait, not spin or crash.
    pub(super) fn watch(mut self) -> anyhow::Result<Side> {
        let told = until(WATCH, || self.told().is_some() || self.has_ended());
        let ended = self.has_ended();
        let used = cpu_ticks(self.child.id()).saturating_sub(self.before.1);
        let mut how = Vec::new();
        if !self.taken {
            how.push("its records were not all delivered and committed before".to_owned());
        }
        let line = self.told();
        if line.is_none() {
            let gone = &self.topic;
            how.push(format!("its log does not say within {} s that {gone} is gone", WATCH.as_secs()));
        }
        if told && !ended && used > CPU_TICKS_MAX {
            how.push(format!("it spins: {used}0 ms of CPU in at most {} s", WATCH.as_secs()));
        }
        if self.log().contains("panicked") {
            how.push("it panicked".to_owned());
        }
        if !ended {
            signal(&self.child, Signal::SIGTERM)?;
            if !until(PATIENCE, || self.has_ended()) {
                how.push(format!("it does not end within {} s of SIGTERM", PATIENCE.as_secs()));
                self.child.kill()?;
            }
        }
        let status = self.child.wait()?;
        let ok = how.is_empty();
        if ok {
            let does =
                if ended { format!("it ended ({status})") } else { format!("it waits ({used}0 ms of CPU)") };
            how.push(format!("{does}, and says: {}", line.unwrap_or_default()));
        }
        Ok(Side { what: "topic deleted under an engine".to_owned(), ok, how: how.join("; ") })
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether a line of a log says that a topic is no more, loud enough for whoever looks for trouble.
fn names_the_loss(line: &str) -> bool {
    let loud = [" WARN ", " ERROR "].iter().any(|level| line.contains(level));
    let says = ["does not exist", "no longer available", "Unknown topic"];
    loud && says.iter().any(|words| line.contains(words))
}

/// A run of the harness whose result has no room: it must say what failed, fail, and keep its
/// verdict on standard output.
pub(super) fn full_report() -> anyhow::Result<Side> {
    let harness = std::env::current_exe().context("where this program lies")?;
    let output = Command::new(harness)
        .args(["run", "--scenario", "throughput", "--records", "20000", "--warm-up", "0s", "--no-progress"])
        .args(["--json", "/dev/full"])
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .context("starting a run")?;
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let mut how = Vec::new();
    if output.status.success() {
        how.push("exit code 0 although its result is lost".to_owned());
    }
    if !errors.contains("/dev/full") {
        how.push(format!("standard error does not name the file: {}", errors.trim()));
    }
    if !out.to_lowercase().contains("audit") {
        how.push("no verdict on standard output".to_owned());
    }
    let ok = how.is_empty();
    if ok {
        how.push(format!("{}, verdict kept, says: {}", output.status, errors.trim()));
    }
    Ok(Side { what: "result on a full disk".to_owned(), ok, how: how.join("; ") })
}

/// An engine whose log has no room: it must deliver all the same.
pub(super) fn full_log(place: Place<'_>, admin: &Admin, number: usize) -> anyhow::Result<Side> {
    let name = format!("full-{number}");
    let (topic, file) = place.mapping(admin, &name)?;
    let full = File::options().write(true).open("/dev/full").context("opening /dev/full")?;
    let mut child = Command::new(place.binary)
        .arg("run")
        .arg("--config")
        .arg(&file)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(full.try_clone()?)
        .stderr(full)
        .spawn()
        .context("starting an engine")?;
    let mut status = None;
    let delivered = until(PATIENCE, || {
        status = child.try_wait().ok().flatten();
        status.is_some() || admin.committed(&topic, &topic, 2).is_some_and(|sum| sum == RECORDS as u64)
    });
    let ended = status.is_some();
    let mut how = match status {
        Some(status) => vec![format!("it ended: {status}")],
        None if delivered => Vec::new(),
        None => vec![format!("nothing committed within {} s", PATIENCE.as_secs())],
    };
    if !ended {
        signal(&child, Signal::SIGTERM)?;
        if !until(PATIENCE, || child.try_wait().is_ok_and(|status| status.is_some())) {
            child.kill()?;
        }
        let status = child.wait()?;
        if !status.success() {
            how.push(format!("after SIGTERM it ended with {status}"));
        }
    }
    let ok = how.is_empty();
    if ok {
        how.push("it delivers, commits and drains all the same".to_owned());
    }
    admin.delete_topic(&topic)?;
    Ok(Side { what: "log on a full disk".to_owned(), ok, how: how.join("; ") })
}

/// Asks until it is so; whether it became so within `time`.
fn until(time: Duration, mut so: impl FnMut() -> bool) -> bool {
    let clock = pelton::time::Clock::start();
    let end = clock.now() + time;
    loop {
        if so() {
            return true;
        }
        if clock.now() >= end {
            return false;
        }
        pause(Duration::from_millis(100));
    }
}

/// CPU time that a process has used, in hundredths of a second; 0 where the system does not say.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything, in parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|text| text.parse().ok()).unwrap_or(0);
    field(11) + field(12)
}
