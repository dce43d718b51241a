//! The counters as Prometheus reads them, and the small server that shows them.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::counters::{Counters, EngineState, Totals};
use super::histogram::HistogramTotals;
use super::names::{CAUSES, Count, ErrorKind, OUTCOMES};
use crate::mapping::EngineOptions;

/// Connections served at once; more wait.
const CONNECTIONS_MAX: usize = 16;
/// How long a client may take to ask.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last: a scraper opens a new one.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);

/// All metrics of an engine in the OpenMetrics text format.
#[must_use]
pub fn render(counters: &Arc<Counters>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(counters.clone())));
    let mut text = String::with_capacity(16 * 1_024);
    // Writing to a `String` cannot fail, and no value of ours does.
    let _ = text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Scrape(Arc<Counters>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = self.0.totals();
        counters(&mut encoder, &totals)?;
        gauges(&mut encoder, &totals)?;
        partitions(&mut encoder, &self.0)?;
        for totals in [&totals.batch_records, &totals.payload_bytes, &totals.invocation, &totals.record_age] {
            histogram(&mut encoder, totals)?;
        }
        Ok(())
    }
}

fn add_counter(mut metric: MetricEncoder<'_>, value: u64) -> fmt::Result {
    metric.encode_counter(&value, None::<&Exemplar<[(&str, &str); 0], f64>>)
}

/// A family of counters with one label each.
fn family<'l>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    label: &str,
    values: impl Iterator<Item = (&'l str, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in values {
        add_counter(metric.encode_family(&[(label, value)])?, count)?;
    }
    Ok(())
}

fn counters(encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    for (count, name, help) in Count::ALL {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        add_counter(metric, totals.records(count))?;
    }
    const ERRORS: (&str, &str) = (
        "pelton_errors",
        "Errors by kind. AWS: PollingErrorCount, InvokeErrorCount, CommitErrorCount, \
         OnFailureDestinationDeliveryErrorCount, SchemaRegistryErrorCount",
    );
    let kinds = [
        ErrorKind::Polling,
        ErrorKind::Invoke,
        ErrorKind::Commit,
        ErrorKind::Destination,
        ErrorKind::SchemaRegistry,
    ];
    family(encoder, ERRORS, "kind", kinds.into_iter().map(|kind| (kind.label(), totals.errors(kind))))?;
    const INVOCATIONS: (&str, &str) = ("pelton_invocations", "Invocations by outcome, retries included");
    family(encoder, INVOCATIONS, "outcome", OUTCOMES.into_iter().map(|o| (o, totals.invocations(o))))?;
    const BATCHES: (&str, &str) = ("pelton_batches", "Batches by what closed them");
    family(encoder, BATCHES, "cause", CAUSES.into_iter().map(|cause| (cause, totals.batches(cause))))
}

fn gauges(encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    for (name, help, value) in [
        ("pelton_pollers", "Pollers in use. AWS: ProvisionedPollers", totals.pollers),
        ("pelton_inflight", "Invocations in flight", totals.in_flight),
    ] {
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
    }
    let help = "Bytes of arenas that hold pages: in open batches and in flight, or free";
    let mut metric = encoder.encode_descriptor("pelton_arena_bytes", help, None, MetricType::Gauge)?;
    for (state, bytes) in [("in_use", totals.arena.in_use), ("free", totals.arena.free)] {
        metric.encode_family(&[("state", state)])?.encode_gauge(&bytes)?;
    }
    Ok(())
}

