//! What the record path allocates: nothing per record, and per batch only what sends it.
//!
//! A binary of its own, because the allocator is the process's. It counts per thread, and what Rust
//! code allocates; `malloc` called by C code is outside.

use pelton::batch::{BatchLimits, FlushCause, OpenBatch, SealedBatch};
use pelton::deliver::response::{self, Report};
use pelton::filter::{Filters, Matcher};
use pelton::ids::{Offset, Partition, Slot, Topic};
use pelton::payload::{Envelope, Lease, Pool, Template};
use pelton::record::{Header, RecordRef, TimestampType};
use pelton::time::Nanos;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement; this one hands on to the system's")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations that this thread makes in `f`.
fn allocations<T>(f: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.with(Cell::get);
    let result = f();
    (result, ALLOCATIONS.with(Cell::get) - before)
}

/// Page faults of this process so far that needed no disk, from `/proc/self/stat`.
fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has /proc");
    let fields = stat.rsplit_once(')').expect("the name is in brackets").1;
    fields
        .split_whitespace()
        .nth(7)
        .and_then(|field| field.parse().ok())
        .expect("the tenth field is a number")
}

const RECORDS: usize = 1000;

struct Fixture {
    pool: Pool,
    limits: BatchLimits,
    envelope: Arc<Envelope>,
    templates: [Template; 2],
}

impl Fixture {
    fn new() -> Self {
        let limits = BatchLimits { batch_size: 2 * RECORDS as u32, ..BatchLimits::default() };
        let topic = Topic::new("orders");
        Self {
            pool: Pool::new(64 << 20, limits.payload_bytes_max as usize, 2 * RECORDS),
            limits,
            envelope: Arc::new(Envelope::self_managed("localhost:9092")),
            templates: [0, 1].map(|partition| Template::new(&topic, Partition(partition))),
        }
    }

    /// Fills a batch, in runs of `run` that alternate between two partitions.
    fn fill(&mut self, records: &[RecordRef<'_>], run: usize) -> OpenBatch {
        let lease: Lease = self.pool.acquire().expect("one batch at a time");
        let mut batch = OpenBatch::new(lease, &self.limits, Arc::clone(&self.envelope));
        for (at, run) in records.chunks(run).enumerate() {
            let template = &self.templates[at % 2];
            let appended =
                batch.append_run(&mut self.pool, Slot(at as u16 % 2), template, run, Nanos(at as u64));
            assert_eq!((appended.taken, appended.stop), (run.len(), None));
        }
        batch
    }

    fn seal(&mut self, records: &[RecordRef<'_>], run: usize) -> SealedBatch {
        self.fill(records, run).seal(FlushCause::Window, Nanos::ZERO)
    }
}

const HEADERS: &[Header<'_>] = &[
    Header { name: b"trace-id", value: Some(&[0xff, 0x80, 0x7f, 0, 100, 99]) },
    Header { name: b"escaped \"name\"", value: Some(b"correlation") },
];

fn records() -> Vec<RecordRef<'static>> {
    let record = |at: usize| RecordRef {
        partition: Partition(0),
        offset: Offset(99_999_500 + at as i64),
        timestamp_ms: 1_700_000_000_000 + at as i64,
        timestamp_type: TimestampType::CreateTime,
        key: Some(b"key"),
        value: Some(&[7; 700]),
        headers: HEADERS,
    };
    (0..RECORDS).map(record).collect()
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(0_u8)))).1, 1);
    assert_eq!(allocations(|| black_box(0)).1, 0);
}

#[test]
fn a_batch_is_filled_sealed_and_given_back_without_an_allocation() {
    let records = records();
    let mut fixture = Fixture::new();
    for run in [1, 7, RECORDS] {
        // The first batch maps the arena and grows what is kept.
        let batch = fixture.seal(&records, run);
        fixture.pool.give_back(batch);
        let (batch, filled) = allocations(|| fixture.seal(&records, run));
        assert_eq!(filled, 0, "runs of {run}");
        let (payload, whole) = allocations(|| batch.whole());
        assert_eq!((payload.records() as usize, whole), (RECORDS, 0));
        drop(payload);
        assert_eq!(allocations(|| fixture.pool.give_back(batch)).1, 0);
    }
}

