//! What is in flight: jobs out, answers back, one task per poller.
//!
//! A poller has at most one invocation in flight, so its lane holds one job and the thread's
//! answer queue holds one answer per poller: neither can overflow.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use crossbeam::queue::ArrayQueue;
use crossbeam::sync::Unparker;
use tokio::sync::Notify;

use crate::batch::Payload;
use crate::deliver::Outcome;
use crate::invoke::Invoker;
use crate::time::{Clock, Nanos};

/// What an invocation came to.
#[derive(Debug)]
pub(super) struct Answer {
    /// The poller, numbered within its thread.
    pub(super) poller: usize,
    pub(super) outcome: Outcome,
    pub(super) started_at: Nanos,
    pub(super) done_at: Nanos,
}

/// From one poller to its task.
#[derive(Debug)]
struct Lane {
    job: ArrayQueue<Payload>,
    ready: Notify,
    closed: AtomicBool,
}

/// The invocation side as a consumer thread sees it.
#[derive(Debug)]
pub(super) struct Dispatch {
    lanes: Vec<Arc<Lane>>,
    answers: Arc<ArrayQueue<Answer>>,
}

impl Dispatch {
    /// Starts one task per poller on `runtime`. Each answer ends the sleep of the thread that
    /// `unparker` belongs to.
    pub(super) fn start<I: Invoker>(
        runtime: &tokio::runtime::Handle,
        pollers: usize,
        invoker: &Arc<I>,
        unparker: &Unparker,
        clock: Clock,
    ) -> Self {
        let answers = Arc::new(ArrayQueue::new(pollers));
        let lanes = (0..pollers)
            .map(|poller| {
                let lane = Arc::new(Lane {
                    job: ArrayQueue::new(1),
                    ready: Notify::new(),
                    closed: AtomicBool::new(false),
                });
                runtime.spawn(serve(
                    poller,
                    Arc::clone(&lane),
                    Arc::clone(invoker),
                    Arc::clone(&answers),
                    unparker.clone(),
                    clock,
                ));
                lane
            })
            .collect();
        Self { lanes, answers }
    }

    /// Hands `payload` to the poller's task. The poller must have nothing in flight.
    pub(super) fn hand_over(&self, poller: usize, payload: Payload) {
        let lane = &self.lanes[poller];
        let refused = lane.job.push(payload).is_err();
        assert!(!refused, "poller {poller} has an invocation in flight already");
        lane.ready.notify_one();
    }

    /// The next answer, if one has come.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.answers.pop()
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        for lane in &self.lanes {
            lane.closed.store(true, Ordering::Release);
            lane.ready.notify_one();
        }
    }
}

async fn serve<I: Invoker>(
    poller: usize,
    lane: Arc<Lane>,
    invoker: Arc<I>,
    answers: Arc<ArrayQueue<Answer>>,
    unparker: Unparker,
    clock: Clock,
) {
    loop {
        let payload = loop {
            if let Some(payload) = lane.job.pop() {
                break payload;
            }
            if lane.closed.load(Ordering::Acquire) {
                return;
            }
            lane.ready.notified().await;
        };
        let started_at = clock.now();
        let outcome = without_panic(pin!(async { invoker.invoke(payload).await })).await;
        let answer = Answer { poller, outcome, started_at, done_at: clock.now() };
        let refused = answers.push(answer).is_err();
        assert!(!refused, "poller {poller} was answered twice");
        unparker.unpark();
    }
}

/// An invoker that panics has not delivered: its poller must learn so, or it would wait for ever.
async fn without_panic(mut call: Pin<&mut impl Future<Output = Outcome>>) -> Outcome {
    poll_fn(|context: &mut Context<'_>| {
        catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))).unwrap_or_else(|_| {
            Poll::Ready(Outcome::Unreachable { reason: "the invoker panicked; see standard error".into() })
        })
    })
    .await
}
