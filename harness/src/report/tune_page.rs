//! A recommendation as one HTML page that needs nothing beside itself.
//!
//! The answer and its reasons are plain HTML; plots and tables are drawn from the result, which the page
//! carries as JSON, by `tune.js` with plotly.js. Nothing is loaded from anywhere.

use std::fmt::{self, Write};

use super::text::{bytes, count, escape, milliseconds};
use super::tune::money;
use crate::tune::tuned::Tuned;
use crate::workload::units::Bytes;

const STYLE: &str = include_str!("page.css");
const TUNE_STYLE: &str = include_str!("tune.css");
const SCRIPT: &str = include_str!("tune.js");

/// The page.
#[must_use]
pub fn page(tuned: &Tuned) -> String {
    let mut html = String::with_capacity(6 << 20);
    // Writing to a string does not fail.
    let _ = write(&mut html, tuned);
    html
}

fn write(out: &mut String, tuned: &Tuned) -> fmt::Result {
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>What to set: {}</title>\n<style>\n{STYLE}{TUNE_STYLE}</style>\n</head>\n<body>\n<main>",
        escape(&tuned.workload)
    )?;
    answer(out, tuned)?;
    out.push_str(BODY);
    reproduce(out, tuned)?;
    // A result holds text from users: nothing in it may look like a tag or a comment.
    let json = serde_json::to_string(tuned).unwrap_or_default().replace('<', "\\u003c");
    writeln!(out, "</main>\n<script type=\"application/json\" id=\"result\">{json}</script>")?;
    writeln!(out, "{}", plotly_js())?;
    writeln!(out, "<script>\n{SCRIPT}</script>\n</body>\n</html>")
}

/// The library without the typesetter of formulas that comes with it.
fn plotly_js() -> String {
    const END: &str = "</script>";
    let mut scripts = plotly::Plot::offline_js_sources();
    if let Some(at) = scripts.find(END) {
        scripts.truncate(at + END.len());
    }
    scripts
}

fn answer(out: &mut String, tuned: &Tuned) -> fmt::Result {
    let best = &tuned.recommended.candidate;
    let (settings, one) = (&best.settings, &best.evaluation);
    let currency = escape(&tuned.prices.currency);
    writeln!(
        out,
        "<header><p class=\"kicker\">Pelton tune · {}</p>\n<h1>{}</h1>\n<p class=\"what\">Wanted: {}. {} records of \
         {:.0} s in {} partitions, {} each in an event; the function takes <code>{}</code> with {} of memory.</p></header>",
        escape(&tuned.workload),
        if tuned.recommended.meets_goal {
            "What to set, and why"
        } else {
            "No setting that was tried meets the goal"
        },
        escape(&tuned.goal),
        count(tuned.traffic.records as f64),
        tuned.traffic.span_s,
        tuned.traffic.partitions,
        bytes(tuned.traffic.record_bytes_mean),
        escape(&tuned.function.to_string()),
        Bytes(tuned.memory_bytes),
    )?;
    writeln!(out, "<section class=\"answer\"><dl>")?;
    for (name, value) in [
        ("batch size", settings.batch_size.to_string()),
        ("batching window", settings.maximum_batching_window.to_string()),
        ("pollers", settings.pollers.to_string()),
    ] {
        writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
    }
    let quantile = tuned.wanted.quantile();
    writeln!(
        out,
        "<div><dt>{quantile} record age</dt><dd>{}<small>95 % interval {} to {}, {} draws</small></dd></div>\n\
         <div><dt>{currency} per million records</dt><dd>{}<small>{} for 720 h of this traffic</small></dd></div>",
        milliseconds(best.age_ms.mean),
        milliseconds(best.age_ms.low_mean),
        milliseconds(best.age_ms.high_mean),
        tuned.seeds,
        money(best.per_million_records.mean),
        money(one.cost.per_month),
    )?;
    writeln!(out, "</dl><h2>Why</h2><ul>")?;
    for bind in &tuned.binds {
        writeln!(out, "<li>{}</li>", escape(bind))?;
    }
    let default = &tuned.aws_default;
    writeln!(
        out,
        "<li>AWS's defaults (100 records, 500 ms) with {} pollers: {} {currency} per million records, p99 age \
         {}{}</li></ul></section>",
        default.settings.pollers,
        money(default.cost.per_million_records),
        milliseconds(default.age.p99_us as f64 / 1e3),
        if default.keeps_up { "" } else { "; they do not keep up" }
    )?;
    if !tuned.remarks.is_empty() || tuned.interrupted {
        writeln!(out, "<section class=\"remarks\"><h2>Mind this</h2><ul>")?;
        if tuned.interrupted {
            writeln!(out, "<li>Interrupted: this is what was measured until then.</li>")?;
        }
        for remark in &tuned.remarks {
            writeln!(out, "<li>{}</li>", escape(remark))?;
        }
        writeln!(out, "</ul></section>")?;
    }
    Ok(())
}

