//! A recommendation as it is typed: a mapping's file, AWS's command line, templates.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::TunePlan;
use super::cost::event_pollers;
use super::space::Settings;
use crate::workload::units::Span;

/// The settings in the languages that mappings are written in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// For `pelton run --config`.
    pub toml: String,
    /// `aws lambda update-event-source-mapping`.
    pub aws_cli: String,
    /// Properties of `AWS::Lambda::EventSourceMapping`, in YAML.
    pub cloudformation: String,
    /// Arguments of `aws_lambda_event_source_mapping`.
    pub terraform: String,
    /// What AWS takes only rounded, if anything.
    pub note: Option<String>,
}

/// `settings` in all of them.
pub(super) fn advice(settings: &Settings, plan: &TunePlan) -> Advice {
    let Settings { batch_size, maximum_batching_window, pollers } = settings;
    let window = settings.window();
    // AWS takes whole seconds, and has 500 ms as the default of who gives none. The longest of these that
    // is not longer keeps a limit of age.
    let seconds = window.as_secs();
    let is_default = (500..1_000).contains(&window.as_millis());
    let theirs = if is_default { Duration::from_millis(500) } else { Duration::from_secs(seconds) };
    let note = if theirs != window {
        let theirs = Span(theirs);
        Some(format!(
            "AWS has whole seconds and its default of 500 ms: {maximum_batching_window} became {theirs} there, with \
             smaller batches and more invocations. `--whole-seconds` searches only what AWS takes"
        ))
    } else if is_default {
        Some(
            "500 ms is AWS's default and cannot be given: a mapping that ever had another window must be made anew"
                .to_owned(),
        )
    } else {
        None
    };
    let provisioned = plan.billing.provisioned;
    let theirs = event_pollers(*pollers);
    let mut cli =
        format!("aws lambda update-event-source-mapping --uuid UUID \\\n    --batch-size {batch_size}");
    let mut cloudformation = format!("BatchSize: {batch_size}\n");
    let mut terraform = format!("batch_size = {batch_size}\n");
    if !is_default {
        cli += &format!(" \\\n    --maximum-batching-window-in-seconds {seconds}");
        cloudformation += &format!("MaximumBatchingWindowInSeconds: {seconds}\n");
        terraform += &format!("maximum_batching_window_in_seconds = {seconds}\n");
    }
    if provisioned {
        cli +=
            &format!(" \\\n    --provisioned-poller-config MinimumPollers={theirs},MaximumPollers={theirs}");
        cloudformation +=
            &format!("ProvisionedPollerConfig:\n  MinimumPollers: {theirs}\n  MaximumPollers: {theirs}\n");
        terraform += &format!(
            "provisioned_poller_config {{\n  minimum_pollers = {theirs}\n  maximum_pollers = {theirs}\n}}\n"
        );
    }
    Advice {
        toml: format!(
            "batch_size = {batch_size}\nmaximum_batching_window = \"{maximum_batching_window}\"\n\n[engine]\npollers = {pollers}\n"
        ),
        aws_cli: cli + "\n",
        cloudformation,
        terraform,
        note,
    }
}
