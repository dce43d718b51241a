//! From a valid mapping to a running engine, and to its end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::batch::BatchLimits;
use crate::deliver::{FailureRules, RetryPolicy};
use crate::destination::{self, Destination, DestinationError};
use crate::filter::Filters;
use crate::invoke::{InvokeError, LambdaInvoker, LambdaSettings, Signing};
use crate::mapping::{self, Mapping, StartingPosition};
use crate::payload::{Envelope, Tier};
use crate::pipeline::{Engine, EngineError, EngineHandle, EngineSettings, Oversized};
use crate::scale::ScalingRules;
use crate::source::SourceError;
use crate::source::consumer::KafkaSource;
use crate::source::probe::probe;
use crate::source::settings::{GroupProtocol, KafkaSettings, StartAt};
use crate::telemetry::{Count, EngineState, StatusLine, prometheus};

use super::RunOptions;

/// How long the brokers have to answer before the engine starts.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);
/// How often the status line is drawn, and threads are looked after.
const TICK: Duration = Duration::from_millis(250);
/// What a shell says of a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Why an engine could not be started, or did not end well.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error(transparent)]
    Invoke(#[from] InvokeError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("destination_config: {0}")]
    Destination(#[from] DestinationError),
    #[error("metrics_address {address}: {reason}; give another ip:port, or off")]
    Metrics { address: String, reason: std::io::Error },
    #[error(
        "signing = always: no AWS credentials were found; set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or use signing = auto"
    )]
    Unsigned,
    #[error(
        "source_access: found OAUTHBEARER_AUTH; this program does not fetch tokens yet; use \
             SASL_SCRAM_512_AUTH, BASIC_AUTH or CLIENT_CERTIFICATE_TLS_AUTH, or embed the engine with \
             `KafkaSettings::token_provider`"
    )]
    TokensNotFetched,
    #[error("{what}: {reason}")]
    System { what: &'static str, reason: std::io::Error },
}

/// Runs `mapping` until it is told to stop (SIGTERM, SIGINT). Exit code 0 after a drain, 1 if it
/// could not start or met something fatal, 130 if a second signal cut the drain short.
#[expect(clippy::needless_pass_by_value, reason = "the signature that `cli::main` calls")]
#[must_use]
pub fn launch(mapping: Mapping, options: RunOptions) -> ExitCode {
    run(&mapping, &options).unwrap_or_else(|error| {
        tracing::error!("{error}");
        ExitCode::FAILURE
    })
}

fn run(mapping: &Mapping, options: &RunOptions) -> Result<ExitCode, LaunchError> {
    if matches!(mapping.source_access.authentication, mapping::Authentication::OAuthBearer(_)) {
        return Err(LaunchError::TokensNotFetched);
    }
    let kafka = kafka_settings(mapping);
    let partitions = probe(&kafka, PROBE_TIMEOUT)?;
    let invoker = Arc::new(invoker(mapping)?);
    tracing::info!(
        topic = %mapping.topic,
        partitions = partitions.len(),
        group = mapping.consumer_group_id,
        function = mapping.function.name(),
        endpoint = invoker.target().endpoint(),
        tier = %Tier::best(),
        "starting"
    );
    let engine = Engine::start(
        EngineSettings { destination: destination(mapping)?, ..engine_settings(mapping) },
        |plan| KafkaSource::new(KafkaSettings { queues: plan.pollers, ..kafka.clone() }, plan.wake),
        &invoker,
        None,
        options.clock,
    )?;
    let address = mapping.engine.metrics_address;
    engine.runtime().block_on(prometheus::start(&mapping.engine, engine.counters())).map_err(|reason| {
        LaunchError::Metrics {
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            reason,
        }
    })?;
    let signals = engine.runtime().clone().block_on(watch(&engine, options))?;
    Ok(drain(engine, signals))
}

/// Draws the status line until a signal comes or a thread has ended.
async fn watch(engine: &EngineHandle, options: &RunOptions) -> Result<Signals, LaunchError> {
    let mut signals = Signals::new()?;
    let mut status = StatusLine::new(Arc::clone(&options.terminal), Arc::clone(engine.counters()));
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            name = signals.next() => {
                tracing::info!("{name}: draining; once more to stop at once");
                return Ok(signals);
            }
            _ = tick.tick() => {
                let _ = status.tick(options.clock.now());
                if !engine.is_running() {
                    return Ok(signals);
                }
            }
        }
    }
}

