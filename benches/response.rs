//! What a function's response says about single records (`batchItemFailures`), per response.
//!
//! The floors copy the response, and check that it is text. `serde_json typed` is what one writes
//! first, `serde_json` the same over a tree, `simd-json tape` over a tape in buffers that are used
//! again. All give the same positions.

use std::fmt::Write as _;
use std::hint::black_box;

use crate::contest::{Front, Role, Row};
use crate::in_full;
use pelton::deliver::response::{Report, parse};
use pelton::ids::Offset;
use serde::Deserialize;
use simd_json::prelude::ValueAsScalar as _;

const FIRST_OFFSET: i64 = 4_000_000_000;

/// The event's records: one partition, 20,000 offsets.
fn find(partition: &str, offset: Offset) -> Option<u32> {
    let position = u32::try_from(offset.0 - FIRST_OFFSET).ok()?;
    (partition == "orders-v1-0" && position < 20_000).then_some(position)
}

/// Every other record failed.
fn response(failures: usize) -> String {
    let mut text = "{\"batchItemFailures\":[".to_owned();
    for at in 0..failures {
        let comma = if at == 0 { "" } else { "," };
        let offset = FIRST_OFFSET + 2 * at as i64;
        // Writing to a `String` cannot fail.
        let _ =
            write!(text, r#"{comma}{{"itemIdentifier":{{"partition":"orders-v1-0","offset":{offset}}}}}"#);
    }
    text + "]}"
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed<'r> {
    #[serde(borrow)]
    batch_item_failures: Vec<Item<'r>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item<'r> {
    #[serde(borrow)]
    item_identifier: Identifier<'r>,
}

#[derive(Deserialize)]
struct Identifier<'r> {
    partition: &'r str,
    offset: i64,
}

fn typed(response: &[u8], failed: &mut Vec<u32>) -> Option<()> {
    failed.clear();
    let typed: Typed<'_> = serde_json::from_slice(response).ok()?;
    for Item { item_identifier: Identifier { partition, offset } } in typed.batch_item_failures {
        failed.push(find(partition, Offset(offset))?);
    }
    Some(())
}

fn tree(response: &[u8], failed: &mut Vec<u32>) -> Option<()> {
    failed.clear();
    let tree: serde_json::Value = serde_json::from_slice(response).ok()?;
    for item in tree["batchItemFailures"].as_array()? {
        let identifier = &item["itemIdentifier"];
        failed.push(find(identifier["partition"].as_str()?, Offset(identifier["offset"].as_i64()?))?);
    }
    Some(())
}

/// Buffers that a tape needs, kept.
struct Tapes {
    buffers: simd_json::Buffers,
    copy: Vec<u8>,
    tape: Option<simd_json::Tape<'static>>,
}

impl Tapes {
    fn read(&mut self, response: &[u8], failed: &mut Vec<u32>) -> Option<()> {
        failed.clear();
        self.copy.clear();
        self.copy.extend_from_slice(response);
        self.copy.resize(response.len() + simd_json::INPUT_PADDING, 0);
        let mut tape = self.tape.take().map_or_else(simd_json::Tape::null, simd_json::Tape::reset);
        simd_json::fill_tape_padded(&mut self.copy, response.len(), &mut self.buffers, &mut tape).ok()?;
        let root = tape.as_value();
        let failures = root.as_object()?.get("batchItemFailures")?;
        for item in &failures.as_array()? {
            let identifier = item.as_object()?.get("itemIdentifier")?;
            let identifier = identifier.as_object()?;
            let partition = identifier.get("partition")?;
            failed.push(find(partition.as_str()?, Offset(identifier.get("offset")?.as_i64()?))?);
        }
        self.tape = Some(tape.reset());
        Some(())
    }
}

pub(crate) fn contests(front: &mut dyn Front) {
    let sizes: &[usize] = if in_full() { &[0, 1, 100, 10_000] } else { &[0, 1, 10] };
    for &failures in sizes {
        let case = format!("{failures} failures");
        if front.wants("response", &case, failures <= 100) {
            row(front, &case, failures);
        }
    }
}

fn row(front: &mut dyn Front, case: &str, failures: usize) {
    let text = response(failures);
    let response = text.as_bytes();
    let expected: Vec<u32> = (0..failures as u32).map(|at| 2 * at).collect();
    let report = if failures == 0 { Report::Complete } else { Report::Partial };
    let mut lists: [Vec<u32>; 4] = Default::default();
    let [ours, taped, typed_list, tree_list] = &mut lists;
    let mut tapes = Tapes { buffers: simd_json::Buffers::new(1024), copy: Vec::new(), tape: None };
    let mut out = vec![0; response.len()];

    let mut row = Row::new("response", case, "response", 1, response.len());
    row.contestant(Role::Pelton, "parse", &(Ok(report), failures), move || {
        (parse(black_box(response), find, ours), ours.len())
    });
    row.contestant(Role::Floor, "memcpy", &(), move || out.copy_from_slice(black_box(response)));
    row.contestant(Role::Floor, "utf8", &true, || std::str::from_utf8(black_box(response)).is_ok());
    row.contestant(Role::Peer, "simd-json tape", &Some(failures), move || {
        tapes.read(black_box(response), taped).map(|()| taped.len())
    });
    row.contestant(Role::Peer, "serde_json typed", &Some(failures), move || {
        typed(black_box(response), typed_list).map(|()| typed_list.len())
    });
    row.contestant(Role::Peer, "serde_json", &Some(failures), move || {
        tree(black_box(response), tree_list).map(|()| tree_list.len())
    });
    front.row(row);
    assert!(lists.iter().all(|list| *list == expected), "all name the same records");
}
