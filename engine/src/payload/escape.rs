//! Bytes as the inside of a JSON string.
//!
//! Topics and brokers are UTF-8; header names are whatever a producer wrote. Where bytes are not
//! UTF-8 each bad sequence becomes U+FFFD, as in Java's decoder and in
//! [`String::from_utf8_lossy`].

/// The replacement character, in UTF-8.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// The most bytes that one byte of text can become (`\u001f`; a bad byte becomes three).
pub(crate) const ESCAPED_BYTES_MAX: usize = 6;

/// Whether `byte` stands for itself in a JSON string and in ASCII.
pub(crate) const fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte < 0x80 && byte != b'"' && byte != b'\\'
}

/// Appends `text`, escaped, without quotes.
pub(crate) fn append(text: &[u8], out: &mut Vec<u8>) {
    pieces(text, |piece| out.extend_from_slice(piece));
}

/// How many bytes [`append`] appends.
pub(crate) fn escaped_len(text: &[u8]) -> usize {
    if text.iter().all(|byte| is_plain(*byte)) {
        return text.len();
    }
    let mut bytes = 0;
    pieces(text, |piece| bytes += piece.len());
    bytes
}

/// Hands the escaped text to `emit`, piece by piece.
pub(crate) fn pieces(text: &[u8], mut emit: impl FnMut(&[u8])) {
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut copied = 0;
        for (at, byte) in valid.iter().enumerate() {
            let mut control = *b"\\u0000";
            let escaped: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                0x08 => b"\\b",
                0x0c => b"\\f",
                0..0x20 => {
                    control[4] = b"01"[usize::from(byte >> 4)];
                    control[5] = b"0123456789abcdef"[usize::from(byte & 15)];
                    &control
                }
                _ => continue,
            };
            emit(&valid[copied..at]);
            emit(escaped);
            copied = at + 1;
        }
        emit(&valid[copied..]);
        if !chunk.invalid().is_empty() {
            emit(REPLACEMENT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append(text, &mut out);
        out
    }

    #[test]
    fn controls_quotes_and_backslashes_are_escaped_as_serde_json_does() {
        let all: String = (0..=0x7f_u8).map(char::from).chain("äß€\u{1F600}".chars()).collect();
        let expected = serde_json::to_string(&all).unwrap();
        assert_eq!(escaped(all.as_bytes()), &expected.as_bytes()[1..expected.len() - 1]);
    }

    proptest! {
        #[test]
        fn any_bytes_become_the_json_string_of_their_lossy_text(text: Vec<u8>) {
            let expected = serde_json::to_string(&String::from_utf8_lossy(&text)).unwrap();
            let escaped = escaped(&text);
            prop_assert_eq!(&escaped, &expected.as_bytes()[1..expected.len() - 1]);
            prop_assert_eq!(escaped_len(&text), escaped.len());
            prop_assert!(escaped.len() <= ESCAPED_BYTES_MAX * text.len());
        }
    }
}
