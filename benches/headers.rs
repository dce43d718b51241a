//! Headers alone: signed decimal bytes, by our kernels; as a user would write them with `itoa`; by
//! `serde_json`; and a copy of the text.

use crate::contest::{Front, Role, Row};
use crate::{Headers, Input, Shape, sized};
use pelton::payload::{Tier, internals};
use pelton::record::Header;
use std::collections::BTreeMap;

pub(crate) fn contests(front: &mut dyn Front) {
    for (headers, name) in [(Headers::Text, "text"), (Headers::Binary, "binary"), (Headers::Both, "both")] {
        let case = format!("{name}, 16 + 36 B");
        if front.wants("headers", &case, headers != Headers::Both) {
            contest(front, &case, headers);
        }
    }
}

fn contest(front: &mut dyn Front, case: &str, headers: Headers) {
    let count = sized(100, 3);
    let input = Input::new(Shape { value_bytes: 0, varying: false, headers }, count);
    let headers = input.headers();
    let records: Vec<&[Header<'_>]> = headers.chunks(2).collect();
    let expected = with_itoa(&records);
    let len = expected.len();
    assert!(with_serde_json(&records) == expected, "the peers agree");

    let mut row = Row::new("headers", case, "record", count, 52 * count);
    for tier in Tier::available().filter(|tier| !front.brief() || *tier == Tier::best()) {
        let (records, mut out) = (records.clone(), vec![0; internals::headers_out_bytes(&records)]);
        let written = internals::headers(tier, &records, &mut out);
        assert!(out[..written] == expected, "{tier} writes what the peers write");
        row.contestant(Role::Pelton, tier, &len, move || internals::headers(tier, &records, &mut out));
    }
    let mut copied = vec![0; len];
    row.contestant(Role::Floor, "memcpy", &len, move || {
        copied.copy_from_slice(&expected);
        copied.len()
    });
    row.contestant(Role::Peer, "itoa", &len, || with_itoa(&records).len());
    row.contestant(Role::Peer, "serde_json", &len, || with_serde_json(&records).len());
    front.row(row);
}

fn with_itoa(records: &[&[Header<'_>]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(600 * records.len());
    let mut digits = itoa::Buffer::new();
    for headers in records {
        for (at, header) in headers.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"{\"" } else { b",{\"" });
            out.extend_from_slice(header.name);
            out.extend_from_slice(b"\":[");
            for (at, byte) in header.value.unwrap_or_default().iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(digits.format(byte.cast_signed()).as_bytes());
            }
            out.extend_from_slice(b"]}");
        }
        out.extend_from_slice(b"]}");
    }
    out
}

fn with_serde_json(records: &[&[Header<'_>]]) -> Vec<u8> {
    let mut out = Vec::new();
    for headers in records {
        let headers: Vec<BTreeMap<String, Vec<i8>>> = headers
            .iter()
            .map(|header| {
                let numbers = header.value.unwrap_or_default().iter().map(|byte| byte.cast_signed());
                BTreeMap::from([(String::from_utf8_lossy(header.name).into_owned(), numbers.collect())])
            })
            .collect();
        let text = serde_json::to_vec(&headers).expect("headers are JSON");
        out.extend_from_slice(&text[1..]);
        out.push(b'}');
    }
    out
}
