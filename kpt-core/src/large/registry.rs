//! The operations of hooks on the tables of a large loop, independent of its poller, capacity and timer structure.

use crate::error::RescheduleError;
use crate::id::{Index, ThreadId};
use crate::large::head::Head;
use crate::large::link::Link;
use crate::source::Source;
use crate::time::{Instant, Period};
use crate::when::Request;

/// The reason why a registration is refused.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    Full,
    Taken,
}

/// The result of re-arming the running thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    Done,
    /// The thread has given up its source.
    Ended,
    /// The thread is a timer without a period.
    NoPeriod,
}

/// The tables as hooks and the application see them, independent of poller, capacity and timer structure.
///
/// The provided methods are those of tables without threads, which have no room for any.
pub(crate) trait Registry {
    fn head(&self) -> Option<&Head> {
        None
    }

    fn stop(&mut self) {}

    fn links(&self) -> &[Link] {
        &[]
    }

    /// Returns how many slots, counted from the first, have ever had a thread.
    fn slots_used(&self) -> usize {
        0
    }

    /// Returns the time, which never goes back.
    fn now(&mut self) -> Instant {
        Instant::NEVER
    }

    /// Returns the time at which the last wait ended.
    fn turn_time(&self) -> Instant {
        Instant::ZERO
    }

    /// Adds a thread, or registers an existing one for another event.
    fn register(
        &mut self,
        _thread: Option<Index>,
        _request: Request,
        _value: u64,
    ) -> Result<ThreadId, Refusal> {
        Err(Refusal::Full)
    }

    /// Registers the running thread again, unchanged.
    fn again(&mut self, _index: Index, _period: Period) -> Again {
        Again::Ended
    }

    /// Registers the thread of the slot for another event, if `id` refers to it.
    fn reschedule(
        &mut self,
        _index: Index,
        _id: ThreadId,
        _request: Request,
        _value: u64,
    ) -> Result<(), RescheduleError> {
        Err(RescheduleError::Stale)
    }

    /// Ends a thread in any place. If it has a source, tells the poller at once.
    fn release(&mut self, _index: Index) {}

    /// Ends the thread of the slot as `release` does, if `id` refers to it. Returns whether it has.
    fn release_tenant(&mut self, _index: Index, _id: ThreadId) -> bool {
        false
    }

    /// Ends the writer and the reader of a source, and returns their slots. The running thread keeps its slot.
    fn release_source(&mut self, _source: Source) -> [Option<Index>; 2] {
        [None; 2]
    }

    /// Checks all tables, and returns the condition that does not hold.
    fn verify(&self) -> Result<(), &'static str> {
        Ok(())
    }
}
