//! The interface of a loop to its platform: a clock, and a wait for sources.

use core::fmt;

use crate::id::ThreadId;
use crate::source::{Interest, Kind, Readiness, Source};
use crate::time::Instant;

/// A clock, and a wait for sources. Nothing else in this crate reads a clock or sleeps.
///
/// A poller finds ready sources in one of two ways. It keeps the set of sources that [`modify`](Self::modify)
/// describes, waits for that set, and [`push`](Ready::push)es what it finds there, as a poller on epoll does. Or it
/// keeps no set and [`ask`](Ready::ask)s in each wait which threads wait for what, as
/// [`LinePoller`](crate::board::LinePoller) does; its `modify` then does nothing. Every poller works with both loops.
///
/// The repository has one test suite for all pollers (`contract` in `tests/`). Run it on your own poller.
pub trait Poller {
    /// The error of a wait as a whole. An error of one source is that source's [`ERROR`](Readiness::ERROR).
    type Error;

    /// The number of hooks between two waits while execute threads are pending: turns skip their wait until at least
    /// this many hooks have run since the last wait, or until 250 µs have passed. Use 1 where a wait is cheap, so that
    /// every turn waits, and more where a wait that finds nothing costs as much as many hooks. 0 means 1.
    const LOOK_AFTER_HOOKS: u32 = 1;

    /// Returns the time, rounded **up** to a whole microsecond (or to the next tick of a coarser clock).
    ///
    /// - MUST count from the same start as the moments that `wait` takes and returns.
    /// - MUST be monotonic as far as the platform allows. The loop treats a clock that goes back as one that stands
    ///   still.
    fn now(&mut self) -> Instant;

    /// Watches `source` for `interest` from now on, in place of the previous interest. [`Interest::NONE`] ends the
    /// watch.
    ///
    /// A large loop calls this when the combined interest of a source's threads has changed: before the next wait for
    /// threads that were added, at once for threads that have ended. A small loop calls it for each source before each
    /// wait, and with `NONE` after the wait.
    ///
    /// - MUST accept any call for any source: one that is watched already (its number may refer to another file by
    ///   now), one that is unknown, one that has been closed. MUST return `Ok` to `NONE` for all of them.
    /// - MUST NOT panic when `interest` is `NONE`: the loop would not repeat the call.
    /// - MUST have ended the watch when a call with `NONE` returns: the source may be closed right after.
    ///
    /// # Errors
    /// Returns [`Unwatchable`] if the poller can't watch this source for this interest; it then does not watch the
    /// source at all. The source's threads run with [`ERROR`](Readiness::ERROR); those of several such sources run in
    /// any order. A poller may instead return `Ok` and report `ERROR` from `wait`.
    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable>;

    /// Waits until a source is ready or `until` has come ([`Instant::NEVER`] never does), pushes what is ready, and
    /// returns the time, rounded **down** to a whole microsecond (or tick), so that no timer runs early.
    ///
    /// - MUST return at once when `until` has passed, but look at the sources nevertheless, and report those that are
    ///   ready.
    /// - MUST look at the sources at the returned moment or later, so that an event before a deadline is served before
    ///   the timer of that deadline. Where this is not possible exactly, MUST do so within a millisecond, also if the
    ///   process was suspended in between.
    /// - MUST report readiness while it lasts (level-triggered), and hang-up and error to any interest.
    /// - MUST round its timeout up, and MUST NOT treat a signal as an error. `until` is a moment, so a wait that is cut
    ///   short and started again, by the poller or by the loop, ends no later.
    /// - MAY occasionally return before `until` without events, whether or not a source is ready. The next wait or the
    ///   one after that finds the ready source.
    /// - MAY return a time that is earlier than that of the last look, if `until` has not come: a poller need not read
    ///   its clock when a source has ended the wait.
    /// - MAY push a source more than once, and one that is not watched or not ready.
    /// - MAY stop watching a source for which it pushes `ERROR`. The loop calls `modify` again when a thread waits for
    ///   that source again.
    ///
    /// # Errors
    /// Returns an error if the poller can't wait at all. All registrations remain, and the next call tries again. After
    /// an error or a panic of the poller, the loop ends the watches that it no longer wants.
    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, Self::Error>;

