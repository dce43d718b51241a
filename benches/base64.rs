//! Base64 alone: our kernels beside `base64-simd`, `base64` and a copy of the text.

use crate::contest::{Front, Role, Row, size};
use crate::{Headers, Input, Shape, base64_of_values, sized, value_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pelton::payload::{Tier, internals};

pub(crate) fn contests(front: &mut dyn Front) {
    for varying in [false, true] {
        let group = format!("base64/{}", if varying { "varying" } else { "fixed" });
        for bytes in [16, 64, 256, 1 << 10, 10 << 10, 100 << 10] {
            let headline = [64, 1 << 10].contains(&bytes) && !varying;
            if front.wants(&group, &size(bytes), headline) {
                contest(front, &group, Shape { value_bytes: bytes, varying, headers: Headers::None });
            }
        }
    }
}

fn contest(front: &mut dyn Front, group: &str, shape: Shape) {
    let count = sized((1 << 20) / shape.value_bytes.max(1 << 13), 2);
    let input = Input::new(shape, count);
    let records = &input.records(&[])[..];
    let values: Vec<&[u8]> = records.iter().filter_map(|record| record.value).collect();
    let expected: String = values.iter().map(|value| STANDARD.encode(value)).collect();
    let len = expected.len();
    let mut row = Row::new(group, size(shape.value_bytes), "value", count, value_bytes(records));
    for tier in Tier::available().filter(|tier| !front.brief() || *tier == Tier::best()) {
        let (values, mut out) = (values.clone(), vec![0_u8; internals::out_bytes(&values)]);
        let written = internals::base64(tier, &values, &mut out);
        assert!(out[..written] == *expected.as_bytes(), "{tier} writes what the peer writes");
        row.contestant(Role::Pelton, tier, &len, move || internals::base64(tier, &values, &mut out));
    }
    let mut copied = vec![0; len];
    row.contestant(Role::Floor, "memcpy", &len, move || {
        copied.copy_from_slice(expected.as_bytes());
        copied.len()
    });
    let mut out = vec![0; len];
    row.contestant(Role::Yardstick, "base64-simd", &len, move || base64_of_values(records, &mut out));
    let mut out = vec![0; len];
    row.contestant(Role::Peer, "base64", &len, move || {
        let mut at = 0;
        for value in &values {
            at += STANDARD.encode_slice(value, &mut out[at..]).expect("the output has room");
        }
        at
    });
    front.row(row);
}
