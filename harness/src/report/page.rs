//! A profile as one HTML page that needs nothing beside itself: no network, no script of its own.
//!
//! Whoever opens it may never have heard of this project: the answers come first, in sentences, and
//! every word of the table is explained beside it.

use std::fmt::{self, Write};

use super::findings::{findings, nanos, percent, times};
use super::profile::certain;
use super::text::escape;
use crate::profile::result::{Profile, StageBytes, StageFloor, StageReport};

const STYLE: &str = include_str!("page.css");

/// The page. `flame_svg` is the flame graph, which is drawn into it.
#[must_use]
pub fn page(profile: &Profile, flame_svg: Option<&str>) -> String {
    let mut html = String::with_capacity(64 << 10);
    // Writing to a string does not fail.
    let _ = write(&mut html, profile, flame_svg);
    html
}

fn write(out: &mut String, profile: &Profile, flame_svg: Option<&str>) -> fmt::Result {
    let name = escape(&profile.name);
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Where the CPU time goes: {name}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>"
    )?;
    head(out, profile)?;
    bar(out, profile)?;
    table(out, profile)?;
    alone(out, profile)?;
    flame(out, flame_svg)?;
    certainty(out, profile)?;
    surroundings(out, profile)?;
    writeln!(out, "</main>\n</body>\n</html>")
}

fn head(out: &mut String, profile: &Profile) -> fmt::Result {
    writeln!(
        out,
        "<header><p class=\"kicker\">Pelton profile · {}</p>\n<h1>Where does the CPU time go, and how far is it from \
         the limit?</h1>",
        escape(&profile.name)
    )?;
    writeln!(
        out,
        "<p class=\"what\">Pelton reads records from Kafka, writes each as base64 JSON, gathers them into batches \
         and invokes a function with each batch. This page shows what that costs in CPU time. Measured with: {}; \
         {}.</p></header>",
        escape(&profile.source),
        escape(&profile.function)
    )?;
    let mut findings = findings(profile).into_iter();
    writeln!(out, "<section class=\"findings\">")?;
    if let Some(first) = findings.next() {
        writeln!(out, "<p class=\"first\">{}</p>", escape(&first))?;
    }
    writeln!(out, "<ul>")?;
    for finding in findings {
        writeln!(out, "<li>{}</li>", escape(&finding))?;
    }
    writeln!(out, "</ul></section>")?;
    if !profile.remarks.is_empty() {
        writeln!(out, "<section class=\"remarks\"><h2>Mind this</h2><ul>")?;
        for remark in &profile.remarks {
            writeln!(out, "<li>{}</li>", escape(remark))?;
        }
        writeln!(out, "</ul></section>")?;
    }
    Ok(())
}

fn used(profile: &Profile) -> impl Iterator<Item = &StageReport> {
    profile.stages.iter().filter(|stage| stage.unused.is_none())
}

/// All CPU time of a record as one bar.
fn bar(out: &mut String, profile: &Profile) -> fmt::Result {
    writeln!(
        out,
        "<section><h2>One record's CPU time: {}</h2>\n<div class=\"bar\">",
        nanos(profile.cpu_ns_per_record)
    )?;
    for stage in used(profile) {
        let text = if stage.share >= 0.05 { percent(stage.share) } else { String::new() };
        writeln!(
            out,
            "<div class=\"{}\" style=\"flex-grow:{:.4}\" title=\"{}: {}, {}\">{text}</div>",
            class(stage),
            stage.share * 100.0,
            stage.stage.name(),
            percent(stage.share),
            nanos(stage.cpu_ns_per_record)
        )?;
    }
    writeln!(out, "</div>\n<ul class=\"legend\">")?;
    for stage in used(profile) {
        writeln!(
            out,
            "<li><i class=\"{}\"></i>{} <b>{}</b></li>",
            class(stage),
            stage.stage.name(),
            percent(stage.share)
        )?;
    }
    writeln!(out, "</ul></section>")
}