#[test]
fn sending_a_batch_allocates_once() {
    let records = records();
    let mut fixture = Fixture::new();
    for run in [1, RECORDS] {
        let payload = fixture.seal(&records, run).whole();
        let (bytes, frames) = allocations(|| payload.frames().map(|frame| frame.len()).sum::<usize>());
        assert_eq!((bytes, frames), (payload.len(), 1), "runs of {run}");
    }
}

#[test]
fn a_warm_buffer_is_used_again_without_page_faults() {
    let records = records();
    let mut fixture = Fixture::new();
    for _ in 0..3 {
        let batch = fixture.seal(&records, 50);
        fixture.pool.give_back(batch);
    }
    let touched = fixture.pool.touched_bytes();
    let before = page_faults();
    for _ in 0..200 {
        let batch = fixture.seal(&records, 50);
        fixture.pool.give_back(batch);
    }
    // The other tests of this binary may fault meanwhile; 200 payloads of fresh pages would be
    // 60 thousand faults.
    assert!(page_faults() - before < 2000, "{} page faults", page_faults() - before);
    assert_eq!(fixture.pool.touched_bytes(), touched);
}

/// Patterns with every kind of test, and values that make them work: arrays of objects, escapes,
/// long numbers, values that are no JSON.
#[test]
fn a_record_is_filtered_without_an_allocation() {
    let filters = Filters::parse(&[
        r#"{"value":{"status":["shipped",{"prefix":"re"},{"suffix":"ed"},{"wildcard":"a*b"},{"equals-ignore-case":"OPEN"}],
            "amount":[{"numeric":[">",100]},9007199254740993],"ip":[{"cidr":"10.0.0.0/8"},{"exists":false}]}}"#,
        r#"{"value":{"items":{"sku":["a-1"],"price":[{"anything-but":[1,2.5]}],"$or":[{"x":[1]},{"y":[{"exists":false}]}]}}}"#,
        r#"{"value":[{"anything-but":{"prefix":["plain"]}}],"key":[{"prefix":"cust"}]}"#,
        r#"{"topic":["other"],"partition":[1],"offset":[{"numeric":["<",5]}],"timestamp":[1],"headers":{"trace-id":["x"]}}"#,
    ]);
    let mut matcher = Matcher::new(Arc::new(filters.expect("patterns")));
    let values: [&[u8]; 8] = [
        br#"{"status":"returned","amount":100.00000000000000000001,"ip":"10.1.2.3"}"#,
        br#"{"status":"r\u0065turned","amount":9007199254740993,"note":"a \"quoted\" word"}"#,
        br#"{"items":[{"sku":"a-2","price":3,"x":1},{"sku":"a-1","price":1},{"sku":"a-1","price":7}]}"#,
        br#"{"items":[[{"sku":"a-1"}],{"price":[1,2.5],"x":{"y":[1,2,{"z":null}]}}]}"#,
        br#"{"items":[{"sku":"a-1","price":3,"x":1}"#,
        b"plain text",
        b"\xff\xfe",
        b"[1,2,3,123456789012345678901234567890]",
    ];
    let topic = Topic::new("orders");
    let records: Vec<RecordRef<'_>> =
        (0..1000).map(|at| RecordRef { value: values.get(at % 9).copied(), ..records()[at] }).collect();
    let mut filter =
        |records: &[RecordRef<'_>]| records.iter().filter(|record| matcher.keeps(&topic, *record)).count();
    let kept = filter(&records);
    assert!(kept > 100 && kept < 900, "{kept} of {} pass", records.len());
    assert_eq!(allocations(|| filter(&records)), (kept, 0));
}

#[test]
fn a_response_is_read_without_an_allocation() {
    let item = |at: u32| format!(r#"{{"itemIdentifier":{{"partition":"orders-0","offset":{at}}}}}"#);
    let items: Vec<String> = (0..10_000).map(item).collect();
    let response = format!(r#"{{"batchItemFailures":[{}]}}"#, items.join(","));
    let mut failed = Vec::new();
    let mut read = || {
        let find = |partition: &str, Offset(offset)| (partition == "orders-0").then_some(offset as u32);
        response::parse(response.as_bytes(), find, &mut failed)
    };
    assert_eq!(read(), Ok(Report::Partial));
    assert_eq!(allocations(read), (Ok(Report::Partial), 0));
}
