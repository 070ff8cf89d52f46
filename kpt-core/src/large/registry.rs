//! What a hook can do with the tables of a large loop, whatever their poller, capacity and timer structure.

use crate::error::RescheduleError;
use crate::id::{Index, ThreadId};
use crate::large::head::Head;
use crate::large::link::Link;
use crate::source::Source;
use crate::time::{Instant, Period};
use crate::when::Request;

/// Why a registration is refused.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    Full,
    Taken,
}

/// What became of the running thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    Done,
    /// It has given up its source.
    Ended,
    /// It is a timer without a period.
    NoPeriod,
}

/// The tables as hooks and the application see them: without the poller, the capacity and the timer structure.
///
/// What is not implemented has no threads and room for none.
pub(crate) trait Registry {
    fn head(&self) -> Option<&Head> {
        None
    }

    fn stop(&mut self) {}

    fn links(&self) -> &[Link] {
        &[]
    }

    /// How many slots, from the first, have had a thread at any time.
    fn slots_used(&self) -> usize {
        0
    }

    /// The time, not before what it was.
    fn now(&mut self) -> Instant {
        Instant::NEVER
    }

    /// When the last wait ended.
    fn turn_time(&self) -> Instant {
        Instant::ZERO
    }

    /// Adds a thread, or registers one that is there for something else.
    fn register(
        &mut self,
        _thread: Option<Index>,
        _request: Request,
        _value: u64,
    ) -> Result<ThreadId, Refusal> {
        Err(Refusal::Full)
    }

    /// Registers the running thread once more as it was.
    fn again(&mut self, _index: Index, _period: Period) -> Again {
        Again::Ended
    }

    /// Registers the thread that has the slot for something else, if it is the one that `id` means.
    fn reschedule(
        &mut self,
        _index: Index,
        _id: ThreadId,
        _request: Request,
        _value: u64,
    ) -> Result<(), RescheduleError> {
        Err(RescheduleError::Stale)
    }

    /// Ends a thread, wherever it is, and tells the poller at once.
    fn release(&mut self, _index: Index) {}

    /// The same for the thread that has the slot now, or had it last, if it is the one that `id` means.
    fn release_tenant(&mut self, _index: Index, _id: ThreadId) -> bool {
        false
    }

    /// Ends the writer and the reader of a source, and returns which slots they had. The one that runs keeps its slot.
    fn release_source(&mut self, _source: Source) -> [Option<Index>; 2] {
        [None; 2]
    }

    /// Walks all tables and checks that they agree.
    fn verify(&self) -> Result<(), &'static str> {
        Ok(())
    }
}
