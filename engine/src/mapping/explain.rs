//! The effective mapping in words: each value, and who said so.

use std::fmt::{self, Write as _};

use super::failures::{Age, DestinationConfig};
use super::settings::{EngineSettings, MappingSettings, Settings};
use super::value::{Accesses, Names, Patterns, Properties, Size, Span, Switch, Text, Whole};
use super::{Mapping, Origin, Origins, StartingPosition, Word};

/// The effective mapping as text: every setting with its value and origin, then what follows from
/// them. Secrets are hidden.
#[must_use]
pub fn explain(mapping: &Mapping, origins: &Origins) -> String {
    let effective = mapping.settings();
    let mut text = String::new();
    let mut heading = "";
    for (path, setting) in Settings::list() {
        let Some(value) = effective.show(&path) else { continue };
        if setting.heading != heading {
            let gap = if heading.is_empty() { "" } else { "\n" };
            heading = setting.heading;
            line(&mut text, format_args!("{gap}{heading}"));
        }
        let derived = || mapping.derived.get(path.as_str()).cloned().map_or(Origin::Default, Origin::Derived);
        let origin = origins.of(&path).unwrap_or_else(derived);
        line(&mut text, format_args!("  {:<29} {value:<32} ({origin})", setting.name));
    }
    consequences(&mut text, mapping);
    text
}

/// Writing to a `String` cannot fail.
fn line(text: &mut String, content: fmt::Arguments<'_>) {
    let _ = writeln!(text, "{content}");
}

fn consequences(text: &mut String, mapping: &Mapping) {
    let division = mapping.division();
    let mib = |bytes: u64| bytes >> 20;
    line(text, format_args!("\nMemory, of {}", Size(mapping.engine.memory_budget)));
    line(
        text,
        format_args!(
            "  prefetch: {} pollers x {} MiB, for {} MiB or {} records in each queue",
            division.pollers,
            mib(division.bytes_per_poller()),
            mib(division.prefetch_bytes_per_poller),
            division.prefetch_records_per_poller
        ),
    );
    line(
        text,
        format_args!(
            "  batches:  {} x {} MiB; responses on their way: {} x {} MiB; kept back: {} MiB",
            division.threads,
            mib(division.arena_budget_bytes_per_thread),
            division.threads,
            mib(3 * division.fetch_bytes_per_thread),
            mib(division.reserve_bytes)
        ),
    );
    line(text, format_args!("\nProperties of librdkafka"));
    let (connection, memory) = (mapping.connection_properties(), mapping.memory_properties());
    for property in connection.iter().chain(&memory).chain(&mapping.engine.librdkafka) {
        line(text, format_args!("  {property}"));
    }
    if !mapping.notes.is_empty() {
        line(text, format_args!("\nNotes"));
    }
    for note in &mapping.notes {
        line(text, format_args!("  {note}"));
    }
}

fn word<W: Word + PartialEq>(value: W) -> Text {
    Text(W::WORDS.iter().find(|(_, meaning)| *meaning == value).map_or("", |(word, _)| word).to_owned())
}

impl Mapping {
    /// The settings that make this mapping, complete: what was given and what was filled in.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let moment = match self.starting_position {
            StartingPosition::AtTimestamp(moment) => Some(moment),
            StartingPosition::TrimHorizon | StartingPosition::Latest => None,
        };
        let mapping = MappingSettings {
            topics: Some(Names(vec![self.topic.as_str().to_owned()])),
            bootstrap_servers: Some(Names(self.bootstrap_servers.clone())),
            event_source_arn: self.event_source_arn.clone().map(Text),
            consumer_group_id: Some(Text(self.consumer_group_id.clone())),
            starting_position: Some(self.starting_position.name().into()),
            starting_position_timestamp: moment,
            batch_size: Some(Whole(self.batch_size.into())),
            maximum_batching_window: Some(Span(self.maximum_batching_window)),
            filter_criteria: Some(Patterns(
                self.filter_criteria.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            )),
            maximum_retry_attempts: Some(Whole(self.maximum_retry_attempts.map_or(-1, i64::from))),
            maximum_record_age: Some(Age(self.maximum_record_age.map(Span))),
            bisect_batch_on_function_error: Some(Switch(self.bisect_batch_on_function_error)),
            function_response_types: Some(Names(vec![
                if self.report_batch_item_failures { "ReportBatchItemFailures" } else { "none" }.to_owned(),
            ])),
            destination_config: Some(DestinationConfig {
                on_failure: self.destination.as_ref().map(ToString::to_string),
                on_success: false,
            }),
            function: Some(Text(self.function.to_string())),
            function_endpoint: Some(self.function_endpoint.url().into()),
            region: self.region.clone().map(Text),
            source_access: Some(Accesses(self.access_entries.clone())),
        };
        Settings { mapping, engine: self.engine_settings() }
    }

    fn engine_settings(&self) -> EngineSettings {
        let engine = &self.engine;
        let pairs = engine.librdkafka.iter().map(|p| (p.name().to_owned(), p.reveal().to_owned()));
        let metrics_address = engine.metrics_address.map_or("off".to_owned(), |address| address.to_string());
        EngineSettings {
            threads: Some(Whole(engine.threads.into())),
            invocation_threads: Some(Whole(engine.invocation_threads.into())),
            pollers: Some(Whole(engine.pollers.into())),
            pollers_min: Some(Whole(engine.pollers_min.into())),
            memory_budget: Some(Size(engine.memory_budget)),
            drain_deadline: Some(Span(engine.drain_deadline)),
            commit_interval: Some(Span(engine.commit_interval)),
            commit_metadata: Some(Switch(engine.commit_metadata)),
            payload_bytes_max: Some(Size(engine.payload_bytes_max.into())),
            oversized: Some(word(engine.oversized)),
            function_timeout: Some(Span(engine.function_timeout)),
            connect_timeout: Some(Span(engine.connect_timeout)),
            retry_backoff: Some(Span(engine.retry_backoff)),
            retry_backoff_max: Some(Span(engine.retry_backoff_max)),
            signing: Some(word(engine.signing)),
            strict: Some(Switch(engine.strict)),
            group_protocol: Some(word(engine.group_protocol)),
            tls: Some(Switch(engine.tls)),
            allow_plaintext_sasl: Some(Switch(engine.allow_plaintext_sasl)),
            librdkafka: Some(Properties(pairs.collect())),
            metrics_address: Some(Text(metrics_address)),
            log_format: Some(word(engine.log_format)),
            log_level: engine.log_level.clone().map(Text),
        }
    }
}