fn partitions(encoder: &mut DescriptorEncoder<'_>, counters: &Counters) -> fmt::Result {
    let partitions = counters.partitions();
    let help = "Records between the watermark and the end of the log. AWS: OffsetLag (MaxOffsetLag and \
                SumOffsetLag are its max and sum)";
    let mut metric = encoder.encode_descriptor("pelton_offset_lag", help, None, MetricType::Gauge)?;
    for (partition, gauges) in &partitions {
        if let Some(lag) = gauges.lag() {
            metric.encode_family(&[("partition", partition.0)])?.encode_gauge(&lag)?;
        }
    }
    let help = "The group's committed offset";
    let mut metric = encoder.encode_descriptor("pelton_committed_offset", help, None, MetricType::Gauge)?;
    for (partition, gauges) in &partitions {
        if let Some(committed) = gauges.committed() {
            metric.encode_family(&[("partition", partition.0)])?.encode_gauge(&committed.0)?;
        }
    }
    Ok(())
}

fn histogram(encoder: &mut DescriptorEncoder<'_>, totals: &HistogramTotals) -> fmt::Result {
    let buckets: Vec<(f64, u64)> = totals.buckets().collect();
    let mut metric = encoder.encode_descriptor(totals.name(), totals.help(), None, MetricType::Histogram)?;
    metric.encode_histogram::<[(&str, &str); 0]>(totals.sum(), totals.count(), &buckets, None)
}

/// Serves the metrics where the mapping says, on this runtime, until it ends. Answers where. If
/// nobody asked for that address and it is taken (by another engine, most likely), there are no
/// metrics and a warning.
///
/// # Errors
/// If the address was asked for and cannot be had.
pub async fn start(engine: &EngineOptions, counters: &Arc<Counters>) -> io::Result<Option<SocketAddr>> {
    let Some(address) = engine.metrics_address else { return Ok(None) };
    match bind(address).await {
        Ok(listener) => {
            let address = listener.local_addr()?;
            tokio::spawn(serve(listener, counters.clone()));
            tracing::info!("metrics at http://{address}/metrics");
            Ok(Some(address))
        }
        Err(error) => {
            let words =
                format!("engine.metrics_address: {address} cannot be had ({error}); choose another, or off");
            if engine.metrics_address_given {
                return Err(io::Error::new(error.kind(), words));
            }
            tracing::warn!("no metrics: {words}");
            Ok(None)
        }
    }
}

/// Listens on `address`; port 0 is any free one.
///
/// # Errors
/// If the address cannot be had.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves `/metrics` and `/healthz` until it is dropped. `/healthz` answers 200 while the engine
/// lives, whatever its brokers do (a restart would not bring them back), and 503 once it stopped.
pub async fn serve(listener: TcpListener, counters: Arc<Counters>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: the engine needs them more than we do.
                tracing::debug!(%error, "metrics: a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let counters = counters.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| std::future::ready(answer(&request, &counters)));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // Whatever goes wrong here is the client's concern.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            drop(permit);
        });
    }
}

