//! The thread whose hook runs, as the hook sees it.

use core::time::Duration;

use crate::error::AgainError;
use crate::id::{Index, ThreadId};
use crate::row::Row;
use crate::source::{Kind, Readiness, Source};
use crate::threads::{Hook, Threads};
use crate::time::Instant;
use crate::when::{Request, When};

/// The thread whose hook runs. When the hook returns, the thread has ended, unless the hook has re-armed it, as with
/// [`again`](Self::again).
///
/// While the hook runs, the thread has its slot and its source: it counts in `len`, and another thread of its kind for
/// its source is refused. However it ends, the poller has let go of the source before the argument is dropped, so that
/// the argument may own a socket. (A hook that moves the argument out and drops it itself calls [`end`](Self::end) first.)
/// It can't be kept beyond the hook.
pub struct Thread<'t, S, A = ()> {
    // Dropped before the argument, which may own the source.
    own: Own<'t, S, A>,
    hook: Hook<S, A>,
    /// The argument. A hook that has moved it out can't re-arm the thread: that does not compile.
    pub arg: A,
}

impl<'t, S, A> Thread<'t, S, A> {
    /// The thread whose hook is to be called.
    #[inline]
    pub(crate) fn new(threads: Threads<'t, S, A>, index: Index, hook: Hook<S, A>, arg: A) -> Self {
        if crate::log::IS_ON {
            threads.log_error_of(index, &arg);
        }
        Self { own: Own { threads, index }, hook, arg }
    }

    /// Returns the id that adding it returned.
    pub fn id(&self) -> ThreadId {
        self.own.threads.id(self.own.index)
    }

    /// Returns the name that it was added with.
    pub fn name(&self) -> &'static str {
        self.own.threads.name(self.own.index)
    }

    /// Returns what it waited for.
    pub fn kind(&self) -> Kind {
        self.row().map_or(Kind::Execute, |row| row.kind)
    }

    /// Returns a reader's or writer's source.
    pub fn source(&self) -> Option<Source> {
        self.row()?.source()
    }

    /// Returns what was found on a reader's or writer's source; [`Readiness::NONE`] for other kinds.
    pub fn readiness(&self) -> Readiness {
        self.row().map_or(Readiness::NONE, |row| row.readiness)
    }

    /// Returns a timer's deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.row()?.deadline()
    }

    /// Returns how late a timer runs: the time from its deadline to now, by the poller's clock. Zero for other kinds.
    pub fn lateness(&mut self) -> Duration {
        let Some(deadline) = self.deadline() else { return Duration::ZERO };
        self.own.threads.now().saturating_duration_since(deadline)
    }

    /// Returns the threads of the loop, to add to and to take from.
    pub fn threads(&mut self) -> Threads<'_, S, A> {
        self.own.threads.reborrow()
    }

    /// Re-arms the thread as it was: same id, same argument, and in a large loop no call of the poller, unless an
    /// [`ERROR`](Readiness::ERROR) was found.
    ///
    /// A timer's next deadline is its last one plus its period; periods that have passed by the turn's wait are
    /// skipped. So it does not drift, and does not catch up in a storm. With a period of zero it is due again in the next
    /// wait, which does not sleep.
    ///
    /// What [`try_again`](Self::try_again) refuses, this logs as an error, and the thread ends. It is never refused for
    /// want of room: the slot is the thread's own until the hook returns. A reader that is re-armed without having read,
    /// or in spite of an `ERROR`, is called again after each wait.
    pub fn again(mut self) {
        // Not by `try_again`, to which all of the thread would be moved.
        let tables = &mut self.own.threads.tables;
        let again = tables.again(self.own.index, self.hook, self.arg);
        if let Err(error) = &again {
            crate::log::error!(
                "thread {} {}{}: can't be re-armed, and has ended: {}",
                self.own.threads.name(self.own.index),
                self.own.threads.id(self.own.index),
                self.own.threads.show.shown(Some(error.arg())),
                error.message()
            );
        }
        let _ = self.own.settle(again);
    }

    /// Re-arms the thread as [`again`](Self::again) does, and returns whether that was possible.
    ///
    /// # Errors
    /// With the argument, and the thread has ended: [`AgainError::Ended`] if the hook has given it up with
    /// `cancel_source`, [`AgainError::NoPeriod`] if it is a timer that was only ever given moments.
    pub fn try_again(mut self) -> Result<(), AgainError<A>> {
        let tables = &mut self.own.threads.tables;
        let again = tables.again(self.own.index, self.hook, self.arg);
        self.own.settle(again)
    }

    /// Re-arms the thread as [`again`](Self::again) does, with another hook: the next state of a state machine.
    ///
    /// What [`try_again`](Self::try_again) refuses, this logs, and the thread ends.
    pub fn again_as(self, hook: Hook<S, A>) {
        Self { hook, ..self }.again();
    }

    /// Re-arms the thread for something else: another delay (which becomes its period), a moment, another source, or
    /// writing in place of reading. It keeps id, name, hook and argument. It costs what adding a thread costs.
    ///
    /// Only `After` and `AfterDeadline` set the period. So a timer that should make up for what it missed calls
    /// `thread.again_when(When::At(deadline + period))`, and may call `again` in a later run. A timer whose next period has
    /// another length calls `thread.again_when(When::AfterDeadline(period))`: it does not drift, and skips what it missed.
    ///
    /// # Errors
    /// With the argument, and the thread has ended: [`AgainError::Ended`] if the hook has given it up with
    /// `cancel_source`, [`AgainError::Taken`] if another thread of that kind has that source.
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

    /// Ends the thread now and not when the hook returns: its slot is free, and its source can be registered again, or
    /// closed, since the poller has let go of it. Returns the argument, and the threads of the loop, to go on with.
    pub fn end(self) -> (A, Threads<'t, S, A>) {
        let Self { own, arg, .. } = self;
        (arg, own.end())
    }

    #[inline(always)]
    fn row(&self) -> Option<Row> {
        self.own.threads.row(self.own.index)
    }
}

