//! A poller around another one that also drives the channels to tasks and to the parent.

use kpt_core::{
    Instant, Interest, Readiness, Source,
    poller::{Filtered, HookCall, Poller, Ready, Unwatchable},
};

use super::ends::{self, SharedEnds};
use crate::clock;

/// A poller that behaves as `P`, and drives tasks: its `wait` sends queued messages, receives others, carries out the
/// steps to end tasks, and reaps tasks that have ended.
///
/// Each task is a source, [`TaskHandle::source`](super::TaskHandle::source), and so is the [`Parent`](super::Parent) in
/// a task. It is readable when there is an event to receive, and writable when a message of any allowed length fits
/// into the queue. Tasks don't keep a loop running; only threads do.
///
/// `P` must keep a set of the sources passed to [`modify`](Poller::modify), as `EpollPoller` does. A poller that asks
/// which threads wait does not learn of the tasks' descriptors.
///
/// Without tasks, a wait costs as much as that of `P`. Each task that has ended, or has bytes to read or to write, adds
/// a system call. A wait writes at most what the socket accepts and reads at most 64 KiB for each task, so that no task
/// keeps the others waiting.
pub struct Tasks<P> {
    inner: P,
    ends: SharedEnds,
}

impl<P> Tasks<P> {
    /// Creates a poller around `inner`, without tasks.
    pub fn new(inner: P) -> Self {
        Self::of(inner, ends::shared())
    }

    /// Creates a poller around `inner` that drives these channels.
    pub(super) fn of(inner: P, ends: SharedEnds) -> Self {
        Self { inner, ends }
    }

    /// Returns the poller inside.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    pub(super) fn ends(&self) -> &SharedEnds {
        &self.ends
    }
}

impl<P: std::fmt::Debug> std::fmt::Debug for Tasks<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tasks").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<P: Default> Default for Tasks<P> {
    fn default() -> Self {
        Self::new(P::default())
    }
}

impl<P: Poller> Tasks<P> {
    /// Sends what is queued, and tells the inner poller what to watch. Returns the moment at which a channel has to be
    /// looked at again, on the inner poller's clock.
    fn before_wait(&mut self) -> Option<Instant> {
        let Self { inner, ends } = self;
        let due = ends
            .borrow_mut()
            .before_wait(&mut |source, interest| inner.modify(source, interest))?;
        Some(if due == Instant::ZERO { due } else { on_clock_of(inner, due) })
    }

    /// `wait` where there are channels.
    #[inline(never)]
    fn wait_with_channels(
        &mut self,
        until: Instant,
        ready: &mut Ready<'_>,
    ) -> Result<Instant, P::Error> {
        loop {
            let soonest = self.before_wait().map_or(until, |due| due.min(until));
            let Self { inner, ends } = self;
            let mut ends = ends.borrow_mut();
            let (mut is_ours, mut is_theirs) = (false, false);
            let mut theirs = Filtered::new(ready, |source, readiness| {
                if ends.found(source, readiness) {
                    is_ours = true;
                    return Readiness::NONE;
                }
                is_theirs = true;
                readiness
            });
            let now = inner.wait(soonest, &mut Ready::new(&mut theirs))?;
            let is_due = soonest <= now;
            let has_news =
                ends.after_wait(ready, &mut |source, interest| inner.modify(source, interest));
            drop(ends);
            ends::log_errors(&self.ends);
            let is_late = until <= now;
            // Events that have only moved bytes, or taken a step to end a task, don't end the wait.
            if is_theirs || has_news || is_late || !(is_ours || is_due) {
                return Ok(now);
            }
        }
    }
}

impl<P: Poller> Poller for Tasks<P> {
    type Error = P::Error;

    const LOOK_AFTER_HOOKS: u32 = P::LOOK_AFTER_HOOKS;

    fn now(&mut self) -> Instant {
        self.inner.now()
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        if ends::is_channel(source) {
            return self.ends.borrow_mut().set_interest(source, interest);
        }
        if self.ends.borrow().owns(source) {
            // A thread has not noticed that its descriptor was closed, and the number is a channel's by now.
            return if interest.is_none() { Ok(()) } else { Err(Unwatchable) };
        }
        self.inner.modify(source, interest)
    }

    #[inline]
    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, P::Error> {
        if self.ends.borrow().is_idle() {
            return self.inner.wait(until, ready);
        }
        self.wait_with_channels(until, ready)
    }

    fn prepare(&mut self, until: Instant) -> Result<Instant, P::Error> {
        let soonest = self.before_wait().map_or(until, |due| due.min(until));
        self.inner.prepare(soonest)
    }

    fn before_hook(&mut self, call: HookCall) {
        self.inner.before_hook(call);
    }

    fn after_hook(&mut self) {
        self.inner.after_hook();
    }
}

/// Converts a time of the monotonic clock to one of the poller's clock, which may start at any time.
fn on_clock_of(poller: &mut impl Poller, time: Instant) -> Instant {
    poller.now() + clock::remaining(time)
}

impl<P> Drop for Tasks<P> {
    fn drop(&mut self) {
        self.ends.borrow_mut().forget_poller();
    }
}
