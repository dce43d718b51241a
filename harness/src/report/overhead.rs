//! A comparison with the bare consumer, on a terminal.

use std::fmt::{self, Write};

use super::text::count;
use crate::overhead::Overhead;
use crate::workload::units::Bytes;

/// The report. Ends with a new line.
#[must_use]
pub fn report(result: &Overhead) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, result);
    text
}

fn write(out: &mut String, result: &Overhead) -> fmt::Result {
    let machine = &result.machine;
    writeln!(out, "\nCPU per record: the engine, end to end with a null function, beside a bare consumer")?;
    writeln!(
        out,
        "{}, {} cores; batches of up to {} records, {} poller(s)",
        machine.cpu, machine.cores, result.batch_size_records, result.pollers
    )?;
    writeln!(
        out,
        "\n  {:<10}{:>12}{:>8}{:>12}{:>12}{:>8}{:>15}{:>10}",
        "value", "records", "rounds", "bare ns", "engine ns", "ratio", "min to max", "of best"
    )?;
    for size in &result.sizes {
        writeln!(
            out,
            "  {:<10}{:>12}{:>8}{:>12.0}{:>12.0}{:>8.2}{:>15}{:>10.2}",
            Bytes(size.value_bytes).to_string(),
            count(size.records as f64),
            size.rounds.len(),
            size.bare_cpu_ns_per_record,
            size.engine_cpu_ns_per_record,
            size.ratio_median,
            format!("{:.2} to {:.2}", size.ratio_min, size.ratio_max),
            size.ratio_of_best
        )?;
    }
    writeln!(
        out,
        "\n  Medians; a ratio is of the two sides of one round. `of best`: best round over best round."
    )?;
    if !machine.optimized {
        writeln!(out, "  This is not an optimised build: figures mean nothing; use cargo run --release.")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::machine::Machine;
    use crate::overhead::Comparison;

    #[test]
    fn each_size_is_a_row_with_its_spread() {
        let result = Overhead {
            version: 1,
            machine: Machine { optimized: true, ..Machine::default() },
            batch_size_records: 10_000,
            pollers: 1,
            sizes: vec![Comparison {
                value_bytes: 1024,
                records: 250_000,
                rounds: Vec::new(),
                ratio_median: 1.337,
                ratio_min: 1.29,
                ratio_max: 1.41,
                ratio_of_best: 1.33,
                bare_cpu_ns_per_record: 510.0,
                engine_cpu_ns_per_record: 682.0,
            }],
        };
        let text = report(&result);
        assert!(text.contains("1KiB") && text.contains("1.34") && text.contains("1.29 to 1.41"), "{text}");
    }
}
