//! The running thread, as its hook sees it.

use core::time::Duration;

use crate::error::AgainError;
use crate::id::{Index, ThreadId};
use crate::row::Row;
use crate::source::{Kind, Readiness, Source};
use crate::threads::{Hook, Threads};
use crate::time::Instant;
use crate::when::{Request, When};

/// The running thread, which its hook receives by value. It ends when the hook returns, unless the hook re-arms it, for
/// example with [`again`](Self::again).
///
/// While the hook runs, the thread keeps its slot and its source: it counts in [`len`](Threads::len), and a second
/// thread of the same kind for the same source is refused. However the thread ends, the poller has stopped watching the
/// source before the argument is dropped, so the argument may own a socket. (A hook that moves the argument out and
/// drops it itself calls [`end`](Self::end) first.) A `Thread` can't outlive the call of its hook.
pub struct Thread<'t, S, A = ()> {
    // Dropped before the argument, which may own the source.
    own: Own<'t, S, A>,
    hook: Hook<S, A>,
    /// The argument. A hook that has moved it out can't re-arm the thread: that does not compile.
    pub arg: A,
}

impl<'t, S, A> Thread<'t, S, A> {
    /// Creates the thread whose hook is about to be called.
    #[inline]
    pub(crate) fn new(threads: Threads<'t, S, A>, index: Index, hook: Hook<S, A>, arg: A) -> Self {
        if crate::log::IS_ON {
            threads.log_error_of(index, &arg);
        }
        Self { own: Own { threads, index }, hook, arg }
    }

    /// Returns the id of the thread, which is the one that [`Threads::add`] returned.
    pub fn id(&self) -> ThreadId {
        self.own.threads.id(self.own.index)
    }

    /// Returns the name that the thread was added with.
    pub fn name(&self) -> &'static str {
        self.own.threads.name(self.own.index)
    }

    /// Returns the kind of event that the thread waited for.
    pub fn kind(&self) -> Kind {
        self.row().map_or(Kind::Execute, |row| row.kind)
    }

    /// Returns the source of a read or write thread; `None` for other kinds.
    pub fn source(&self) -> Option<Source> {
        self.row()?.source()
    }

    /// Returns what the poller found on the source of a read or write thread; [`Readiness::NONE`] for other kinds.
    pub fn readiness(&self) -> Readiness {
        self.row().map_or(Readiness::NONE, |row| row.readiness)
    }

    /// Returns the deadline of a timer; `None` for other kinds.
    pub fn deadline(&self) -> Option<Instant> {
        self.row()?.deadline()
    }

    /// Returns how late a timer runs: the time from its deadline to now, by the poller's clock. Zero for other kinds.
    pub fn lateness(&mut self) -> Duration {
        let Some(deadline) = self.deadline() else { return Duration::ZERO };
        self.own.threads.now().saturating_duration_since(deadline)
    }

    /// Returns the threads of the loop, for adding and cancelling.
    pub fn threads(&mut self) -> Threads<'_, S, A> {
        self.own.threads.reborrow()
    }

    /// Re-arms the thread unchanged, with the same id and argument. In a large loop, this does not call the poller
    /// unless an [`ERROR`](Readiness::ERROR) was found.
    ///
    /// The next deadline of a timer is its last deadline plus its period. Periods that had passed when the turn's wait
    /// ended are skipped, so the timer does not drift, and does not run several times in a row to catch up. With a
    /// period of zero, it is due again in the next wait, which does not sleep.
    ///
    /// Where [`try_again`](Self::try_again) returns an error, `again` logs the error, and the thread ends. Re-arming
    /// never fails for lack of room: the thread keeps its slot until the hook returns. A reader that is re-armed
    /// without having read, or despite an `ERROR`, is called again after each wait.
    pub fn again(mut self) {
        // Does not call `try_again`, which takes `self` by value: the whole thread would be moved.
        let tables = &mut self.own.threads.tables;
        let again = tables.again(self.own.index, self.hook, self.arg);
        if let Err(error) = &again {
            crate::log::error!(
                "thread {} {}{}: has ended, since it can't be re-armed: {}",
                self.own.threads.name(self.own.index),
                self.own.threads.id(self.own.index),
                self.own.threads.show.shown(Some(error.arg())),
                error.message()
            );
        }
        let _ = self.own.settle(again);
    }

    /// Re-arms the thread as [`again`](Self::again) does, and reports whether that was possible.
    ///
    /// # Errors
    /// Returns the argument; the thread has ended. The error is [`AgainError::SourceCancelled`] if the hook has called
    /// [`cancel_source`](Threads::cancel_source) for the thread's own source, and [`AgainError::NoPeriod`] if the
    /// thread is a timer that has only been armed with [`When::At`].
    pub fn try_again(mut self) -> Result<(), AgainError<A>> {
        let tables = &mut self.own.threads.tables;
        let again = tables.again(self.own.index, self.hook, self.arg);
        self.own.settle(again)
    }

    /// Re-arms the thread as [`again`](Self::again) does, with another hook: the next state of a state machine.
    ///
    /// Where [`try_again`](Self::try_again) returns an error, `again_as` logs the error, and the thread ends.
    pub fn again_as(self, hook: Hook<S, A>) {
        Self { hook, ..self }.again();
    }

    /// Re-arms the thread for another event: another delay (which becomes its period), a moment, another source, or
    /// writing in place of reading. The thread keeps its id, name, hook and argument. The cost is that of adding a
    /// thread; for what the thread was called for, that of [`again`](Self::again).
    ///
    /// Only `After` and `AfterDeadline` set the period. A timer that should make up for missed periods calls
    /// `thread.again_when(When::At(deadline + period))`, and may call `again` in a later run. A timer whose next period
    /// has another length calls `thread.again_when(When::AfterDeadline(period))`; it does not drift, and skips missed
    /// periods.
    ///
    /// # Errors
    /// Returns the argument; the thread has ended. The error is [`AgainError::SourceCancelled`] if the hook has called
    /// [`cancel_source`](Threads::cancel_source) for the thread's own source, and [`AgainError::Taken`] if
    /// another thread waits for the same of the source.
    #[inline(always)]
    pub fn again_when(self, when: When) -> Result<(), AgainError<A>> {
        let (request, value) = Request::new(when);
        if let When::AfterDeadline(_) = when {
            return self.again_after_deadline(value);
        }
        self.again_request(request, value)
    }

    fn again_after_deadline(mut self, period: u64) -> Result<(), AgainError<A>> {
        let Some(deadline) = self.deadline() else {
            return self.again_request(Request::After, period);
        };
        let tables = &mut self.own.threads.tables;
        tables.set_period(self.own.index, period);
        let (request, value) = Request::after_deadline(period, deadline, tables.turn_time());
        self.again_request(request, value)
    }

    fn again_request(mut self, request: Request, value: u64) -> Result<(), AgainError<A>> {
        let tables = &mut self.own.threads.tables;
        let again = tables.again_when(self.own.index, request, value, self.hook, self.arg);
        self.own.settle(again)
    }

    /// Ends the thread before its hook returns: its slot is free, and the poller has stopped watching its source, so
    /// the source can be closed or registered again. Returns the argument, and the threads of the loop for further use.
    pub fn end(self) -> (A, Threads<'t, S, A>) {
        let Self { own, arg, .. } = self;
        (arg, own.end())
    }

    #[inline(always)]
    fn row(&self) -> Option<Row> {
        self.own.threads.row(self.own.index)
    }
}

