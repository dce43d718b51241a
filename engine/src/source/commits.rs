//! Commits that report back. `Consumer::commit` of the `rdkafka` crate never tells what became of
//! an asynchronous commit, and waits without limit for a synchronous one.
#![expect(unsafe_code, reason = "librdkafka's commit with a queue for the answer exists only in C")]

use std::any::Any;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;

use super::SourceError;

/// The error of a commit that was refused for `reason`.
pub(super) fn refused(reason: String) -> SourceError {
    if reason.contains(&RDKafkaErrorCode::OffsetMetadataTooLarge.to_string()) {
        SourceError::MetadataTooLong { reason }
    } else {
        SourceError::Commit { reason }
    }
}

/// The metadata of the entry `at` of a list, empty if there is none. Other consumers of the group may
/// have written anything: `TopicPartitionListElem::metadata` panics at what is not UTF-8.
pub(super) fn metadata_of(list: &TopicPartitionList, at: usize) -> String {
    if at >= list.count() {
        return String::new();
    }
    // SAFETY: the list is alive, and nobody changes it while it is borrowed.
    let elements = unsafe { (*list.ptr()).elems };
    // SAFETY: there are more than `at` elements.
    let one = unsafe { elements.add(at) };
    // SAFETY: a plain field of a live element.
    let metadata = unsafe { (*one).metadata };
    // SAFETY: as above.
    let bytes = unsafe { (*one).metadata_size };
    if metadata.is_null() || bytes == 0 {
        return String::new();
    }
    // SAFETY: not null, so it points to as many bytes, which belong to the list.
    let metadata = unsafe { std::slice::from_raw_parts(metadata.cast::<u8>(), bytes) };
    String::from_utf8_lossy(metadata).into_owned()
}

/// Sends offsets to the group's coordinator.
pub(super) struct Committer {
    rk: *mut c::rd_kafka_t,
    /// The consumer's own queue.
    events: NonNull<c::rd_kafka_queue_t>,
    /// Declared last and dropped last: destroying a consumer while handles of its queues exist
    /// would wait for them for ever.
    consumer: Arc<dyn Any + Send + Sync>,
}

// SAFETY: librdkafka's handles are not bound to a thread.
unsafe impl Send for Committer {}

impl Committer {
    /// `None` if the consumer has no group.
    pub(super) fn new<C: ConsumerContext + 'static>(consumer: &Arc<BaseConsumer<C>>) -> Option<Self> {
        let rk = consumer.client().native_ptr();
        // SAFETY: the consumer is alive; the reference is given back on drop, before the consumer.
        let events = NonNull::new(unsafe { c::rd_kafka_queue_get_consumer(rk) })?;
        Some(Self { rk, events, consumer: Arc::clone(consumer) as Arc<dyn Any + Send + Sync> })
    }

    fn answers(&self) -> Answers {
        // SAFETY: the client is alive, and stays so at least as long as the `Answers`.
        let queue = unsafe { c::rd_kafka_queue_new(self.rk) };
        let queue = NonNull::new(queue).expect("librdkafka aborts rather than returns null here");
        Answers { queue, _consumer: Arc::clone(&self.consumer) }
    }

    /// Sends `offsets`; the answer comes to `ConsumerContext::commit_callback`.
    pub(super) fn send(&self, offsets: &TopicPartitionList) -> Result<(), String> {
        self.send_to(offsets, self.events)
    }

    /// Sends `offsets` and waits for the answer, which, if it comes too late, is thrown away.
    pub(super) fn send_and_wait(
        &self,
        offsets: &TopicPartitionList,
        timeout: Duration,
    ) -> Result<(), String> {
        let answers = self.answers();
        self.send_to(offsets, answers.queue)?;
        answers.next(timeout).unwrap_or_else(|| Err(format!("no answer within {timeout:?}")))
    }

    fn send_to(
        &self,
        offsets: &TopicPartitionList,
        answers: NonNull<c::rd_kafka_queue_t>,
    ) -> Result<(), String> {
        // SAFETY: all three are alive; librdkafka copies the list before it returns.
        let error = unsafe {
            c::rd_kafka_commit_queue(self.rk, offsets.ptr(), answers.as_ptr(), None, ptr::null_mut())
        };
        match RDKafkaErrorCode::from(error) {
            RDKafkaErrorCode::NoError => Ok(()),
            code => Err(code.to_string()),
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // SAFETY: gives back the reference taken in `new`.
        unsafe { c::rd_kafka_queue_destroy(self.events.as_ptr()) };
    }
}

/// A queue that nothing but the answer to one commit comes to.
struct Answers {
    queue: NonNull<c::rd_kafka_queue_t>,
    /// As in [`Committer`].
    _consumer: Arc<dyn Any + Send + Sync>,
}

// SAFETY: as for `Committer`.
unsafe impl Send for Answers {}

impl Answers {
    /// Waits for the next answer: what was refused, if anything was. `None` if none came in time.
    fn next(&self, timeout: Duration) -> Option<Result<(), String>> {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive, and nobody else reads it.
        let event = NonNull::new(unsafe { c::rd_kafka_queue_poll(self.queue.as_ptr(), timeout_ms) })?;
        // SAFETY: the event is alive until destroyed below.
        let code = RDKafkaErrorCode::from(unsafe { c::rd_kafka_event_error(event.as_ptr()) });
        let refused = match code {
            RDKafkaErrorCode::NoError => {
                // SAFETY: as above; the list belongs to the event.
                let list = unsafe { c::rd_kafka_event_topic_partition_list(event.as_ptr()) };
                // SAFETY: as above, and used for nothing else meanwhile.
                unsafe { first_refusal(list) }
            }
            code => Some(code.to_string()),
        };
        // SAFETY: used for the last time.
        unsafe { c::rd_kafka_event_destroy(event.as_ptr()) };
        Some(refused.map_or(Ok(()), Err))
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // SAFETY: the only handle, used for the last time. An answer that comes later finds the
        // queue disabled and is thrown away.
        unsafe { c::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// The first partition that was refused, though the request as a whole was not.
///
/// # Safety
/// `list` must be null or a live list that nobody changes.
unsafe fn first_refusal(list: *const c::rd_kafka_topic_partition_list_t) -> Option<String> {
    if list.is_null() {
        return None;
    }
    // SAFETY: not null, so alive.
    let count = usize::try_from(unsafe { (*list).cnt }).unwrap_or(0);
    (0..count).find_map(|at| {
        // SAFETY: as above.
        let elements = unsafe { (*list).elems };
        // SAFETY: there are `cnt` elements, and `at` is below.
        let one = unsafe { elements.add(at) };
        // SAFETY: a live element, of which only a field's address is taken.
        let code = unsafe { &raw const (*one).err };
        // SAFETY: as above. Read as the integer that C wrote: a code that the bindings' enum does
        // not know must not become a value of that enum.
        let code = unsafe { code.cast::<i32>().read() };
        // SAFETY: a plain field of a live element.
        let partition = unsafe { (*one).partition };
        (code != 0).then(|| {
            let code = c::rd_kafka_resp_err_t::try_from(code).map_or(RDKafkaErrorCode::Unknown, Into::into);
            format!("partition {partition}: {code}")
        })
    })
}