fn table(out: &mut String, profile: &Profile) -> fmt::Result {
    writeln!(
        out,
        "<section><h2>Stage by stage</h2>\n<p>In the order in which a record meets them. The <b>floor</b> is the \
         least CPU time in which this machine does the same work, measured in the same process on the same records; \
         a floor of 0 means that the record itself does not need the stage, so that all of it is overhead. The \
         <b>distance</b> is what the stage takes, divided by its floor: 1 is the limit, and a little less is what \
         measuring leaves open.</p>\n\
         <div class=\"scroll\"><table>\n<thead><tr><th>Stage</th><th>Share of CPU</th><th>ns per record</th>\
         <th>per byte</th><th>Floor, ns</th><th>Distance</th><th class=\"gauge\">Time used; the line is its floor</th></tr></thead>\n\
         <tbody>"
    )?;
    let longest = used(profile).map(|stage| stage.cpu_ns_per_record).fold(0.0, f64::max);
    for stage in &profile.stages {
        match &stage.unused {
            Some(why) => writeln!(
                out,
                "<tr class=\"unused\"><th scope=\"row\">{}<small>{}</small></th><td colspan=\"6\">{}</td></tr>",
                stage.stage.name(),
                stage.stage.about(),
                escape(why)
            )?,
            None => row(out, stage, longest)?,
        }
    }
    let shares: f64 = profile.stages.iter().map(|stage| stage.share).sum();
    writeln!(
        out,
        "<tr class=\"sum\"><th scope=\"row\">all</th><td>{}</td><td>{:.1}</td><td></td><td>{}</td><td>{}</td><td></td>\
         </tr>\n</tbody></table></div></section>",
        percent(shares),
        profile.cpu_ns_per_record,
        if profile.floor_ns_per_record > 0.0 {
            format!("{:.1}", profile.floor_ns_per_record)
        } else {
            "–".into()
        },
        profile.distance.map_or_else(|| "–".into(), times),
    )
}

fn row(out: &mut String, stage: &StageReport, longest: f64) -> fmt::Result {
    let (floor, what, mark) = match &stage.floor {
        StageFloor::Measured(floor) => {
            (format!("{:.1}", floor.ns_per_record), floor.what.as_str(), Some(floor.ns_per_record))
        }
        StageFloor::Nothing => ("0".into(), "no record needs it", None),
        StageFloor::Unknown(why) => ("–".into(), why.as_str(), None),
    };
    let width = |ns: f64| 100.0 * (ns / longest.max(f64::MIN_POSITIVE)).min(1.0);
    let mark = mark.map_or_else(String::new, |floor| {
        format!("<s style=\"left:{:.2}%\" title=\"floor: {}\"></s>", width(floor), nanos(floor))
    });
    writeln!(
        out,
        "<tr><th scope=\"row\"><i class=\"{class}\"></i>{}<small>{}</small></th><td>{}<small>± {}</small></td>\
         <td>{:.1}</td><td>{}</td><td>{floor}<small>{}</small></td><td class=\"distance\">{}</td>\
         <td class=\"gauge\"><div><u class=\"{class}\" style=\"width:{:.2}%\"></u>{mark}</div></td></tr>",
        stage.stage.name(),
        stage.stage.about(),
        percent(stage.share),
        percent(stage.share_error),
        stage.cpu_ns_per_record,
        stage.bytes.as_ref().map_or_else(|| "–".into(), per_byte),
        escape(what),
        stage.distance.map_or_else(|| "–".into(), times),
        width(stage.cpu_ns_per_record),
        class = class(stage),
    )
}

fn per_byte(bytes: &StageBytes) -> String {
    let cycles = bytes
        .bytes_per_cycle
        .map_or_else(String::new, |per_cycle| format!("<small>{per_cycle:.1} bytes per cycle</small>"));
    format!(
        "{:.3} ns{cycles}<small>{:.0} B of {}</small>",
        bytes.cpu_ns_per_byte,
        bytes.bytes_per_record,
        escape(&bytes.of)
    )
}

fn alone(out: &mut String, profile: &Profile) -> fmt::Result {
    if profile.alone.is_empty() {
        return Ok(());
    }
    writeln!(out, "<section><h2>The same bytes, other ways</h2>\n<table class=\"small\"><tbody>")?;
    for floor in &profile.alone {
        writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
            escape(&floor.what),
            nanos(floor.ns_per_record)
        )?;
    }
    writeln!(out, "</tbody></table></section>")
}

