//! The fixed part of a loop: who runs, how many threads there are, and a few numbers.

use crate::error::Exit;
use crate::id::Index;
use crate::large::link::Link;
use crate::time::Instant;

/// The fixed part of a loop. All zero bytes when new.
pub(crate) struct Head {
    /// How many slots have a thread.
    pub(crate) used: u32,
    /// The largest that `used` has been.
    pub(crate) most_used: u32,
    /// How many slots are retired.
    pub(crate) retired: u32,
    /// Counts up: which execute threads were there when the turn began.
    pub(crate) turn: u32,
    /// Hooks that were called since the poller was last asked.
    pub(crate) hooks_since_wait: u32,
    /// How many times something was found on a source without threads.
    pub(crate) strays: u32,
    /// The latest that the clock said, rounded up: where a delay begins.
    pub(crate) read_at: Instant,
    /// The thread whose hook runs, or ran when it panicked.
    pub(crate) running: Option<Index>,
    pub(crate) is_stopping: bool,
    /// By how many microseconds the loop may be woken later than a deadline.
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

    /// A slot has been given out.
    #[inline]
    pub(crate) fn count_added(&mut self) {
        self.used = self.used.wrapping_add(1);
        self.most_used = self.most_used.max(self.used);
    }

    /// The thread has ended, and its slot has been given back.
    #[inline]
    pub(crate) fn count_ended(&mut self, index: Index) {
        self.used = self.used.wrapping_sub(1);
        if self.is_running(index) {
            self.running = None;
        }
    }

    /// How many threads there can be.
    pub(crate) fn capacity(&self, links: &[Link]) -> usize {
        links.len().saturating_sub(self.retired as usize)
    }

    /// Whether the loop should return.
    pub(crate) fn is_over(&self) -> bool {
        self.is_stopping || self.used == 0
    }

    /// Why the loop should return, if it should; `stop` is forgotten by that.
    pub(crate) fn exit(&mut self) -> Option<Exit> {
        if core::mem::take(&mut self.is_stopping) {
            return Some(Exit::Stopped);
        }
        (self.used == 0).then_some(Exit::Empty)
    }

    /// From here on, execute threads that are added belong to the next turn.
    pub(crate) fn begin_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// The thread runs now.
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
