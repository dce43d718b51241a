//! A real Apache Kafka, through `scripts/kafka`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{client, unique};

/// An instance. One that the tests started is deleted when dropped, and in any case once the test
/// process has ended.
#[derive(Debug)]
pub(crate) struct Broker {
    dir: PathBuf,
    env: BTreeMap<String, String>,
    own: bool,
}

impl Broker {
    /// The broker that tests share: `PELTON_TEST_KAFKA` names its directory, else it is started
    /// by whoever asks first. Nobody may stop it.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var_os("PELTON_TEST_KAFKA") {
            Some(dir) => {
                let dir = PathBuf::from(dir);
                let env = parse(&script(&dir, &["env"]));
                Self { dir, env, own: false }
            }
            None => Self::start_own(),
        })
    }

    /// A broker for one test, which may do to it what it likes.
    pub(crate) fn start_own() -> Self {
        let dir = root().join(".kafka").join(unique("scratch"));
        let env = parse(&script(&dir, &["start", "--scratch", &std::process::id().to_string()]));
        Self { dir, env, own: true }
    }

    /// A value of the env file, such as `KAFKA_SASL_SSL`.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.env.get(name).unwrap_or_else(|| panic!("{name} is not in the env file: {:?}", self.env))
    }

    /// The bootstrap server without encryption and authentication.
    pub(crate) fn plaintext(&self) -> &str {
        self.get("KAFKA_PLAINTEXT")
    }

    /// Creates a topic that no other test uses.
    pub(crate) fn topic(&self, name: &str, partitions: i32) -> String {
        let topic = unique(name);
        client::create_topic(self.plaintext(), &topic, partitions);
        topic
    }

    /// `stop`, `stop --hard`, `start`, `restart`, `pause` or `resume`; waits until it is so.
    pub(crate) fn order(&self, words: &str) {
        assert!(self.own, "the shared broker is left alone");
        script(&self.dir, &words.split(' ').collect::<Vec<_>>());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.own {
            script(&self.dir, &["delete", "--hard"]);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the engine is a directory of the repository")
}

/// Runs `scripts/kafka` and returns what it prints.
fn script(dir: &Path, words: &[&str]) -> String {
    let output = Command::new(root().join("scripts/kafka"))
        .arg(words[0])
        .arg("--dir")
        .arg(dir)
        .args(&words[1..])
        .output()
        .expect("scripts/kafka is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/kafka {words:?} failed:\n{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn parse(env: &str) -> BTreeMap<String, String> {
    env.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}
