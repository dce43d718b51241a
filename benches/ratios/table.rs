//! One table of all ratios: for people, as Markdown, and inside a document.

use super::result::{Measured, Ratios, Spread, Timed};

const HEAD: [&str; 6] = [
    "case",
    "ours",
    "ns",
    "time over the floor",
    "times faster than base64-simd",
    "times faster than a peer",
];

/// What stands above the table: what was measured, where, and how to read it.
#[must_use]
pub fn preface(ratios: &Ratios) -> Vec<String> {
    let machine = &ratios.machine;
    let dirty = if machine.dirty { " with uncommitted changes" } else { "" };
    vec![
        format!(
            "Measured by `{}` on {}, at commit {}{dirty}: {}, {} CPUs ({}), {}, {}; tiers {}, chosen {}.",
            ratios.command,
            machine.day,
            machine.commit,
            machine.cpu,
            machine.cpus,
            machine.caches,
            machine.kernel,
            machine.rustc,
            machine.tiers.join(" "),
            machine.tier
        ),
        "Medians; in brackets the 10th and the 90th percentile of the rounds. A round times everything in a \
         row once, in an order drawn anew; ratios are made within a round. base64-simd encodes the values \
         alone (its GB/s of input in square brackets)."
            .to_owned(),
    ]
}

/// The table as Markdown.
#[must_use]
pub fn markdown(rows: &[Measured]) -> String {
    let mut text = line(&HEAD.map(str::to_owned));
    text.push_str("| --- | --- | ---: | --- | --- | --- |\n");
    rows.iter().flat_map(lines).for_each(|cells| text.push_str(&line(&cells)));
    text
}

