//! A payload from the poller to the invocation side: the bounded queue that carries it, beside a
//! channel, a mutex, and the floor of cloning the payload at all. Then there and back between two
//! threads that sleep, where waking them is nearly everything: that alone is the floor.

use crate::contest::{Front, Role, Row};
use crate::{Headers, Shape, Writer, records, sized};
use crossbeam::queue::ArrayQueue;
use crossbeam::sync::{Parker, Unparker};
use pelton::payload::Tier;
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub(crate) fn contests(front: &mut dyn Front) {
    if front.wants("handover", "same thread", true) {
        same_thread(front);
    }
    if front.wants("handover", "there and back", true) {
        there_and_back(front);
    }
}

fn same_thread(front: &mut dyn Front) {
    let count = sized(100, 2);
    let shape = Shape { value_bytes: 64, varying: false, headers: Headers::None };
    let payload = Writer::new(Tier::best(), 1).payload(records(shape, 1));
    let payload = &payload;
    let bytes = payload.len() * count;
    let mut row = Row::new("handover", "same thread", "payload", count, 0);
    let queue = ArrayQueue::new(1);
    row.contestant(Role::Pelton, "ArrayQueue", &bytes, move || {
        let pass = |_| {
            let refused = queue.push(payload.clone()).is_err();
            assert!(!refused, "the queue was empty");
            queue.pop().map_or(0, |payload| payload.len())
        };
        (0..count).map(pass).sum::<usize>()
    });
    row.contestant(Role::Floor, "clone", &bytes, || {
        (0..count).map(|_| black_box(payload.clone()).len()).sum::<usize>()
    });
    let (sender, receiver) = sync_channel(1);
    row.contestant(Role::Peer, "sync_channel", &bytes, move || {
        let pass = |_| {
            sender.send(payload.clone()).expect("the receiver lives");
            receiver.recv().map_or(0, |payload| payload.len())
        };
        (0..count).map(pass).sum::<usize>()
    });
    let locked = Mutex::new(VecDeque::with_capacity(1));
    row.contestant(Role::Peer, "Mutex<VecDeque>", &bytes, move || {
        let pass = |_| {
            locked.lock().expect("not poisoned").push_back(payload.clone());
            locked.lock().expect("not poisoned").pop_front().map_or(0, |payload| payload.len())
        };
        (0..count).map(pass).sum::<usize>()
    });
    front.row(row);
}

fn there_and_back(front: &mut dyn Front) {
    let count = sized(100, 2);
    let total = count as u64;
    let mut row = Row::new("handover", "there and back", "round trip", count, 0);

    let parker = Parker::new();
    let there = Arc::new(ArrayQueue::<u64>::new(1));
    let back = Arc::new(ArrayQueue::<u64>::new(1));
    let echo = Echo::queue(&there, &back, parker.unparker());
    let wake = echo.unparker.clone();
    row.contestant(Role::Pelton, "ArrayQueue, Parker", &total, move || {
        let mut passed = 0;
        for number in 0..total {
            let _ = there.push(number);
            wake.unpark();
            while back.pop().is_none() {
                parker.park();
            }
            passed += 1;
        }
        passed
    });

    let parker = Parker::new();
    let bare = Echo::bare(parker.unparker());
    let wake = bare.unparker.clone();
    row.contestant(Role::Floor, "Parker", &total, move || {
        for _ in 0..total {
            wake.unpark();
            parker.park();
        }
        total
    });

    let (sender, receiver) = sync_channel::<u64>(1);
    let (answer, answers) = sync_channel::<u64>(1);
    let channel = std::thread::spawn(move || receiver.iter().try_for_each(|number| answer.send(number)));
    row.contestant(Role::Peer, "sync_channel", &total, move || {
        let pass = |number| {
            sender.send(number).expect("the echo lives");
            answers.recv().map_or(0, |_| 1)
        };
        (0..total).map(pass).sum::<u64>()
    });
    front.row(row);

    echo.end();
    bare.end();
    // The row is gone, and with it the sender: the thread ends.
    let _ = channel.join().expect("the echo does not panic");
}

/// A thread that answers.
struct Echo {
    unparker: Unparker,
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Echo {
    fn queue(there: &Arc<ArrayQueue<u64>>, back: &Arc<ArrayQueue<u64>>, wake: &Unparker) -> Self {
        let (there, back, wake) = (Arc::clone(there), Arc::clone(back), wake.clone());
        Self::start(move || {
            if let Some(number) = there.pop() {
                let _ = back.push(number);
                wake.unpark();
            }
        })
    }

    fn bare(wake: &Unparker) -> Self {
        let wake = wake.clone();
        Self::start(move || wake.unpark())
    }

    /// Does `answer` whenever it is woken.
    fn start(answer: impl Fn() + Send + 'static) -> Self {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            loop {
                parker.park();
                if seen.load(Ordering::Acquire) {
                    return;
                }
                answer();
            }
        });
        Self { unparker, ended, thread }
    }

    fn end(self) {
        self.ended.store(true, Ordering::Release);
        self.unparker.unpark();
        self.thread.join().expect("the echo does not panic");
    }
}
