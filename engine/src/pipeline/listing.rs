//! Partitions and offsets for log lines, bounded.

use std::fmt::Write as _;

use crate::batch::SealedBatch;
use crate::deliver::Records;
use crate::ids::Partition;

/// The most partitions in one line.
const SHOWN_MAX: usize = 32;

/// `0,1,2`.
pub(super) fn partitions(partitions: &[Partition]) -> String {
    joined(partitions.iter().map(ToString::to_string), partitions.len())
}

/// `0:15-40,3:7-9`: per partition the first and the last offset of these records.
pub(super) fn offsets(batch: &SealedBatch, records: &Records) -> String {
    let mut ranges: Vec<(Partition, i64, i64)> = Vec::new();
    for piece in batch.pieces(records.ranges()) {
        match ranges.iter_mut().find(|(partition, ..)| *partition == piece.run.partition) {
            Some((.., last)) => *last = piece.last.0,
            None => ranges.push((piece.run.partition, piece.first.0, piece.last.0)),
        }
    }
    let all = ranges.len();
    joined(ranges.into_iter().map(|(partition, first, last)| format!("{partition}:{first}-{last}")), all)
}

fn joined(shown: impl Iterator<Item = String>, all: usize) -> String {
    let mut text = shown.take(SHOWN_MAX).collect::<Vec<_>>().join(",");
    if all > SHOWN_MAX {
        let _ = write!(text, ",… {all} in all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_no_more_than_its_limit_and_says_how_many_there_are() {
        let many: Vec<_> = (0..40).map(Partition).collect();
        let text = partitions(&many);
        assert!(text.starts_with("0,1,2,") && text.ends_with("30,31,… 40 in all"), "{text}");
        assert_eq!(partitions(&many[..2]), "0,1");
    }
}