fn line(cells: &[String; 6]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The table with aligned columns.
#[must_use]
pub fn aligned(rows: &[Measured]) -> String {
    let mut all = vec![HEAD.map(str::to_owned)];
    all.extend(rows.iter().flat_map(lines));
    let width = |column: usize| all.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for cells in &all {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(
                |(column, (cell, &width))| {
                    if column == 2 { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                },
            )
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A row's lines: one for each of ours, derived number and count.
#[must_use]
pub fn lines(row: &Measured) -> Vec<[String; 6]> {
    let case = format!("{} {}", row.group, row.case);
    // Where numbers are made of contestants, these alone say what the row is about.
    let shown = row.of_role("pelton").filter(|_| row.derived.is_empty());
    let ours = shown.map(|ours| {
        let floors = row.of_role("floor").filter_map(|floor| ratio(ours, &floor.name));
        let floors: Vec<String> = floors.map(|(name, ratio)| format!("{} {name}", spread(ratio))).collect();
        let [yardstick, peer] =
            ["yardstick", "peer"].map(|role| fastest(ours, row, role).and_then(|name| ratio(ours, name)));
        let speed =
            row.of_role("yardstick").next().and_then(|yardstick| yardstick.input_gigabytes_per_second);
        [
            case.clone(),
            ours.name.clone(),
            format!("{} / {}", number(ours.ns_per_unit.median), row.unit),
            floors.join("; "),
            yardstick.map_or(String::new(), |(_, ratio)| {
                let speed = speed.map_or(String::new(), |speed| format!(" [{}]", number(speed)));
                format!("{}{speed}", spread(inverse(ratio)))
            }),
            peer.map_or(String::new(), |(name, ratio)| format!("{} {name}", spread(inverse(ratio)))),
        ]
    });
    let derived = row.derived.iter().map(|derived| {
        let unit = if derived.unit == "ns" { format!("ns / {}", row.unit) } else { String::new() };
        let text = format!("{} {unit}", spread(derived.value));
        [
            case.clone(),
            derived.name.clone(),
            text.trim().to_owned(),
            String::new(),
            String::new(),
            String::new(),
        ]
    });
    let counted = row.counted.iter().map(|counted| {
        let count = number(counted.count);
        [case.clone(), counted.name.clone(), count, String::new(), String::new(), String::new()]
    });
    ours.chain(derived).chain(counted).collect()
}

/// The name of the fastest of a role, as seen from `ours`.
fn fastest<'r>(ours: &Timed, row: &'r Measured, role: &str) -> Option<&'r str> {
    let fastest = row.of_role(role).min_by(|a, b| a.ns_per_unit.median.total_cmp(&b.ns_per_unit.median))?;
    (fastest.name != ours.name || fastest.role != ours.role).then_some(fastest.name.as_str())
}

fn ratio<'n>(ours: &Timed, name: &'n str) -> Option<(&'n str, Spread)> {
    let over = ours.time_over.iter().find(|over| over.name == name)?;
    Some((name, over.ratio))
}

fn inverse(ratio: Spread) -> Spread {
    Spread { median: 1.0 / ratio.median, p10: 1.0 / ratio.p90, p90: 1.0 / ratio.p10 }
}

fn spread(spread: Spread) -> String {
    format!("{} ({} to {})", number(spread.median), number(spread.p10), number(spread.p90))
}

/// Three digits that count.
fn number(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

const BEGIN: &str = "<!-- scripts/bench --readme: begin -->";
const END: &str = "<!-- scripts/bench --readme: end -->";

/// A document with the preface and the table between its marks.
///
/// # Errors
/// If the marks are not there.
pub fn replaced(document: &str, ratios: &Ratios) -> Result<String, String> {
    let missing = |mark: &str| format!("README.md has no line `{mark}`; the table stands between two marks");
    let (before, rest) = document.split_once(BEGIN).ok_or_else(|| missing(BEGIN))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| missing(END))?;
    let preface = preface(ratios).join("\n\n");
    Ok(format!("{before}{BEGIN}\n{preface}\n\n{}{END}{after}", markdown(&ratios.rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contest::{DerivedKind, Role, Row};
    use crate::ratios::machine::Machine;
    use crate::ratios::measure::{Effort, measure};

    fn ratios() -> Ratios {
        let mut row = Row::new("group", "64 B", "record", 1, 64);
        row.contestant(Role::Pelton, "ours", &(), || ());
        row.contestant(Role::Floor, "memcpy", &(), || ());
        row.contestant(Role::Floor, "reads", &(), || ());
        row.contestant(Role::Peer, "std", &(), || ());
        row.counted.push(("faults".into(), 0.0));
        let mut measured = measure(row, Effort::ONCE);
        measured.contestants.iter_mut().for_each(|contestant| {
            contestant.ns_per_unit = Spread { median: 12.34, p10: 1.0, p90: 100.0 };
            contestant.time_over.iter_mut().for_each(|over| {
                over.ratio = Spread { median: 0.5, p10: 0.25, p90: 1.0 };
            });
        });
        let mut row = Row::new("group", "parts", "record", 1, 0);
        row.contestant(Role::Pelton, "whole", &(), || ());
        row.contestant(Role::Pelton, "part", &(), || ());
        row.derive("less", DerivedKind::Difference, "pelton/whole", "pelton/part");
        let mut parts = measure(row, Effort::ONCE);
        parts.derived[0].value = Spread { median: 7.0, p10: -1.0, p90: 80.0 };
        let rows = vec![measured, parts];
        Ratios { schema: 1, command: "scripts/bench".into(), machine: Machine::here(), rows }
    }

    #[test]
    fn a_line_says_how_much_over_the_floor_and_how_much_faster_than_the_peer() {
        let rows = ratios().rows;
        let lines: Vec<_> = rows.iter().flat_map(lines).collect();
        assert_eq!(lines.len(), 3);
        let expected = [
            "group 64 B",
            "ours",
            "12.3 / record",
            "0.50 (0.25 to 1.00) memcpy; 0.50 (0.25 to 1.00) reads",
            "",
            "2.00 (1.00 to 4.00) std",
        ];
        assert_eq!(lines[0], expected);
        assert_eq!((lines[1][1].as_str(), lines[1][2].as_str()), ("faults", "0"));
        assert_eq!(
            (lines[2][1].as_str(), lines[2][2].as_str()),
            ("less", "7.00 (-1.00 to 80.0) ns / record")
        );
    }

    #[test]
    fn the_table_takes_the_place_of_the_one_between_the_marks() {
        let ratios = ratios();
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&document, &ratios).unwrap();
        assert!(new.starts_with(&format!("before\n{BEGIN}\nMeasured by `scripts/bench`")));
        assert!(new.ends_with(&format!("{}{END}\nafter\n", markdown(&ratios.rows))));
        assert!(!new.contains("old"));
        assert_eq!(replaced(&new, &ratios).unwrap(), new, "again is the same");
        assert!(replaced("no marks", &ratios).unwrap_err().contains("begin"));
    }
}