    /// Prepares a wait that the loop's host does in place of this poller. `poll` of a loop calls this before it returns
    /// [`Next::Wait`](crate::Next::Wait), when all changes have been told and nothing is ready. Returns the moment at
    /// which the host calls `poll` at the latest: `until`, or one before it at which the poller has work of its own.
    ///
    /// A poller with a descriptor for its host has it become readable at that moment. By default, this returns `until`.
    ///
    /// - A poller around another one MUST forward this method.
    ///
    /// # Errors
    /// Returns an error if the poller can't wait at all, as `wait` does.
    #[inline(always)]
    fn prepare(&mut self, until: Instant) -> Result<Instant, Self::Error> {
        Ok(until)
    }

    /// Notes that a hook is about to be called. Meters, watchdogs and recorders, which are pollers around a poller, use
    /// this. By default it does nothing, and leaves nothing in the program.
    ///
    /// - MUST NOT panic: the argument would be dropped while its source is watched, and no `after_hook` would follow.
    /// - A poller around another one MUST forward this method and [`after_hook`](Self::after_hook).
    #[inline(always)]
    fn before_hook(&mut self, call: HookCall) {
        let _ = call;
    }

    /// Notes that a hook has returned or panicked. Called once after each [`before_hook`](Self::before_hook), when the
    /// hook has re-armed or dropped its thread.
    ///
    /// - MUST NOT panic: after a panic of the hook, the program would abort.
    #[inline(always)]
    fn after_hook(&mut self) {}
}

/// A call of a hook, passed to [`Poller::before_hook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct HookCall {
    /// The id of the thread.
    pub id: ThreadId,
    /// The name that the thread was added with.
    pub name: &'static str,
    /// The kind of event that the thread waited for.
    pub kind: Kind,
    /// The moment since which the hook could have run: a timer's deadline; for other kinds, the time that the last
    /// wait has returned.
    pub due: Instant,
}

impl HookCall {
    /// Creates one, for a poller that passes on calls of its own.
    pub const fn new(id: ThreadId, name: &'static str, kind: Kind, due: Instant) -> Self {
        Self { id, name, kind, due }
    }
}

/// The error of a poller that can't watch a source: there is no such source, it is of a kind that can't be watched, or
/// the poller has no room for it.
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

/// The threads behind a [`Ready`]: those of a loop, or those of a test.
pub trait Waiting {
    /// Notes that `readiness` was found on `source`. The findings on one source add up.
    fn push(&mut self, source: Source, readiness: Readiness);

    /// Calls `answer` with the source and the interest of each thread that waits for a source, and notes the readiness
    /// that it returns. Returns whether any thread is ready.
    fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool;
}

impl<'a> Ready<'a> {
    /// Creates a view of these threads.
    pub fn new(threads: &'a mut (dyn Waiting + 'a)) -> Self {
        Self { threads }
    }

    /// Notes that `readiness` was found on `source`. The findings on one source add up.
    pub fn push(&mut self, source: Source, readiness: Readiness) {
        self.threads.push(source, readiness);
    }

    /// Calls `answer` with the source and the interest of each thread that waits for a source, in the order of the
    /// loop's slots. `answer` returns what it finds: [`Readiness::NONE`] if the source is not ready, and
    /// [`ERROR`](Readiness::ERROR) if the poller knows no such source. Returns whether any thread is ready.
    pub fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        self.threads.ask(answer)
    }
}

/// The threads of a [`Ready`], as a poller inside another one sees them. The outer poller looks at what the inner one
/// finds, and decides what the loop receives.
///
/// Created anew for each wait: `self.inner.wait(until, &mut Ready::new(&mut Filtered::new(ready, look)))`.
pub struct Filtered<'r, 'a, F> {
    ready: &'r mut Ready<'a>,
    look: F,
}

impl<'r, 'a, F: FnMut(Source, Readiness) -> Readiness> Filtered<'r, 'a, F> {
    /// Creates a filter that calls `look` with each source and what was found on it. The loop receives what `look`
    /// returns.
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

    // What the inner poller finds ends its wait, even if the loop does not receive it.
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
