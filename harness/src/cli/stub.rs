//! `pelton-harness stub`: a stand-in for Lambda over HTTP.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use pelton::invoke::law::{Cost, Faults, Latency, Law};

use crate::stub::{StubServer, StubSettings};

/// Serve a stand-in for a Lambda function: POST /2015-03-31/functions/{name}/invocations.
/// GET /stats answers what was served, as JSON.
#[derive(Clone, Debug, clap::Args)]
pub struct StubArgs {
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
    pub law: LawArgs,
}

/// How a stand-in behaves, over HTTP and in process alike.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Behaviour of the function")]
pub struct LawArgs {
    /// How long an invocation takes, such as 50ms, 1.5s or 200us.
    #[arg(long, default_value = "0ms", value_parser = duration)]
    pub latency: Duration,
    /// Spread the latency log-normally around its median, with this deviation of its logarithm
    /// (0.5: the 99th percentile is 3.2 times the median).
    #[arg(long, default_value_t = 0.0)]
    pub sigma: f64,
    /// What each record adds to the latency.
    #[arg(long, default_value = "0ms", value_parser = duration)]
    pub record_cost: Duration,
    /// What each byte of the payload adds to the latency, in nanoseconds.
    #[arg(long, default_value_t = 0.0)]
    pub byte_cost_ns: f64,
    /// Share of invocations in which the function fails, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub error_rate: f64,
    /// Share of invocations that are throttled (429).
    #[arg(long, default_value_t = 0.0)]
    pub throttle_rate: f64,
    /// Share of invocations that end in a service fault (500).
    #[arg(long, default_value_t = 0.0)]
    pub fault_rate: f64,
    /// Share of invocations whose connection is reset.
    #[arg(long, default_value_t = 0.0)]
    pub reset_rate: f64,
    /// Share of invocations that are answered by what is not HTTP.
    #[arg(long, default_value_t = 0.0)]
    pub garbage_rate: f64,
    /// Throttle what exceeds this many invocations at once.
    #[arg(long)]
    pub concurrency: Option<u32>,
    /// Decides which invocations are slow and which fail.
    #[arg(long, default_value_t = 1)]
    pub law_seed: u64,
}

impl LawArgs {
    /// The law; it is checked where it is used.
    #[must_use]
    pub fn law(&self) -> Law {
        let latency = if self.latency.is_zero() {
            Latency::None
        } else if self.sigma == 0.0 {
            Latency::Fixed(self.latency)
        } else {
            Latency::LogNormal { median: self.latency, sigma: self.sigma }
        };
        Law {
            latency,
            cost: Cost { per_record: self.record_cost, per_byte_ns: self.byte_cost_ns },
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

/// Serves until SIGINT or SIGTERM; prints the address first and the numbers last.
///
/// # Errors
/// If a number is out of its range, or the port is taken.
pub fn run(args: &StubArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let address = SocketAddr::new(args.host, args.port);
    let settings = StubSettings { address, law: args.law.law(), verify: args.verify };
    runtime.block_on(async {
        let server = StubServer::bind(settings).await?;
        let watch = server.watch();
        let mut out = std::io::stdout();
        writeln!(out, "stub: serving http://{}", server.address())?;
        out.flush()?;
        server.serve(asked_to_end()?).await;
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

/// Reads a duration: a number and one of `us`, `ms`, `s`, `m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; give a number and a unit: 200us, 50ms, 1.5s or 2m");
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let unit_seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * unit_seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("200us"), Ok(Duration::from_micros(200)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        for wrong in ["", "50", "ms", "-1s", "1h", "1e999s", "NaNs"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flags_become_a_law() {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            stub: StubArgs,
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