/// Where `tune.js` draws.
const BODY: &str = r#"
<section><h2>Age against cost</h2>
<p>Each point is a setting that keeps up with this traffic; up and to the right is worse. The line joins those that no
other setting beats in age, cost and capacity together. Hover to see a setting, click to pin it below.</p>
<div id="pareto" class="plot tall"></div>
<div class="scroll"><table id="pinned"></table></div></section>
<section><h2>In real runs, and simulated</h2>
<p id="runs-none" hidden>Nothing was run: these figures are the simulator's alone.</p><p id="exhaustive"></p>
<div class="scroll bounded"><table id="runs"></table></div></section>
<section><h2>If one parameter is halved or doubled, or records had less in them</h2>
<p>The rows of records are the best settings for the first draw of the traffic alone: compare them with each other.</p>
<div class="scroll"><table id="sensitivity"></table></div></section>
<section class="pair"><div><h2>Record age</h2>
<p>From the moment at which a record was meant to be sent until the function had answered, so that nothing a stall holds
back is left out (no coordinated omission).</p><div id="cdf" class="plot"></div></div>
<div><h2>Record age by nines</h2><p>The same, with the rare old records drawn apart: each step to the right is one record
in ten, in a hundred, in a thousand.</p><div id="nines" class="plot"></div></div></section>
<section class="pair"><div><h2>Records that wait</h2><p>There, and not yet answered for, with the recommended
settings.</p><div id="lag" class="plot"></div></div>
<div><h2>If pollers are scaled by the lag</h2><p>From the fewest on, with the recommended batch size and window: what
waits while their number follows this traffic, record by record. <span id="assumed"></span></p><div id="scaling" class="plot"></div></div></section>
<section class="pair"><div><h2>Why batches are closed</h2><div id="causes" class="plot"></div></div>
<div><h2>How full batches are</h2><div id="fill" class="plot"></div></div></section>
<section><h2>Every setting that was tried on all of the traffic</h2><p>Click a heading to sort, a line to pin it.</p>
<div class="scroll bounded"><table id="all"></table></div></section>
"#;

fn reproduce(out: &mut String, tuned: &Tuned) -> fmt::Result {
    let advice = &tuned.recommended.advice;
    writeln!(out, "<section><h2>To set it</h2>")?;
    for (name, text) in [
        ("pelton run --config", &advice.toml),
        ("AWS command line", &advice.aws_cli),
        ("CloudFormation: properties of AWS::Lambda::EventSourceMapping", &advice.cloudformation),
        ("Terraform: arguments of aws_lambda_event_source_mapping", &advice.terraform),
    ] {
        writeln!(out, "<h3>{name}</h3><pre>{}</pre>", escape(text.trim_end()))?;
    }
    if let Some(note) = &advice.note {
        writeln!(out, "<p>{}</p>", escape(note))?;
    }
    writeln!(out, "</section>\n<section><h2>To make this report again</h2>")?;
    writeln!(out, "<pre>{}</pre>", escape(&tuned.command))?;
    let spec = toml::to_string(&tuned.spec).unwrap_or_default();
    writeln!(
        out,
        "<details><summary>The workload, with every flag applied</summary><pre>{}</pre></details>",
        escape(&spec)
    )?;
    let prices = &tuned.prices;
    writeln!(
        out,
        "<table class=\"small\"><tbody>\n<tr><th>prices</th><td>{}, {}, as of {}: {} {currency} per million requests, {} \
         {currency} per GB-second, {} {currency} per event poller unit and hour, {} {currency} per GB moved<small>{}; \
         {}; {}; {}</small></td></tr>",
        escape(&prices.name),
        escape(&prices.region),
        escape(&prices.date),
        prices.request.per_million,
        prices.duration.per_gb_s,
        prices.event_poller_unit.per_hour,
        prices.transfer.per_gb,
        escape(&prices.request.source),
        escape(&prices.duration.source),
        escape(&prices.event_poller_unit.source),
        escape(&prices.transfer.source),
        currency = escape(&prices.currency),
    )?;
    let machine = &tuned.machine;
    writeln!(
        out,
        "<tr><th>machine</th><td>{}, {} cores, Linux {}</td></tr>\n<tr><th>engine and broker add</th><td>{:.2} ms before a \
         record is read, beyond the producer's linger; {:.2} ms for an invocation; {:.2} µs of CPU per record</td></tr>\n\
         </tbody></table></section>",
        escape(&machine.cpu),
        machine.cores,
        escape(&machine.kernel),
        tuned.calibration.delay_us / 1e3,
        tuned.calibration.overhead_us / 1e3,
        tuned.calibration.cpu_us_per_record,
    )
}
