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
use crate::destination::{Destination, DestinationError, Failure};
use crate::invoke::Invoker;
use crate::time::{Clock, Nanos, wall_ms};

use super::world::{Answer, Answered, World};

/// How long a destination may take for one failure: long for 10,000 records of a Kafka topic, and an end
/// to one that never answers, which would stop its poller.
const GIVE_UP_TIMEOUT: Duration = Duration::from_mins(2);

/// What a poller has in flight.
#[derive(Debug)]
enum Job {
    Invoke(Payload),
    GiveUp(Arc<Failure>),
}

/// From one poller to its task.
#[derive(Debug)]
struct Lane {
    job: ArrayQueue<Job>,
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
        (invoker, destination): (&Arc<I>, Option<&Arc<dyn Destination>>),
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
                    (Arc::clone(invoker), destination.cloned()),
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

impl Dispatch {
    fn hand_over(&self, poller: usize, job: Job) {
        let lane = &self.lanes[poller];
        let refused = lane.job.push(job).is_err();
        assert!(!refused, "poller {poller} has something in flight already");
        lane.ready.notify_one();
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
        self.hand_over(poller, Job::Invoke(payload));
    }

    fn give_up(&self, poller: usize, failure: Arc<Failure>) {
        self.hand_over(poller, Job::GiveUp(failure));
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
    (invoker, destination): (Arc<I>, Option<Arc<dyn Destination>>),
    answers: Arc<ArrayQueue<Answer>>,
    unparker: Unparker,
    clock: Clock,
) {
    loop {
        let job = loop {
            if let Some(job) = lane.job.pop() {
                break job;
            }
            if lane.closed.load(Ordering::Acquire) {
                return;
            }
            lane.ready.notified().await;
        };
        let started_at = clock.now();
        let result = match job {
            Job::Invoke(payload) => {
                let outcome = without_panic(pin!(async { invoker.invoke(payload).await })).await;
                Answered::Invoked(outcome.unwrap_or_else(|| Outcome::Unreachable {
                    reason: "the invoker panicked; see standard error".into(),
                }))
            }
            Job::GiveUp(failure) => Answered::GivenUp(give_up(destination.as_deref(), &failure).await),
        };
        let answer = Answer { poller, result, started_at, done_at: clock.now() };
        let refused = answers.push(answer).is_err();
        assert!(!refused, "poller {poller} was answered twice");
        unparker.unpark();
    }
}

async fn give_up(destination: Option<&dyn Destination>, failure: &Failure) -> Result<(), DestinationError> {
    let failed = |reason: &str| DestinationError::new(destination.map_or("none", Destination::name), reason);
    let Some(destination) = destination else { return Err(failed("there is no destination")) };
    let delivering = pin!(async { destination.deliver(failure).await });
    match tokio::time::timeout(GIVE_UP_TIMEOUT, without_panic(delivering)).await {
        Ok(Some(result)) => result,
        Ok(None) => Err(failed("the destination panicked; see standard error")),
        Err(_) => Err(failed(&format!("no answer within {GIVE_UP_TIMEOUT:?}"))),
    }
}

/// What panics has not delivered: its poller must learn so, or it would wait for ever.
async fn without_panic<T>(mut call: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|context: &mut Context<'_>| {
        catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context).map(Some))).unwrap_or(Poll::Ready(None))
    })
    .await
}