/// Ends the engine. A second signal ends the process.
fn drain(engine: EngineHandle, mut signals: Signals) -> ExitCode {
    let runtime = engine.runtime().clone();
    runtime.spawn(async move {
        signals.next().await;
        tracing::warn!("stopped before the drain was over; what was not committed is delivered again");
        std::process::exit(i32::from(INTERRUPTED));
    });
    engine.drain();
    let counters = Arc::clone(engine.counters());
    counters.set_state(EngineState::Draining);
    let report = engine.join();
    counters.set_state(EngineState::Stopped);
    let totals = counters.totals();
    tracing::info!(
        delivered = totals.records(Count::Delivered),
        committed = totals.records(Count::Committed),
        dropped = totals.records(Count::Dropped),
        "stopped"
    );
    match report.fatal {
        None => ExitCode::SUCCESS,
        Some(fatal) => {
            tracing::error!("{fatal}");
            ExitCode::FAILURE
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, LaunchError> {
        let listen = |kind| {
            signal(kind).map_err(|reason| LaunchError::System { what: "listening for signals", reason })
        };
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn invoker(mapping: &Mapping) -> Result<LambdaInvoker, LaunchError> {
    let settings = LambdaSettings {
        endpoint: Some(mapping.function_endpoint.url().to_owned()),
        region: mapping.region.clone(),
        qualifier: mapping.function.qualifier().map(str::to_owned),
        connect_timeout: mapping.engine.connect_timeout,
        function_timeout: mapping.engine.function_timeout,
        idle_connections_max: mapping.engine.pollers as usize,
        keep_response: mapping.report_batch_item_failures,
        ..LambdaSettings::new(mapping.function.unqualified())
    };
    if mapping.engine.signing == mapping::Signing::Never {
        return Ok(LambdaInvoker::new(&settings, Signing::Unsigned)?);
    }
    let invoker = looking_for_credentials(LambdaInvoker::open(settings))??;
    if mapping.engine.signing == mapping::Signing::Always && !invoker.is_signed() {
        return Err(LaunchError::Unsigned);
    }
    Ok(invoker)
}

fn engine_settings(mapping: &Mapping) -> EngineSettings {
    let engine = &mapping.engine;
    let servers = mapping.bootstrap();
    let envelope = match &mapping.event_source_arn {
        Some(arn) => Envelope::msk(arn, &servers),
        None => Envelope::self_managed(&servers),
    };
    EngineSettings {
        name: mapping.consumer_group_id.as_str().into(),
        function_version: mapping.function.qualifier().unwrap_or("$LATEST").into(),
        topic: mapping.topic.clone(),
        envelope: Arc::new(envelope),
        filters: filters(mapping),
        limits: BatchLimits {
            batch_size: mapping.batch_size,
            window: mapping.maximum_batching_window,
            payload_bytes_max: engine.payload_bytes_max,
        },
        threads: engine.threads as usize,
        pollers: engine.pollers as usize,
        scaling: (engine.pollers_min < engine.pollers)
            .then(|| ScalingRules::between(engine.pollers_min, engine.pollers)),
        arena_budget_bytes: bytes(mapping.division().arena_budget_bytes_per_thread),
        retry: RetryPolicy { backoff_base: engine.retry_backoff, backoff_max: engine.retry_backoff_max },
        failures: FailureRules {
            retries_max: mapping.maximum_retry_attempts,
            record_age_max: mapping.maximum_record_age,
            bisect: mapping.bisect_batch_on_function_error,
            report_item_failures: mapping.report_batch_item_failures,
        },
        destination: None,
        oversized: match engine.oversized {
            mapping::Oversized::Skip => Oversized::Skip,
            mapping::Oversized::Block => Oversized::Block,
        },
        commit_interval: engine.commit_interval,
        commit_metadata: engine.commit_metadata,
        drain_deadline: engine.drain_deadline,
        invocation_threads: engine.invocation_threads as usize,
    }
}

fn destination(mapping: &Mapping) -> Result<Option<Arc<dyn Destination>>, LaunchError> {
    match &mapping.destination {
        Some(_) => Ok(looking_for_credentials(destination::open(mapping))??),
        None => Ok(None),
    }
}

/// Waits for what may ask a metadata service: the only thing that needs a runtime before there is an
/// engine.
fn looking_for_credentials<T>(opening: impl Future<Output = T>) -> Result<T, LaunchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|reason| LaunchError::System { what: "looking for credentials", reason })?;
    Ok(runtime.block_on(opening))
}

fn filters(mapping: &Mapping) -> Option<Arc<Filters>> {
    let patterns = &mapping.filter_criteria;
    (!patterns.is_empty()).then(|| Arc::new(Filters::new(patterns)))
}

fn kafka_settings(mapping: &Mapping) -> KafkaSettings {
    let division = mapping.division();
    let mut settings = KafkaSettings {
        start_at: match mapping.starting_position {
            StartingPosition::TrimHorizon => StartAt::Earliest,
            StartingPosition::Latest => StartAt::Latest,
            StartingPosition::AtTimestamp(moment) => StartAt::Timestamp(moment.unix_ms),
        },
        group_protocol: match mapping.engine.group_protocol {
            mapping::GroupProtocol::Classic => GroupProtocol::Classic,
            mapping::GroupProtocol::Consumer => GroupProtocol::Consumer,
        },
        // Of what a queue may hold, the source gives half to the records' bytes.
        prefetch_bytes: bytes(division.prefetch_bytes_per_poller.saturating_mul(2)),
        ..KafkaSettings::new(&mapping.bootstrap(), &mapping.topic, &mapping.consumer_group_id)
    }
    .with("fetch.max.bytes", &division.fetch_bytes_per_thread.to_string())
    .with("fetch.message.max.bytes", &division.fetch_bytes_per_partition.to_string());
    let connection = mapping.connection_properties();
    // The servers have a field of their own.
    let connection = connection.iter().filter(|property| property.name() != "bootstrap.servers");
    for property in connection.chain(&mapping.engine.librdkafka) {
        settings = settings.with(property.name(), property.reveal());
    }
    settings
}

fn bytes(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