fn flame(out: &mut String, svg: Option<&str>) -> fmt::Result {
    writeln!(
        out,
        "<section class=\"flame\"><h2>Every call</h2>\n<p>Each box is a function; its width is the CPU time in it \
         and in what it called, which stands above it. Click a box to look closer, <i>Reset Zoom</i> to go back.</p>"
    )?;
    match svg.and_then(|svg| svg.find("<svg").map(|start| &svg[start..])) {
        // Drawn and escaped by the flame graph's own writer.
        Some(svg) => writeln!(out, "<div class=\"scroll\">{svg}</div></section>"),
        None => writeln!(out, "<p>There were no samples to draw.</p></section>"),
    }
}

fn certainty(out: &mut String, profile: &Profile) -> fmt::Result {
    writeln!(out, "<section><h2>How sure is this?</h2><ul>")?;
    for line in certain(profile) {
        writeln!(out, "<li>{}</li>", escape(&line))?;
    }
    writeln!(
        out,
        "<li>The ± beside a share is what chance leaves open: 19 times out of 20 the true share lies within.</li>\
         </ul></section>"
    )
}

fn surroundings(out: &mut String, profile: &Profile) -> fmt::Result {
    let (machine, traffic) = (&profile.machine, &profile.traffic);
    writeln!(out, "<section><h2>What was measured, and where</h2>\n<table class=\"small\"><tbody>")?;
    let mut line = |name: &str, text: &str| {
        writeln!(out, "<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", escape(text))
    };
    line(
        "Traffic",
        &format!(
            "{} records in {:.1} s ({:.0} records/s), {:.0} B of key and value and {:.0} B of headers each; batches \
             of {:.0} records, {:.0} B of payload a record{}",
            traffic.records,
            traffic.elapsed_s,
            traffic.records_per_s,
            traffic.body_bytes_per_record,
            traffic.header_bytes_per_record,
            traffic.records_per_batch,
            traffic.payload_bytes_per_record,
            if profile.interrupted { "; interrupted" } else { "" }
        ),
    )?;
    for thread in &profile.threads {
        line(
            thread.kind.name(),
            &format!(
                "{}: {} of the CPU time, {} a record",
                thread.threads,
                percent(thread.share),
                nanos(thread.cpu_ns_per_record)
            ),
        )?;
    }
    line("Machine", &format!("{}, {} cores, Linux {}", machine.cpu, machine.cores, machine.kernel))?;
    line("Encoder", &format!("{} (of {})", profile.tier, machine.cpu_features.join(", ")))?;
    line("Version", &format!("{} {}", machine.version, machine.commit))?;
    line("Again", &profile.command)?;
    writeln!(
        out,
        "</tbody></table>\n<p>CPU time is user and system time of the engine's threads: those that consume, those \
         that invoke, and librdkafka's own. Broker, loader and measuring run in the same process and are not in \
         it.</p></section>"
    )
}

fn class(stage: &StageReport) -> String {
    format!("stage-{}", stage.stage.name().to_lowercase().replace(' ', "-"))
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::profile;
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let html = page(&profile(), None);
        for foreign in ["<script>", "<b>&", "<fast>", "<this>", "<counters>", "<here>", "'<b>'"] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        for text in
            ["&lt;script&gt;alert(1)", "A &lt;fast&gt; CPU", "mind &lt;this&gt;", "no &lt;counters&gt;"]
        {
            assert!(html.contains(text), "{text}");
        }
    }

    #[test]
    fn the_page_stands_alone() {
        let html = page(&profile(), Some("<?xml version=\"1.0\"?><!DOCTYPE svg><svg id=\"f\"></svg>"));
        assert!(html.contains("<svg id=\"f\">") && !html.contains("<?xml"));
        for outside in ["http://", "https://", "src=", "<link", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn every_stage_has_a_colour() {
        for stage in crate::profile::stages::Stage::ALL {
            let report = super::super::findings::tests::stage(stage, 1.0, 0.1, StageFloor::Nothing);
            assert!(STYLE.contains(&format!(".{}", class(&report))), "{stage}");
        }
    }
}
