//! A poller around another one that also drives the channels to tasks and to the parent.

use kpt_core::{
    Instant, Interest, Readiness, Source,
    poller::{Filtered, HookCall, Poller, Ready, Unwatchable},
};

use super::peers::{self, SharedPeers};
use super::spawner::Spawner;
use crate::clock;

/// A poller that does what `P` does, and drives tasks: inside its `wait`, queued messages go out, others come in, tasks
/// that shall end are ended, and those that have are reaped.
///
/// Each task is one source, [`TaskHandle::source`](super::TaskHandle::source), and so is the
/// [`Parent`](super::Parent) in a task. Such a source is readable when there is something to receive, and writable when a
/// message of any allowed length finds room. Tasks don't keep a loop alive; only threads do.
///
/// `P` keeps a set of what [`modify`](Poller::modify) has told it, as `SelectPoller` does. One that asks which threads wait
/// for what would not hear of the tasks' descriptors.
///
/// While there is no task, a wait costs what it costs `P`. Each task that has something to read, to write, or has ended
/// takes one call for it, and what is written is at most what the socket takes, what is read at most 64 KiB: no task keeps
/// the others waiting.
pub struct Tasks<P> {
    inner: P,
    peers: SharedPeers,
}

impl<P> Tasks<P> {
    /// Around `inner`, with no tasks.
    pub fn new(inner: P) -> Self {
        Self { inner, peers: peers::shared() }
    }

    /// Starts tasks that this poller drives. May be cloned, and given to the application's state.
    pub fn spawner(&self) -> Spawner {
        Spawner::of(self.peers.clone())
    }

    /// Returns the poller inside.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    pub(super) fn peers(&self) -> &SharedPeers {
        &self.peers
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
    /// Sends what is queued, and has the inner poller told what to watch. Returns the moment at which a channel has to be
    /// looked at again, on the inner poller's clock.
    fn before_wait(&mut self) -> Option<Instant> {
        let Self { inner, peers } = self;
        let due = peers
            .borrow_mut()
            .before_wait(&mut |source, interest| inner.modify(source, interest))?;
        Some(if due == Instant::ZERO { due } else { here(inner, due) })
    }

    /// `wait` where there are channels.
    #[inline(never)]
    fn wait_with_peers(
        &mut self,
        until: Instant,
        ready: &mut Ready<'_>,
    ) -> Result<Instant, P::Error> {
        loop {
            let soonest = self.before_wait().map_or(until, |due| due.min(until));
            let Self { inner, peers } = self;
            let mut peers = peers.borrow_mut();
            let (mut is_ours, mut is_theirs) = (false, false);
            let mut theirs = Filtered::new(ready, |source, readiness| {
                if peers.found(source, readiness) {
                    is_ours = true;
                    return Readiness::NONE;
                }
                is_theirs = true;
                readiness
            });
            let now = inner.wait(soonest, &mut Ready::new(&mut theirs))?;
            let is_due = soonest <= now;
            let has_news =
                peers.after_wait(ready, &mut |source, interest| inner.modify(source, interest));
            let is_late = until <= now;
            // What only moved bytes, or a task further, is nobody's business.
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
        if peers::is_channel(source) {
            return self.peers.borrow_mut().set_interest(source, interest);
        }
        self.inner.modify(source, interest)
    }

    #[inline]
    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, P::Error> {
        if self.peers.borrow().is_empty() {
            return self.inner.wait(until, ready);
        }
        self.wait_with_peers(until, ready)
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

/// A time of the monotonic clock on the poller's own, which may begin at any time.
fn here(poller: &mut impl Poller, time: Instant) -> Instant {
    poller.now() + clock::remaining(time)
}

impl<P> Drop for Tasks<P> {
    fn drop(&mut self) {
        self.peers.borrow_mut().forget_poller();
    }
}
