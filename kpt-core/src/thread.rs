//! The thread that runs, as its hook sees it.

use crate::error::AgainError;
use crate::id::{Index, ThreadId};
use crate::link::{Link, Links, Place};
use crate::source::{Kind, Readiness, Source};
use crate::tables::Again;
use crate::threads::{Hook, Threads};
use crate::time::Instant;
use crate::when::{Request, When};

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
        self.threads.id(self.index)
    }

    /// The name that it was added under.
    pub fn name(&self) -> &'static str {
        self.threads.name(self.index)
    }

    /// What it waited for.
    pub fn kind(&self) -> Kind {
        self.link().kind
    }

    /// A reader's or writer's source.
    pub fn source(&self) -> Option<Source> {
        self.kind().has_source().then(|| self.link().source())
    }

    /// What was found on a reader's or writer's source; nothing for other kinds.
    pub fn readiness(&self) -> Readiness {
        if self.kind().has_source() { self.link().readiness } else { Readiness::NONE }
    }

    /// A timer's deadline. How late it runs is `thread.threads().now()` less this.
    pub fn deadline(&self) -> Option<Instant> {
        (self.kind() == Kind::Timer).then(|| self.link().deadline())
    }

    /// The threads, to add to and to take from.
    pub fn threads(&mut self) -> Threads<'_, S, A> {
        self.threads.reborrow()
    }

    /// Registers the thread once more as it is: same id, same argument, and for a reader or writer no system call.
    ///
    /// A timer's next deadline is its last one plus its period; periods that have passed by the turn's wait are
    /// skipped. So it does not drift, and does not catch up in a storm. With a period of zero it is due again at once,
    /// and runs after the next wait.
    ///
    /// What [`try_again`](Self::try_again) refuses, this logs, and the thread ends. It is never refused for want of
    /// room: the slot is the thread's own until the hook returns. A reader that goes on without having read, or without
    /// looking for [`ERROR`](Readiness::ERROR), is called in each turn.
    pub fn again(self) {
        let _ = self.try_again();
    }

    /// The same for a hook that wants to know.
    ///
    /// # Errors
    /// With the argument: [`AgainError::Ended`] if the hook has given the thread up with `cancel_source`,
    /// [`AgainError::NoPeriod`] if it is a timer that only ever was given moments. It ends when the hook returns.
    pub fn try_again(self) -> Result<(), AgainError<A>> {
        let Some(body) = self.threads.bodies.get_mut(self.index.position()) else { return Ok(()) };
        match self.threads.tables.again(self.index, body.period) {
            Again::Done => body.call = Some((self.hook, self.arg)),
            Again::Ended => return Err(self.refuse(AgainError::Ended)),
            Again::NoPeriod => return Err(self.refuse(AgainError::NoPeriod)),
        }
        Ok(())
    }

    /// Registers the thread for something else: another delay (which becomes its period), a moment, another source, or
    /// writing in place of reading. It keeps id, name, hook and argument. As expensive as adding it.
    ///
    /// Only `After` sets the period. So a timer that should make up for what it missed says
    /// `thread.again_when(When::At(deadline + period))`, and may say `again` afterwards.
    ///
    /// # Errors
    /// With the argument: [`AgainError::Ended`] as of `try_again`; [`AgainError::Taken`] if another thread of that kind
    /// has that source. It ends when the hook returns.
    pub fn again_when(self, when: When) -> Result<(), AgainError<A>> {
        let (request, value) = Request::new(when);
        if !self.can_rearm() {
            return Err(self.refuse(AgainError::Ended));
        }
        if self.threads.tables.register(Some(self.index), request, value).is_err() {
            return Err(self.refuse(AgainError::Taken));
        }
        if let Some(body) = self.threads.bodies.get_mut(self.index.position()) {
            if request == Request::After {
                body.period = request.period(value);
            }
            body.call = Some((self.hook, self.arg));
        }
        Ok(())
    }

    /// Ends the thread now and not when the hook returns: its slot is free, and its source can be registered again, or
    /// closed, since the poller has let go of it. Returns the argument, and the threads, to go on with.
    pub fn end(self) -> (A, Threads<'t, S, A>) {
        let Self { threads, index, arg, .. } = self;
        threads.tables.release(index);
        threads.log_end_of(index);
        (arg, threads)
    }
}

/// Helpers.
impl<S, A> Thread<'_, S, A> {
    fn link(&self) -> &Link {
        self.threads.tables.links().at(self.index)
    }

    /// Whether the hook has not given the thread's source up.
    fn can_rearm(&self) -> bool {
        self.link().place != Place::GivenUp
    }

    fn refuse(self, error: impl FnOnce(A) -> AgainError<A>) -> AgainError<A> {
        let Self { threads, index, arg, .. } = self;
        let error = error(arg);
        crate::log::error!(
            "thread {} {}: can't go on, ends: {}",
            threads.name(index),
            threads.id(index),
            error.message()
        );
        error
    }
}