#[expect(clippy::unnecessary_wraps, reason = "hyper wants a result")]
fn answer(
    request: &Request<Incoming>,
    counters: &Arc<Counters>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    const TEXT: &str = "text/plain; charset=utf-8";
    const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, METRICS, render(counters)),
        (&Method::GET | &Method::HEAD, "/healthz") => {
            let state = counters.state();
            let stopped = state == EngineState::Stopped;
            let status = if stopped { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            (status, TEXT, format!("{}\n", state.name()))
        }
        (_, "/metrics" | "/healthz") => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET only\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, TEXT, "here are /metrics and /healthz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Offset, Partition};
    use crate::mapping::{Nothing, Settings};
    use crate::telemetry::ArenaBytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn sample() -> Arc<Counters> {
        let counters = Counters::new(2);
        for thread in 0..2 {
            let writer = counters.writer(thread);
            writer.records(Count::Polled, 10);
            writer.error(ErrorKind::Invoke);
            writer.batch("window", 3, 700);
            writer.invocation("success", Duration::from_micros(1_500));
            writer.record_age(40, 3);
            writer.set_pollers(1);
            writer.set_arena(ArenaBytes { in_use: 5, free: 6 });
        }
        let gauges = counters.own_partition(Partition(4));
        gauges.set_end(Offset(100));
        gauges.set_watermark(Offset(90));
        gauges.set_committed(Offset(80));
        counters.own_partition(Partition(5));
        counters
    }

    #[test]
    fn every_promised_name_is_there_with_its_value() {
        let text = render(&sample());
        for line in [
            "pelton_records_polled_total 20",
            "pelton_records_filtered_total 0",
            "pelton_records_invoked_total 0",
            "pelton_records_failed_total 0",
            "pelton_records_dropped_total 0",
            "pelton_records_to_destination_total 0",
            "pelton_records_committed_total 0",
            "pelton_errors_total{kind=\"polling\"} 0",
            "pelton_errors_total{kind=\"invoke\"} 2",
            "pelton_invocations_total{outcome=\"success\"} 2",
            "pelton_invocations_total{outcome=\"timed_out\"} 0",
            "pelton_batches_total{cause=\"window\"} 2",
            "pelton_batches_total{cause=\"drain\"} 0",
            "pelton_batch_records_sum 6.0",
            "pelton_batch_records_bucket{le=\"5.0\"} 2",
            "pelton_batch_records_bucket{le=\"+Inf\"} 2",
            "pelton_payload_bytes_bucket{le=\"512.0\"} 0",
            "pelton_payload_bytes_count 2",
            "pelton_invocation_seconds_bucket{le=\"0.002\"} 2",
            "pelton_record_age_seconds_count 6",
            "pelton_offset_lag{partition=\"4\"} 10",
            "pelton_committed_offset{partition=\"4\"} 80",
            "pelton_pollers 2",
            "pelton_inflight 0",
            "pelton_arena_bytes{state=\"in_use\"} 10",
            "pelton_arena_bytes{state=\"free\"} 12",
            "# EOF",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n---\n{text}");
        }
        assert!(!text.contains("partition=\"5\""), "what is not known is not shown");
        for aws in ["PolledEventCount", "FailedInvokeEventCount", "OffsetLag", "CommitErrorCount"] {
            assert!(text.contains(aws), "{aws}");
        }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
        stream
            .write_all(format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn the_endpoint_serves_metrics_and_health() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let counters = sample();
        let server = tokio::spawn(serve(listener, counters.clone()));

        let metrics = ask(address, "GET /metrics").await;
        assert!(
            metrics.starts_with("HTTP/1.1 200") && metrics.contains("application/openmetrics-text"),
            "{metrics}"
        );
        assert!(metrics.contains("pelton_records_polled_total 20"));
        counters.set_state(EngineState::Disconnected);
        let health = ask(address, "GET /healthz").await;
        assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("disconnected\n"), "{health}");
        counters.set_state(EngineState::Stopped);
        assert!(ask(address, "GET /healthz").await.starts_with("HTTP/1.1 503"));
        assert!(ask(address, "POST /metrics").await.starts_with("HTTP/1.1 405"));
        assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404"));
        server.abort();
    }

    fn engine(address: &str, given: bool) -> EngineOptions {
        let toml =
            "topics='t'\nbootstrap_servers='b:1'\nfunction='f'\nfunction_endpoint='http://h'\n[engine]\n";
        let settings = Settings::from_toml(&format!("{toml}metrics_address='{address}'")).expect("TOML");
        EngineOptions { metrics_address_given: given, ..settings.validate(&Nothing).expect("valid").engine }
    }

    #[tokio::test]
    async fn a_taken_address_stops_only_an_engine_that_was_told_to_use_it() {
        let counters = Counters::new(0);
        let first =
            start(&engine("127.0.0.1:0", true), &counters).await.expect("a free port").expect("served");
        assert!(ask(first, "GET /healthz").await.contains("starting"));
        let taken = first.to_string();
        assert!(start(&engine(&taken, false), &counters).await.expect("goes on").is_none());
        let error = start(&engine(&taken, true), &counters).await.expect_err("asked for").to_string();
        assert!(error.contains(&format!("engine.metrics_address: {taken} cannot be had")), "{error}");
        assert!(start(&engine("off", true), &counters).await.expect("off").is_none());
    }
}
