//! The thread that runs, as its hook sees it.

use crate::error::AgainError;
use crate::id::{Index, ThreadId};
use crate::link::Links;
use crate::source::{Kind, Readiness, Source};
use crate::tables::period_of;
use crate::threads::{Hook, Threads};
use crate::time::Instant;
use crate::when::When;

/// The thread that runs. When its hook returns, it has ended, unless the hook has said [`again`](Self::again).
///
/// While the hook runs, the thread still owns its slot and its source: it counts in `len`, and another thread of its
/// kind for its source is refused. It can't be kept beyond the hook.
pub struct Thread<'t, S, A = ()> {
    pub(crate) threads: Threads<'t, S, A>,
    pub(crate) index: Index,
    pub(crate) hook: Hook<S, A>,
    /// The argument. A hook that takes it out can't say `again`.
    pub arg: A,
}

impl<'t, S, A> Thread<'t, S, A> {
    /// The same id that adding it returned.
    pub fn id(&self) -> ThreadId {
        // The slot has been given out, so its generation is not 0 and this is not the other id.
        self.threads.tables.id(self.index).unwrap_or(ThreadId::FIRST)
    }

    /// The name that it was added under.
    pub fn name(&self) -> &'static str {
        self.threads.name(self.index)
    }

    /// What it waited for.
    pub fn kind(&self) -> Kind {
        self.threads.tables.links.at(self.index).kind
    }

    /// A reader's or writer's source.
    pub fn source(&self) -> Option<Source> {
        matches!(self.kind(), Kind::Read | Kind::Write)
            .then(|| self.threads.tables.links.at(self.index).source())
    }

    /// What was found on a reader's or writer's source; nothing for other kinds.
    pub fn readiness(&self) -> Readiness {
        self.threads.tables.links.at(self.index).readiness
    }

    /// A timer's deadline. How late it runs is `thread.threads().now()` less this.
    pub fn deadline(&self) -> Option<Instant> {
        (self.kind() == Kind::Timer).then(|| self.threads.tables.links.at(self.index).deadline())
    }

    /// The threads, to add to and to take from.
    pub fn threads(&mut self) -> Threads<'_, S, A> {
        self.threads.reborrow()
    }

    /// Registers the thread once more as it is: same id, same argument, and for a reader or writer no system call.
    ///
    /// A timer's next deadline is its last one plus its period; periods that have passed by the turn's wait are
    /// skipped. So it does not drift, and does not catch up in a storm. With a period of zero it runs in the next turn.
    ///
    /// Returns `None`, or why not, with the argument: the hook has given the thread up with `cancel_source`
    /// ([`AgainError::Ended`]), or the timer was given a moment and has no period ([`AgainError::NoPeriod`]). Neither
    /// happens by chance, so this is not a `Result`, and the usual `thread.again();` stands for itself. Not for want of
    /// room: the slot is its own until the hook returns.
    pub fn again(self) -> Option<AgainError<A>> {
        let Self { mut threads, index, hook, arg } = self;
        if !threads.tables.head.is_running(index) {
            return Some(refused(&threads, index, AgainError::Ended(arg)));
        }
        let period = threads.bodies.get(index.position()).and_then(|body| body.period);
        if !threads.tables.again(index, period) {
            return Some(refused(&threads, index, AgainError::NoPeriod(arg)));
        }
        threads.put_back(index, hook, arg);
        None
    }

    /// Registers the thread for something else: another delay (which becomes its period), a moment, another source, or
    /// writing in place of reading. It keeps id, name, hook and argument. O(1).
    ///
    /// A timer that should make up for missed periods says
    /// `thread.again_when(When::At(deadline + period))`.
    ///
    /// # Errors
    /// [`AgainError::Ended`] as of `again`; [`AgainError::Taken`] if another thread of that kind has that source.
    /// The thread then ends when the hook returns.
    pub fn again_when(self, when: When) -> Result<(), AgainError<A>> {
        let Self { mut threads, index, hook, arg } = self;
        if !threads.tables.head.is_running(index) {
            return Err(refused(&threads, index, AgainError::Ended(arg)));
        }
        if threads.tables.again_when(index, when).is_err() {
            return Err(refused(&threads, index, AgainError::Taken(arg)));
        }
        if let Some(body) = threads.bodies.get_mut(index.position()) {
            body.period = period_of(when);
        }
        threads.put_back(index, hook, arg);
        Ok(())
    }

    /// Ends the thread now and not when the hook returns: its slot is free, and its source can be registered again, or
    /// closed, since the poller has let go of it. Returns the argument, and the threads, to go on with.
    pub fn end(self) -> (A, Threads<'t, S, A>) {
        let Self { mut threads, index, arg, .. } = self;
        if threads.tables.head.is_running(index) {
            threads.tables.release(index);
        }
        (arg, threads)
    }
}

impl<S, A> Threads<'_, S, A> {
    fn put_back(&mut self, index: Index, hook: Hook<S, A>, arg: A) {
        if let Some(body) = self.bodies.get_mut(index.position()) {
            body.call = Some((hook, arg));
        }
    }
}

fn refused<S, A>(threads: &Threads<'_, S, A>, index: Index, error: AgainError<A>) -> AgainError<A> {
    crate::log::error!("thread {}: not re-armed, ends: {}", threads.name(index), error.message());
    error
}
