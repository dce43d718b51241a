//! An invoker whose answers are scripted: the engine without HTTP.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pelton::batch::Payload;
use pelton::deliver::Outcome;
use pelton::invoke::Invoker;

/// What an invocation was given: (partition, offset) in the order of the event.
pub(crate) type Delivered = Vec<(i32, i64)>;

/// An invoker that keeps what it was given and answers what the test says.
pub(crate) struct Scripted<F> {
    pub(crate) calls: Mutex<Vec<Delivered>>,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) most_in_flight: AtomicUsize,
    answer: F,
}

impl<F, A> Scripted<F>
where
    F: Fn(usize, Delivered) -> A + Send + Sync + 'static,
    A: Future<Output = Outcome> + Send,
{
    /// `answer` is given the invocation's number, from 0, and its records.
    pub(crate) fn new(answer: F) -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            answer,
        })
    }

    /// Every record of every call, in order.
    pub(crate) fn delivered(&self) -> Delivered {
        self.calls.lock().expect("calls").iter().flatten().copied().collect()
    }
}

impl<F, A> Invoker for Scripted<F>
where
    F: Fn(usize, Delivered) -> A + Send + Sync + 'static,
    A: Future<Output = Outcome> + Send,
{
    async fn invoke(&self, payload: Payload) -> Outcome {
        let records: Delivered = payload.entries().map(|entry| (entry.partition.0, entry.offset.0)).collect();
        let number = {
            let mut calls = self.calls.lock().expect("calls");
            calls.push(records.clone());
            calls.len() - 1
        };
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_flight.fetch_max(now, Ordering::SeqCst);
        let outcome = (self.answer)(number, records).await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        outcome
    }
}
