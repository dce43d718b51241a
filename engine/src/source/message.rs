//! A borrowed Kafka message, read in place.
#![expect(unsafe_code, reason = "librdkafka's messages and headers are C structures")]

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::LazyLock;

use rdkafka::bindings as c;

use crate::ids::{Offset, Partition};
use crate::record::{Header, Record, TimestampType};

/// A borrowed message. Only ever seen behind a reference: its queue owns it.
#[repr(transparent)]
pub struct Message(pub(super) NonNull<c::rd_kafka_message_t>);

impl Message {
    /// librdkafka's error code; 0 if this is a record.
    pub(super) fn error(&self) -> i32 {
        // SAFETY: the message is alive while its queue holds it. Only the field's address is
        // taken, and it is read as the integer that C wrote: a code that the bindings' enum does
        // not know must not become a value of that enum.
        let code = unsafe { &raw const (*self.0.as_ptr()).err };
        // SAFETY: as above; `rd_kafka_resp_err_t` is `repr(i32)`.
        unsafe { code.cast::<i32>().read() }
    }

    pub(super) fn raw(&self) -> *const c::rd_kafka_message_t {
        self.0.as_ptr()
    }
}

/// The bytes at `start`; `None` for null, which is how librdkafka tells null from empty.
///
/// # Safety
/// If not null, `start` must point to `len` bytes that live and stay as they are for `'a`.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(start.cast(), len) })
}

impl Record for Message {
    type Headers<'a> = Headers<'a>;

    fn partition(&self) -> Partition {
        // SAFETY: alive while its queue holds it; librdkafka does not write to it meanwhile.
        Partition(unsafe { (*self.raw()).partition })
    }

    fn offset(&self) -> Offset {
        // SAFETY: as above.
        Offset(unsafe { (*self.raw()).offset })
    }

    fn timestamp_ms(&self) -> i64 {
        timestamp(self).0
    }

    fn timestamp_type(&self) -> TimestampType {
        timestamp(self).1
    }

    fn timestamp(&self) -> (i64, TimestampType) {
        timestamp(self)
    }

    fn key(&self) -> Option<&[u8]> {
        // SAFETY: as above.
        let start = unsafe { (*self.raw()).key };
        // SAFETY: as above.
        let len = unsafe { (*self.raw()).key_len };
        // SAFETY: the key lies in the fetch buffer that the message holds a reference on.
        unsafe { bytes(start, len) }
    }

    fn value(&self) -> Option<&[u8]> {
        // SAFETY: as above.
        let start = unsafe { (*self.raw()).payload };
        // SAFETY: as above.
        let len = unsafe { (*self.raw()).len };
        // SAFETY: as the key.
        unsafe { bytes(start, len) }
    }

    /// Parsed on the first call, some 80 ns a header, and kept with the message. A name ends at
    /// its first NUL byte: librdkafka tells no length.
    fn headers(&self) -> Headers<'_> {
        let mut list = ptr::null_mut();
        if has_no_headers(self) {
            return Headers { list, next: 0, message: PhantomData };
        }
        // SAFETY: the message is alive and used by one thread at a time (`KafkaQueue` is not
        // `Sync`), so the list that is parsed into it here is written once, before it is read.
        let error = unsafe { c::rd_kafka_message_headers(self.raw(), &raw mut list) };
        let list =
            if error == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR { list } else { ptr::null_mut() };
        Headers { list, next: 0, message: PhantomData }
    }
}

/// The librdkafka whose layout of records [`has_no_headers`] was read in: the one that is bundled.
const KNOWN_VERSIONS: std::ops::RangeInclusive<i32> = 0x020c_0000..=0x020c_ffff;

/// Whether `message` certainly has no headers. `false` means: ask librdkafka.
///
/// Asking costs an allocation of a reader's state even where there is nothing to read: a quarter of
/// all that a record of 100 B costs its consumer. But a record of format 2 is laid out as key,
/// value, number of headers, headers, and the value is handed out where it lies, so the byte behind
/// it is the number.
fn has_no_headers(message: &Message) -> bool {
    static KNOWN: LazyLock<bool> = LazyLock::new(|| {
        // SAFETY: takes nothing and reads a constant.
        KNOWN_VERSIONS.contains(&unsafe { c::rd_kafka_version() })
    });
    // Only format 2 has a leader epoch.
    // SAFETY: the message is alive.
    let format_2 = *KNOWN && unsafe { c::rd_kafka_message_leader_epoch(message.raw()) } >= 0;
    // An empty value is a constant of librdkafka's, and not a place in the record.
    let Some(value) = message.value().filter(|value| format_2 && !value.is_empty()) else { return false };
    // SAFETY: the value was not copied out of its record (`KNOWN_VERSIONS`), in which at least one
    // byte follows it. No reference to the byte is made: it is C's, in the same allocation.
    unsafe { value.as_ptr_range().end.read() == 0 }
}

fn timestamp(message: &Message) -> (i64, TimestampType) {
    let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is alive; librdkafka writes one of its three constants to `kind`.
    let ms = unsafe { c::rd_kafka_message_timestamp(message.raw(), &raw mut kind) };
    match kind {
        c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => (ms, TimestampType::CreateTime),
        c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => {
            (ms, TimestampType::LogAppendTime)
        }
        c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => (-1, TimestampType::None),
    }
}

/// A message's headers, in order.
#[derive(Clone)]
pub struct Headers<'a> {
    /// Null if there are none.
    list: *const c::rd_kafka_headers_t,
    next: usize,
    message: PhantomData<&'a Message>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.list.is_null() {
            return None;
        }
        let (mut name, mut value, mut len): (*const c_char, *const c_void, usize) =
            (ptr::null(), ptr::null(), 0);
        // SAFETY: the list belongs to the message, which is borrowed for `'a`.
        let error = unsafe {
            c::rd_kafka_header_get_all(self.list, self.next, &raw mut name, &raw mut value, &raw mut len)
        };
        if error != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        self.next += 1;
        // SAFETY: librdkafka keeps names with a NUL behind them, as long as the message lives.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        // SAFETY: the value lies in the message's buffer, like its key.
        let value = unsafe { bytes(value, len) };
        Some(Header { name, value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.list.is_null() {
            return (0, Some(0));
        }
        // SAFETY: the list belongs to the message, which is borrowed for `'a`.
        let left = unsafe { c::rd_kafka_header_cnt(self.list) }.saturating_sub(self.next);
        (left, Some(left))
    }
}