/// The hold of a running thread on its loop. In a large loop, dropping this value ends the thread.
struct Own<'t, S, A> {
    threads: Threads<'t, S, A>,
    index: Index,
}

impl<'t, S, A> Own<'t, S, A> {
    /// Keeps the thread if it has been re-armed. Otherwise drops `self`, and the thread ends.
    #[inline]
    #[allow(clippy::forget_non_drop, clippy::drop_non_drop)] // `Self` has a destructor only with the feature `large`.
    fn settle(self, again: Result<(), AgainError<A>>) -> Result<(), AgainError<A>> {
        match again {
            Ok(()) => core::mem::forget(self),
            // Not at the end: should the poller panic, the argument in the error would not be dropped.
            Err(_) => drop(self),
        }
        again
    }

    /// Ends the thread.
    fn end(self) -> Threads<'t, S, A> {
        let index = self.index;
        // Taken apart first. If the poller panicked in `end`, the destructor of `self` would end the thread a second
        // time.
        let mut threads = self.into_threads();
        threads.end(index);
        threads
    }

    #[cfg(not(feature = "large"))]
    fn into_threads(self) -> Threads<'t, S, A> {
        self.threads
    }

    /// Returns the threads without running the destructor. Fields can't be moved out of a type that has one.
    #[cfg(feature = "large")]
    fn into_threads(mut self) -> Threads<'t, S, A> {
        let (tables, show) = (self.threads.tables.take(), self.threads.show);
        core::mem::forget(self);
        Threads::new(tables, show)
    }
}

// The poller of a large loop watches the source while the hook runs, and must stop before the argument is dropped.
// Small loops need no destructor: their poller watches nothing while hooks run, and they end the thread after its hook
// has returned.
#[cfg(feature = "large")]
impl<S, A> Drop for Own<'_, S, A> {
    #[inline]
    fn drop(&mut self) {
        self.threads.end(self.index);
    }
}
