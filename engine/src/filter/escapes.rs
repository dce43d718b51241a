//! What escapes in a JSON string mean.

/// Resolves the escapes of a string that was read as one. Half a surrogate pair becomes U+FFFD.
pub(super) fn resolve(text: &str, room: &mut String) {
    room.clear();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        room.push_str(&rest[..at]);
        let code = rest.as_bytes().get(at + 1).copied().unwrap_or(0);
        rest = &rest[at + 2..];
        let simple = match code {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = unit(rest).unwrap_or(0xfffd);
                rest = &rest[4..];
                let second = rest.strip_prefix("\\u").and_then(unit);
                let (c, used) = match (first, second) {
                    (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) => {
                        (0x1_0000 + ((first - 0xd800) << 10 | (second - 0xdc00)), 6)
                    }
                    _ => (first, 0),
                };
                rest = &rest[used..];
                char::from_u32(c).unwrap_or('\u{fffd}')
            }
            other => char::from(other),
        };
        room.push(simple);
    }
    room.push_str(rest);
}

fn unit(digits: &str) -> Option<u32> {
    u32::from_str_radix(digits.get(..4)?, 16).ok()
}