/// A running thread's hold on its loop. When this is dropped, the thread ends.
struct Own<'t, S, A> {
    threads: Threads<'t, S, A>,
    index: Index,
}

impl<'t, S, A> Own<'t, S, A> {
    /// Lets go of the thread, if it has been re-armed. If not, it ends.
    #[inline]
    #[allow(clippy::forget_non_drop)] // Without the large loop, nothing is done when it is dropped.
    fn settle(self, again: Result<(), AgainError<A>>) -> Result<(), AgainError<A>> {
        if again.is_ok() {
            core::mem::forget(self);
        }
        again
    }

    /// Ends the thread.
    fn end(self) -> Threads<'t, S, A> {
        let index = self.index;
        // Not after: were the poller to panic, the thread would end a second time.
        let mut threads = self.into_threads();
        threads.end(index);
        threads
    }

    #[cfg(not(feature = "large"))]
    fn into_threads(self) -> Threads<'t, S, A> {
        self.threads
    }

    /// A value with a destructor can't be taken apart, so that its threads are taken out of it.
    #[cfg(feature = "large")]
    fn into_threads(mut self) -> Threads<'t, S, A> {
        let (tables, show) = (self.threads.tables.take(), self.threads.show);
        core::mem::forget(self);
        Threads::new(tables, show)
    }
}

// For the poller of a large loop, which watches the source while the hook runs: it lets go before the argument is dropped.
// Small loops need no destructor: while hooks run they watch nothing, and they end the thread when its hook has returned.
#[cfg(feature = "large")]
impl<S, A> Drop for Own<'_, S, A> {
    #[inline]
    fn drop(&mut self) {
        self.threads.end(self.index);
    }
}
