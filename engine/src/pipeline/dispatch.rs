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

use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use crossbeam::sync::{Parker, Unparker};
use tokio::sync::Notify;

use crate::batch::Payload;
use crate::deliver::Outcome;
use crate::invoke::Invoker;
use crate::time::{Clock, Nanos, wall_ms};

use super::world::{Answer, World};

/// From one poller to its task.
#[derive(Debug)]
struct Lane {
    job: ArrayQueue<Payload>,
    ready: Notify,
    closed: AtomicBool,
}

/// The machine as a consumer thread sees it: its clocks, its sleep, the invocation side.
#[derive(Debug)]
pub(super) struct Dispatch {
    lanes: Vec<Arc<Lane>>,
    answers: Arc<ArrayQueue<Answer>>,
    parker: Parker,
    clock: Clock,
}

impl Dispatch {
    /// Starts one task per poller on `runtime`. Each answer ends the sleep on `parker`.
    pub(super) fn start<I: Invoker>(
        runtime: &tokio::runtime::Handle,
        pollers: usize,
        invoker: &Arc<I>,
        parker: Parker,
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
                    parker.unparker().clone(),
                    clock,
                ));
                lane
            })
            .collect();
        Self { lanes, answers, parker, clock }
    }
}

impl World for Dispatch {
    fn now(&self) -> Nanos {
        self.clock.now()
    }

    fn wall_ms(&self) -> i64 {
        wall_ms()
    }

    fn sleep(&self, at_most: Duration) {
        self.parker.park_timeout(at_most);
    }

    fn invoke(&self, poller: usize, payload: Payload) {
        let lane = &self.lanes[poller];
        let refused = lane.job.push(payload).is_err();
        assert!(!refused, "poller {poller} has an invocation in flight already");
        lane.ready.notify_one();
    }

    fn answer(&self) -> Option<Answer> {
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
