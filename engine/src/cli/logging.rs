//! Log lines on stderr, for people or as JSON, past the status line.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::mapping::{EngineOptions, LogFormat};
use crate::telemetry::Terminal;

/// What `--log-level` allows beyond one word: `target=level`, separated by commas.
pub(super) fn filter(engine: &EngineOptions) -> Result<EnvFilter, String> {
    if let Some(directives) = &engine.log_level {
        return EnvFilter::try_new(directives).map_err(|error| {
            format!(
                "engine.log_level: found {directives} ({error}); allowed: error, warn, info, debug, trace or \
                 directives such as pelton=debug,librdkafka=info; correct it"
            )
        });
    }
    match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(&directives).map_err(|error| {
            format!("$RUST_LOG: found {directives} ({error}); allowed: directives such as info; correct it")
        }),
        _ => Ok(EnvFilter::new("info")),
    }
}

/// Sends all log lines of this process to `terminal`. Only the first call of a process counts.
pub(super) fn start(format: LogFormat, filter: EnvFilter, terminal: Arc<Terminal>) {
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines(terminal)).with_ansi(colours);
    let result = match format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // Somebody who embeds this may have set up logging already: theirs stays.
    drop(result);
}

struct Lines(Arc<Terminal>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(&self.0)
    }
}

/// One log line: `tracing_subscriber` writes each in one call.
struct Line<'a>(&'a Terminal);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.log(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
