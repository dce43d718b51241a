//! The way to a topic that is only read.

use std::io::Write as _;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use clap::Args;
use tempfile::NamedTempFile;

use super::run;
use crate::capture::{AccessSettings, CapturePlan, capture};
use crate::report::text::count;

/// Which topic, from where on, and how to authenticate.
#[derive(Debug, Args)]
pub struct AccessArguments {
    /// The brokers to ask first.
    #[arg(long, visible_alias = "brokers", value_name = "HOST:PORT,..", help_heading = "Topic")]
    pub bootstrap_servers: Option<String>,
    /// The topic.
    #[arg(long, value_name = "NAME", help_heading = "Topic")]
    pub topic: Option<String>,
    /// Where to begin: earliest, latest, or a time as Unix seconds or RFC 3339 with an offset.
    #[arg(long, value_name = "PLACE", default_value = "latest", help_heading = "Topic")]
    pub from: String,
    /// How to authenticate, as in `pelton run`: SASL_SCRAM_512_AUTH=env:KAFKA_SECRET,
    /// SERVER_ROOT_CA_CERTIFICATE=file:/etc/ca.pem and so on; may be repeated.
    #[arg(long, value_name = "TYPE=URI", help_heading = "Access to the cluster")]
    pub source_access: Vec<String>,
    /// TLS without client authentication.
    #[arg(long, help_heading = "Access to the cluster")]
    pub tls: bool,
    /// SASL without TLS: for local brokers.
    #[arg(long, help_heading = "Access to the cluster")]
    pub allow_plaintext_sasl: bool,
    /// A property of librdkafka; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Access to the cluster")]
    pub librdkafka: Vec<String>,
}

impl AccessArguments {
    /// As given; nothing is checked yet.
    #[must_use]
    pub fn settings(&self) -> AccessSettings {
        AccessSettings {
            bootstrap_servers: self.bootstrap_servers.clone().unwrap_or_default(),
            topic: self.topic.clone().unwrap_or_default(),
            from: self.from.clone(),
            source_access: self.source_access.clone(),
            tls: self.tls,
            allow_plaintext_sasl: self.allow_plaintext_sasl,
            librdkafka: self.librdkafka.clone(),
        }
    }
}

/// Watches a topic as `plan` says, through a capture that is gone when the file is dropped. `remedy`
/// says what to do if nothing was seen.
///
/// # Errors
/// If the topic cannot be read, or had no record.
pub(super) fn watch(
    plan: &CapturePlan,
    topic: &str,
    remedy: &str,
    interrupted: &AtomicBool,
    no_progress: bool,
) -> anyhow::Result<NamedTempFile> {
    let bar = run::bar(no_progress);
    let mut file = NamedTempFile::new().context("a file for the traffic")?;
    let watched = capture(plan, file.as_file_mut(), "the traffic", interrupted, &mut |tick| {
        bar.set_message(format!("watching: {} records", count(tick.records as f64)));
        run::advance(&bar, tick.done_share.unwrap_or(0.0));
    });
    bar.finish_and_clear();
    let summary = watched?;
    file.flush().context("the file of the traffic")?;
    anyhow::ensure!(summary.records > 0, "no record of {topic} was seen; {remedy}");
    Ok(file)
}
