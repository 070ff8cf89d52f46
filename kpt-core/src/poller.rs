//! What a loop needs of the world: a clock, and a wait for sources.

use core::fmt;

use crate::id::ThreadId;
use crate::source::{Interest, Kind, Readiness, Source};
use crate::time::Instant;

/// Waits for sources and tells the time; nothing else in kpt reads a clock or sleeps.
///
/// A poller finds what is ready in one of two ways. It keeps a set of what [`modify`](Self::modify) has told it, waits
/// for that set and [`push`](Ready::push)es what it finds there, as one on epoll does. Or it keeps nothing and
/// [`ask`](Ready::ask)s in each wait which threads wait for what, as [`LinePoller`](crate::board::LinePoller) does; then its
/// `modify` has nothing to do. Every poller works with both loops.
///
/// One suite of tests holds for every poller (`tests/` of the repository: `contract`); run it on your own.
pub trait Poller {
    /// What can go wrong with the wait itself. What is wrong with one source is that source's
    /// [`ERROR`](Readiness::ERROR).
    type Error;

    /// While execute threads are pending, turns skip their wait until at least this many hooks have run since the last
    /// one, or 250 µs have passed: 1 where asking is cheap, so that every turn waits; more where an empty look costs as
    /// much as many hooks. 0 is 1.
    const LOOK_AFTER_HOOKS: u32 = 1;

    /// The time, rounded **up** to a whole microsecond (or to the next tick of a coarser clock).
    ///
    /// - MUST count from the same start as the moments that `wait` takes and returns.
    /// - MUST be monotonic as far as the platform can; the loop takes a step back as a clock that stands still.
    fn now(&mut self) -> Instant;

    /// Watches `source` for `interest` from now on, in place of what was asked before; [`Interest::NONE`] ends it.
    ///
    /// A large loop calls this when what its threads want of a source has changed: before a wait for threads that were
    /// added, at once for threads that have ended. A small loop calls it for each source before each wait, and with
    /// `NONE` after it.
    ///
    /// - MUST take any call for any source: one asked for already (its number may be another file by now), one not
    ///   known, one that has been closed; and return `Ok` to `NONE` for all of them.
    /// - MUST have ended the watch when a call with `NONE` returns: the source may be closed right after.
    ///
    /// # Errors
    /// [`Unwatchable`] if the poller can't watch this source for that; then it does not watch it at all. Its threads
    /// run with [`ERROR`](Readiness::ERROR), those of several such sources in any order. A poller may as well return
    /// `Ok` and report `ERROR` from `wait`.
    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable>;

    /// Waits until a source is ready or `until` has come ([`Instant::NEVER`] never does), pushes what is ready, and
    /// returns the time, rounded **down** to a whole microsecond (or tick), so that no timer runs early.
    ///
    /// - MUST return at once when `until` has passed, and look at the sources all the same: what is ready then is found.
    /// - MUST look at the sources at the returned moment or later, so that what has come before a deadline is served before
    ///   its timer. Where that can't be had exactly, within a millisecond, also if the process did not run in between.
    /// - MUST report readiness as long as it lasts (level-triggered), hang-up and error to any interest.
    /// - MUST round its timeout up, and not take a signal for an error. `until` is a moment, so that a wait cut short,
    ///   and begun anew by the poller or by the loop, ends no later.
    /// - MAY return before `until` with nothing, now and then, whether or not something is ready; the next wait or the one
    ///   after finds it.
    /// - MAY push a source more than once, and one that is not watched or not ready.
    /// - MAY let go of a source on which it pushes `ERROR`; the loop asks anew when a thread wants it again.
    ///
    /// # Errors
    /// When it can't wait at all. All registrations stay, and the next call tries again. After a panic, too, the loop ends
    /// the watches that it no longer wants.
    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, Self::Error>;

    /// Notes that a hook is about to be called: for meters, watchdogs and recorders, which are pollers around a poller.
    /// Does nothing by default, and then nothing of it is left in the program.
    ///
    /// A poller around another MUST forward this and [`after_hook`](Self::after_hook).
    #[inline(always)]
    fn before_hook(&mut self, call: HookCall) {
        let _ = call;
    }

    /// Notes that the hook has returned or panicked. Called once after each [`before_hook`](Self::before_hook), when its
    /// thread has ended or has been re-armed.
    ///
    /// - MUST NOT panic: after a panic of the hook, the program would abort.
    #[inline(always)]
    fn after_hook(&mut self) {}
}

/// A call of a hook, for [`Poller::before_hook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct HookCall {
    /// The thread's id.
    pub id: ThreadId,
    /// The name that it was added with.
    pub name: &'static str,
    /// What it waited for.
    pub kind: Kind,
    /// Since when it could have run: a timer's deadline; for other kinds, the end of the last wait.
    pub due: Instant,
}

/// The poller can't watch this source: no such thing, of a kind that can't be watched, or out of room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Unwatchable;

impl fmt::Display for Unwatchable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the poller can't watch this source")
    }
}

impl core::error::Error for Unwatchable {}

/// The threads that wait for sources, as a poller sees them during a wait.
pub struct Ready<'a> {
    threads: &'a mut (dyn Waiting + 'a),
}

/// What a [`Ready`] is a view of: the threads of a loop, or those of a test.
pub trait Waiting {
    /// Notes that `readiness` was found on `source`. What is found on one source adds up.
    fn push(&mut self, source: Source, readiness: Readiness);

    /// Calls `answer` for each thread that waits for a source, with what it wants, and notes what that returns. Returns
    /// whether it was anything for any thread.
    fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool;
}

impl<'a> Ready<'a> {
    /// Returns a view of these threads.
    pub fn new(threads: &'a mut (dyn Waiting + 'a)) -> Self {
        Self { threads }
    }

    /// Notes that `readiness` was found on `source`. What is found on one source adds up.
    pub fn push(&mut self, source: Source, readiness: Readiness) {
        self.threads.push(source, readiness);
    }

    /// Calls `answer` for each thread that waits for a source, with what it wants, and notes what that returns:
    /// [`Readiness::NONE`] if it is not ready, [`ERROR`](Readiness::ERROR) if the poller knows no such source. Returns
    /// whether any thread is ready. The threads come in the order of the loop's slots.
    pub fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        self.threads.ask(answer)
    }
}

/// The threads of a [`Ready`] as a poller inside another one sees them: the outer one looks at what is found, and decides
/// what of it the loop is told.
///
/// Made anew for each wait: `self.inner.wait(until, &mut Ready::new(&mut Filtered::new(ready, look)))`.
pub struct Filtered<'r, 'a, F> {
    ready: &'r mut Ready<'a>,
    look: F,
}

impl<'r, 'a, F: FnMut(Source, Readiness) -> Readiness> Filtered<'r, 'a, F> {
    /// Calls `look` with what is found on a source. What it returns is what the loop is told of that.
    pub fn new(ready: &'r mut Ready<'a>, look: F) -> Self {
        Self { ready, look }
    }
}

impl<F: FnMut(Source, Readiness) -> Readiness> Waiting for Filtered<'_, '_, F> {
    fn push(&mut self, source: Source, readiness: Readiness) {
        let readiness = (self.look)(source, readiness);
        if !readiness.is_none() {
            self.ready.push(source, readiness);
        }
    }

    // What the inner poller has found ends its wait, whether or not the loop is told.
    fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        let mut is_any_ready = false;
        self.ready.ask(&mut |source, interest| {
            let seen = answer(source, interest).seen_by(interest);
            if seen.is_none() {
                return seen;
            }
            is_any_ready = true;
            (self.look)(source, seen)
        });
        is_any_ready
    }
}
