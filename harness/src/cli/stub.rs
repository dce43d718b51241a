//! `pelton-harness stub`: a stand-in for Lambda over HTTP.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use clap::Args;
use pelton::invoke::law::{Cost, Faults, Latency, Law};

use super::{COULD_NOT_RUN, OK, USAGE};
use crate::stub::{StubServer, StubSettings};
use crate::workload::units::Span;

/// Serve a stand-in for a Lambda function: POST /2015-03-31/functions/{name}/invocations.
/// GET /stats answers what was served, as JSON.
#[derive(Clone, Debug, Args)]
pub struct StubArguments {
    /// Listen on this address.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,
    /// Listen on this port; 0 takes any free one, which is printed.
    #[arg(long, default_value_t = 9001)]
    pub port: u16,
    /// Parse and check every event; answer a bad one by a function error.
    #[arg(long)]
    pub verify: bool,
    /// How invocations go.
    #[command(flatten)]
    pub law: LawArguments,
}

/// How a stand-in behaves, over HTTP and in process alike.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Behaviour of the function")]
pub struct LawArguments {
    /// How long an invocation takes, such as 50ms, 1.5s or 200us.
    #[arg(long, value_name = "TIME", default_value = "0ms")]
    pub latency: Span,
    /// Spread the latency log-normally around its median, with this deviation of its logarithm
    /// (0.5: the 99th percentile is 3.2 times the median).
    #[arg(long, value_name = "SIGMA", default_value_t = 0.0)]
    pub sigma: f64,
    /// What each record adds to the latency.
    #[arg(long, value_name = "TIME", default_value = "0ms")]
    pub record_cost: Span,
    /// What each byte of the payload adds to the latency, in nanoseconds.
    #[arg(long, value_name = "NS", default_value_t = 0.0)]
    pub byte_cost_ns: f64,
    /// Share of invocations in which the function fails, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub error_rate: f64,
    /// Share of invocations that are throttled (429).
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub throttle_rate: f64,
    /// Share of invocations that end in a service fault (500).
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub fault_rate: f64,
    /// Share of invocations whose connection is reset.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub reset_rate: f64,
    /// Share of invocations that are answered by what is not HTTP.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub garbage_rate: f64,
    /// Throttle what exceeds this many invocations at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: Option<u32>,
    /// Decides which invocations are slow and which fail.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub law_seed: u64,
}

impl LawArguments {
    /// The law; it is checked where it is used.
    #[must_use]
    pub fn law(&self) -> Law {
        let latency = if self.latency.0.is_zero() {
            Latency::None
        } else if self.sigma == 0.0 {
            Latency::Fixed(self.latency.0)
        } else {
            Latency::LogNormal { median: self.latency.0, sigma: self.sigma }
        };
        Law {
            latency,
            cost: Cost { per_record: self.record_cost.0, per_byte_ns: self.byte_cost_ns },
            faults: Faults {
                function_error: self.error_rate,
                throttle: self.throttle_rate,
                service_fault: self.fault_rate,
                reset: self.reset_rate,
                garbage: self.garbage_rate,
            },
            concurrency_max: self.concurrency,
            seed: self.law_seed,
        }
    }
}

impl StubArguments {
    /// Serves until SIGINT or SIGTERM; prints the address first and the numbers last. Returns the
    /// exit code.
    #[must_use]
    pub fn act(self) -> u8 {
        let law = self.law.law();
        if let Err(error) = law.check() {
            eprintln!("error: {error}");
            return USAGE;
        }
        let address = SocketAddr::new(self.host, self.port);
        match serve(StubSettings { address, law, verify: self.verify }) {
            Ok(()) => OK,
            Err(error) => {
                eprintln!("error: {error:#}");
                COULD_NOT_RUN
            }
        }
    }
}

fn serve(settings: StubSettings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let server = StubServer::bind(settings).await?;
        let end = asked_to_end()?;
        let watch = server.watch();
        let mut out = std::io::stdout();
        writeln!(out, "stub: serving http://{}", server.address())?;
        out.flush()?;
        server.serve(end).await;
        writeln!(out, "{}", serde_json::to_string_pretty(&watch.stats())?)?;
        Ok(())
    })
}

fn asked_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn flags_become_a_law() {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            stub: StubArguments,
        }
        let law = |flags: &str| Cli::parse_from(flags.split(' ')).stub.law.law();
        assert_eq!(law("x"), Law { seed: 1, ..Law::default() });
        assert_eq!(law("x --latency 50ms").latency, Latency::Fixed(Duration::from_millis(50)));
        let median = Duration::from_millis(50);
        assert_eq!(law("x --latency 50ms --sigma 0.5").latency, Latency::LogNormal { median, sigma: 0.5 });
        let faults = Faults { function_error: 0.1, throttle: 0.2, ..Faults::default() };
        assert_eq!(law("x --error-rate 0.1 --throttle-rate 0.2").faults, faults);
    }
}
