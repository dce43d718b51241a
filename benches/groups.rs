//! Every group by criterion: `cargo bench -p pelton-benches --bench groups -- [FILTER]`.
//!
//! Criterion times one contestant after the other: good for looking at one of them closely, before
//! and after a change. For ratios that survive a noisy machine see `ratios`.

use criterion::{BenchmarkId, Criterion, Throughput};
use pelton_benches::contest::{ALL, Front, Row};
use std::time::Duration;

struct Groups {
    criterion: Criterion,
    /// The filter, where it begins with a group: the others' rows are not even built.
    only: Option<String>,
}

impl Front for Groups {
    fn wants(&self, group: &str, _case: &str, _headline: bool) -> bool {
        self.only.as_ref().is_none_or(|only| group.split('/').next() == Some(only))
    }

    fn brief(&self) -> bool {
        false
    }

    fn row(&mut self, row: Row<'_>) {
        let mut group = self.criterion.benchmark_group(&row.group);
        for mut contestant in row.contestants {
            group.throughput(Throughput::Elements((contestant.units as u64).max(1)));
            let name = format!("{}/{}", contestant.role, contestant.name);
            group.bench_function(BenchmarkId::new(name, &row.case), |bencher| {
                bencher.iter(&mut contestant.run);
            });
        }
        group.finish();
    }
}

/// The group that the filter begins with, if it does. The filter is an argument that is no flag and
/// no flag's value.
fn only(arguments: &[String]) -> Option<String> {
    const GROUPS: [&str; 12] = [
        "payload",
        "costs",
        "base64",
        "headers",
        "integers",
        "envelope",
        "gather",
        "policy",
        "watermark",
        "handover",
        "filter",
        "response",
    ];
    let words = arguments.windows(2).filter(|pair| pair[0] == "--bench" || !pair[0].starts_with('-'));
    let filter = words.map(|pair| &pair[1]).find(|word| !word.starts_with('-'))?;
    let group = filter.split('/').next()?;
    GROUPS.contains(&group).then(|| group.to_owned())
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut groups = Groups { criterion, only: only(&arguments) };
    for contests in ALL {
        contests(&mut groups);
    }
    groups.criterion.final_summary();
}
