//! The `pelton` binary as a child process.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::eventually;
use super::function::{Function, NAME};

/// A mapping file in the making. The defaults suit tests: small batches, a short window, frequent
/// commits.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    mapping: Vec<(String, String)>,
    engine: Vec<(String, String)>,
    librdkafka: Vec<(String, String)>,
    source_access: Vec<(String, PathBuf)>,
}

impl Settings {
    /// Reads `topic` for `group` and invokes the function.
    pub(crate) fn new(bootstrap_servers: &str, topic: &str, group: &str, function: &Function) -> Self {
        let none = Self {
            mapping: Vec::new(),
            engine: Vec::new(),
            librdkafka: Vec::new(),
            source_access: Vec::new(),
        };
        none.with("bootstrap_servers", bootstrap_servers)
            .with("topics", topic)
            .with("consumer_group_id", group)
            .with("function", NAME)
            .with("function_endpoint", &function.endpoint())
            .with("starting_position", "TRIM_HORIZON")
            .with("batch_size", "100")
            .with("maximum_batching_window", "100ms")
            .engine("commit_interval", "200ms")
            .engine("function_timeout", "2s")
            .engine("drain_deadline", "20s")
            .engine("signing", "never")
            .engine("metrics_address", "off")
            // Members that are killed are missed soon, and brokers that return are met soon.
            .librdkafka("session.timeout.ms", "3000")
            .librdkafka("heartbeat.interval.ms", "500")
            .librdkafka("reconnect.backoff.max.ms", "1000")
    }

    /// Sets one of the mapping's own settings.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        set(&mut self.mapping, name, value);
        self
    }

    /// Sets one of the table `[engine]`.
    pub(crate) fn engine(mut self, name: &str, value: &str) -> Self {
        set(&mut self.engine, name, value);
        self
    }

    /// Sets a property of librdkafka.
    pub(crate) fn librdkafka(mut self, name: &str, value: &str) -> Self {
        set(&mut self.librdkafka, name, value);
        self
    }

    /// `classic`, or `consumer` (KIP-848), whose timeouts are the broker's.
    pub(crate) fn group_protocol(mut self, protocol: &str) -> Self {
        if protocol == "consumer" {
            self.librdkafka
                .retain(|(name, _)| !name.starts_with("session.") && !name.starts_with("heartbeat."));
        }
        self.engine("group_protocol", protocol)
    }

    /// Authenticates with the secret in `file`.
    pub(crate) fn source_access(mut self, kind: &str, file: &Path) -> Self {
        self.source_access.push((kind.into(), file.into()));
        self
    }

    /// The file's text.
    pub(crate) fn toml(&self) -> String {
        let mut text = String::new();
        let mut lines = |title: &str, lines: &[(String, String)]| {
            text.push_str(title);
            for (name, value) in lines {
                writeln!(text, "\"{name}\" = {value:?}").expect("a String takes all");
            }
        };
        lines("", &self.mapping);
        for (kind, file) in &self.source_access {
            let uri = format!("file:{}", file.display());
            lines("[[source_access]]\n", &[("type".into(), kind.clone()), ("uri".into(), uri)]);
        }
        lines("[engine]\n", &self.engine);
        lines("[engine.librdkafka]\n", &self.librdkafka);
        text
    }
}

fn set(list: &mut Vec<(String, String)>, name: &str, value: &str) {
    list.retain(|(there, _)| there != name);
    list.push((name.into(), value.into()));
}

/// A running engine. Killed when dropped; its log is part of the test's output.
#[derive(Debug)]
pub(crate) struct Engine {
    child: Child,
    dir: tempfile::TempDir,
}

impl Engine {
    /// `pelton run` with these settings.
    pub(crate) fn start(settings: &Settings) -> Self {
        Self::start_in(settings, &[])
    }

    /// The same, with these variables set.
    pub(crate) fn start_in(settings: &Settings, environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("mapping.toml");
        std::fs::write(&file, settings.toml()).expect("written");
        Self::spawn(dir, &["run", "--config", file.to_str().expect("UTF-8")], environment)
    }

    /// `pelton` with these arguments.
    pub(crate) fn with_arguments(arguments: &[&str]) -> Self {
        Self::spawn(tempfile::tempdir().expect("a directory"), arguments, &[])
    }

    fn spawn(dir: tempfile::TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = File::create(dir.path().join("log")).expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_pelton"))
            .args(arguments)
            .env_remove("RUST_LOG")
            .env("RUST_BACKTRACE", "1")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        Self { child, dir }
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.dir.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The most memory that it ever had.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") << 10
    }

    /// Waits until it has printed `text`.
    pub(crate) fn says(&self, text: &str) {
        eventually(text, || self.log().contains(text));
    }

    /// Sends a signal: `TERM`, `KILL`, `STOP`, `CONT`, `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid).status().expect("kill is there");
        assert!(sent.success(), "the engine has ended by itself:\n{}", self.log());
    }

    /// SIGTERM where it cannot finish its work; it must end all the same, without a panic. Returns
    /// what it printed.
    pub(crate) fn terminate(mut self) -> String {
        self.signal("TERM");
        self.wait();
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        log
    }

    /// SIGTERM; it must drain, commit, leave the group and end with 0.
    pub(crate) fn drain(mut self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    /// SIGKILL, as a crash does.
    pub(crate) fn kill(mut self) {
        self.signal("KILL");
        self.wait();
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the engine ends", || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        status.expect("just seen")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        // Shown only if the test fails, which may be after the engine has ended well.
        let log = self.log();
        eprintln!("--- the engine's log (last lines)");
        let skipped = log.lines().count().saturating_sub(60);
        log.lines().skip(skipped).for_each(|line| eprintln!("{line}"));
    }
}
