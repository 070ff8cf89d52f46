//! A poller that records the loop of this OS thread.

use kpt_core::poller::{Filtered, HookCall, Poller, Ready, Unwatchable};
use kpt_core::tape::Entry;
use kpt_core::{Instant, Interest, Kind, Source, ThreadId};

use super::here;

/// A poller around a poller, which puts on the tape of this OS thread what enters the loop: times, what is found in a wait,
/// which hooks are called. Without a recording it does nothing.
///
/// An [`EventLoop`](crate::EventLoop) has one. Put it around the poller of another loop:
///
/// ```
/// use kpt_std::EpollPoller;
/// use kpt_std::kpt_core::FixedLoop;
/// use kpt_std::tape::{Recording, Taped};
///
/// let recording = Recording::start(std::io::sink())?;
/// let mut kpt = FixedLoop::<_, (), 8>::new(Taped::new(EpollPoller::new()?));
/// kpt.run(&mut ())?;
/// recording.stop()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// What the inner poller does itself is not on the tape. So if one is around another one, only the outer one records.
#[derive(Debug)]
pub struct Taped<P> {
    inner: P,
}

impl<P: Poller> Taped<P> {
    /// Creates a poller that records what `inner` returns. The tape can be replayed only if the recording was started
    /// before this call.
    pub fn new(inner: P) -> Self {
        put(&Entry::Starts { look_after_hooks: P::LOOK_AFTER_HOOKS });
        Self { inner }
    }

    /// Returns the poller inside.
    pub fn inner(&self) -> &P {
        &self.inner
    }
}

/// Wraps the poller of an event loop.
pub(crate) fn taped<P: Poller>(inner: P) -> Taped<P> {
    Taped::new(inner)
}

/// Returns the poller that [`taped`] has wrapped.
pub(crate) fn untaped<P: Poller>(poller: &Taped<P>) -> &P {
    poller.inner()
}

fn put(entry: &Entry<'_>) {
    if here::is_recording() {
        here::with_writer(|writer| writer.put(entry));
    }
}

impl<P: Poller> Taped<P> {
    #[cold]
    fn recorded_wait(
        &mut self,
        until: Instant,
        ready: &mut Ready<'_>,
    ) -> Result<Instant, P::Error> {
        let mut found = Filtered::new(ready, |source, readiness| {
            here::with_writer(|writer| writer.put(&Entry::Ready(source, readiness)));
            readiness
        });
        let result = here::unrecorded(|| self.inner.wait(until, &mut Ready::new(&mut found)));
        put(&result.as_ref().map_or(Entry::Failed, |now| Entry::Woke(*now)));
        result
    }

    #[cold]
    fn recorded_now(&mut self) -> Instant {
        let now = here::unrecorded(|| self.inner.now());
        put(&Entry::Now(now));
        now
    }

    #[cold]
    fn recorded_modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        let result = here::unrecorded(|| self.inner.modify(source, interest));
        if result.is_err() {
            put(&Entry::Refused(source));
        }
        result
    }

    #[cold]
    fn recorded_prepare(&mut self, until: Instant) -> Result<Instant, P::Error> {
        let result = here::unrecorded(|| self.inner.prepare(until));
        put(&result.as_ref().map_or(Entry::Failed, |due| Entry::Prepared(*due)));
        result
    }

    // The fields are passed one by one, so that no `HookCall` is built where nothing is recorded.
    #[cold]
    fn recorded_hook(&mut self, id: ThreadId, name: &'static str, kind: Kind, due: Instant) {
        let call = HookCall::new(id, name, kind, due);
        here::unrecorded(|| self.inner.before_hook(call));
        here::with_writer(|writer| writer.hook(&call));
    }
}

impl<P: Poller> Poller for Taped<P> {
    type Error = P::Error;

    const LOOK_AFTER_HOOKS: u32 = P::LOOK_AFTER_HOOKS;

    #[inline]
    fn now(&mut self) -> Instant {
        if here::is_recording() { self.recorded_now() } else { self.inner.now() }
    }

    #[inline]
    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        if here::is_recording() {
            return self.recorded_modify(source, interest);
        }
        self.inner.modify(source, interest)
    }

    #[inline]
    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, P::Error> {
        if here::is_recording() {
            return self.recorded_wait(until, ready);
        }
        self.inner.wait(until, ready)
    }

    #[inline]
    fn prepare(&mut self, until: Instant) -> Result<Instant, P::Error> {
        if here::is_recording() {
            return self.recorded_prepare(until);
        }
        self.inner.prepare(until)
    }

    #[inline]
    fn before_hook(&mut self, call: HookCall) {
        if here::is_recording() {
            return self.recorded_hook(call.id, call.name, call.kind, call.due);
        }
        self.inner.before_hook(call);
    }

    #[inline]
    fn after_hook(&mut self) {
        self.inner.after_hook();
    }
}
