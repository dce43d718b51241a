//! One partition: what is done, in a bit each, and what is not committed, in detail.

use std::collections::VecDeque;

use super::bits::Bits;

/// What became of a record's last delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Never delivered.
    #[default]
    New,
    /// Handed over, not answered.
    InFlight,
    /// Answered, and it is not done.
    Failed,
    /// Answered, and it is done.
    Done,
}

/// A record that is not known to be committed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) state: State,
    /// Answers that were failures, up to 255.
    pub(super) failures: u8,
    /// Whether the answer took so long that the engine may have given up waiting.
    pub(super) late: bool,
    /// Who was handed it last.
    pub(super) engine: u16,
    /// In which invocation.
    pub(super) ticket: u32,
    /// When that began, or was answered.
    pub(super) at_ms: u64,
}

/// A partition.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The first offset that is not known to be committed, and the first of `window`.
    pub(super) base: u64,
    pub(super) window: VecDeque<Entry>,
    /// The function has taken them.
    pub(super) done: Bits,
    /// Everything below is done, or was given up.
    finished: u64,
}

impl Lane {
    /// One past the last offset that was delivered.
    pub(super) fn end(&self) -> u64 {
        self.base + self.window.len() as u64
    }

    /// The record at `offset`, unless it is committed or was never delivered.
    pub(super) fn entry(&mut self, offset: u64) -> Option<&mut Entry> {
        let index = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        self.window.get_mut(index)
    }

    /// Makes room for `offset` and returns its entry; `None` if it is committed already. What is
    /// passed over stays new.
    pub(super) fn reach(&mut self, offset: u64) -> Option<&mut Entry> {
        let index = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        if index >= self.window.len() {
            self.window.resize(index + 1, Entry::default());
        }
        self.window.get_mut(index)
    }

    /// The first offset that is neither done nor given up: failed `give_up` times, if that is a limit.
    pub(super) fn first_unfinished(&mut self, give_up: Option<u8>) -> u64 {
        self.finished = self.finished.max(self.base);
        while self.finished < self.end() {
            let done = self.done.contains(self.finished);
            let index = usize::try_from(self.finished - self.base).unwrap_or(usize::MAX);
            let entry = &self.window[index];
            // In flight once more after it failed too often is what a successor of a killed engine does.
            if !done && give_up.is_none_or(|limit| entry.failures < limit) {
                break;
            }
            self.finished += 1;
        }
        self.finished
    }

    /// Takes back that everything was finished from `offset` on.
    pub(super) fn unfinish(&mut self, offset: u64) {
        self.finished = self.finished.min(offset);
    }

    /// Forgets the details of what is committed.
    pub(super) fn commit(&mut self, offset: u64) {
        while self.base < offset {
            if self.window.pop_front().is_none() {
                self.base = offset;
                return;
            }
            self.base += 1;
        }
    }
}
