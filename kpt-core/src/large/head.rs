//! The fixed part of a loop: the running thread, and counters.

use crate::error::Exit;
use crate::id::Index;
use crate::large::link::Link;
use crate::time::Instant;

/// The fixed part of a loop. All zero bytes when new.
pub(crate) struct Head {
    /// The number of slots with a thread.
    pub(crate) used: u32,
    /// The largest value of `used` so far.
    pub(crate) most_used: u32,
    /// The number of retired slots.
    pub(crate) retired: u32,
    /// The number of this turn. Execute threads with an earlier one were there when the turn began.
    pub(crate) turn: u32,
    /// The number of hooks that were called since the poller was last asked.
    pub(crate) hooks_since_wait: u32,
    /// The number of events that were found on sources without threads.
    pub(crate) strays: u32,
    /// The latest result of `Poller::now`, which rounds up: the moment from which a delay counts.
    pub(crate) read_at: Instant,
    /// The thread whose hook runs, or ran when it panicked.
    pub(crate) running: Option<Index>,
    pub(crate) is_stopping: bool,
    /// The time in microseconds by which the loop may be woken later than a deadline.
    pub(crate) slack: u64,
}

impl Head {
    pub(crate) const NEW: Self = Self {
        used: 0,
        most_used: 0,
        retired: 0,
        turn: 0,
        hooks_since_wait: 0,
        strays: 0,
        read_at: Instant::ZERO,
        running: None,
        is_stopping: false,
        slack: 0,
    };

    /// Counts a slot that has been given out.
    #[inline]
    pub(crate) fn count_added(&mut self) {
        self.used = self.used.wrapping_add(1);
        self.most_used = self.most_used.max(self.used);
    }

    /// Counts a thread that has ended, and whose slot has been given back.
    #[inline]
    pub(crate) fn count_ended(&mut self, index: Index) {
        self.used = self.used.wrapping_sub(1);
        if self.is_running(index) {
            self.running = None;
        }
    }

    /// Returns the number of threads that the loop can hold.
    pub(crate) fn capacity(&self, links: &[Link]) -> usize {
        links.len().saturating_sub(self.retired as usize)
    }

    /// Returns whether the loop should return.
    pub(crate) fn is_over(&self) -> bool {
        self.is_stopping || self.used == 0
    }

    /// Returns the reason why the loop should return, if there is one. A `stop` is cleared by this.
    pub(crate) fn exit(&mut self) -> Option<Exit> {
        if core::mem::take(&mut self.is_stopping) {
            return Some(Exit::Stopped);
        }
        (self.used == 0).then_some(Exit::Empty)
    }

    /// Begins a turn: execute threads that are added from here on belong to the next one.
    pub(crate) fn begin_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// Notes that the hook of a thread is called.
    #[inline]
    pub(crate) fn begin_hook(&mut self, index: Index) {
        self.running = Some(index);
        self.hooks_since_wait = self.hooks_since_wait.wrapping_add(1);
    }

    #[inline]
    pub(crate) fn is_running(&self, index: Index) -> bool {
        self.running == Some(index)
    }
}
