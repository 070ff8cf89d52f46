//! Pollers around others that count, and one that finds everything ready.

use std::cell::{Cell, RefCell};

use kpt_core::{
    Instant, Interest, Readiness, Source,
    poller::{HookCall, Poller, Ready, Unwatchable},
};

/// How often the poller inside was called.
#[derive(Debug, Default)]
pub struct Calls {
    /// `wait`.
    pub waits: Cell<u32>,
    /// `modify`.
    pub changes: Cell<u32>,
}

/// Counts the calls of a poller. `LOOK` is its `LOOK_AFTER_HOOKS`.
pub struct Counting<'c, P, const LOOK: u32 = 1> {
    inner: P,
    calls: &'c Calls,
}

impl<'c, P, const LOOK: u32> Counting<'c, P, LOOK> {
    /// Counts into `calls`.
    pub fn new(inner: P, calls: &'c Calls) -> Self {
        Self { inner, calls }
    }
}

impl<P: Poller, const LOOK: u32> Poller for Counting<'_, P, LOOK> {
    type Error = P::Error;

    const LOOK_AFTER_HOOKS: u32 = LOOK;

    fn now(&mut self) -> Instant {
        self.inner.now()
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        self.calls.changes.set(self.calls.changes.get() + 1);
        self.inner.modify(source, interest)
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, P::Error> {
        self.calls.waits.set(self.calls.waits.get() + 1);
        self.inner.wait(until, ready)
    }

    fn prepare(&mut self, until: Instant) -> Result<Instant, P::Error> {
        self.inner.prepare(until)
    }

    fn before_hook(&mut self, call: HookCall) {
        self.inner.before_hook(call);
    }

    fn after_hook(&mut self) {
        self.inner.after_hook();
    }
}

/// A poller whose sources 0 to `sources` are always ready for everything, and whose clock goes one step with each wait.
#[derive(Debug, Default)]
pub struct AllReady {
    /// How many sources each wait finds.
    pub sources: u32,
    time: u64,
}

impl AllReady {
    /// Finds that many sources in each wait.
    pub fn new(sources: u32) -> Self {
        Self { sources, time: 0 }
    }
}

impl Poller for AllReady {
    type Error = core::convert::Infallible;

    fn now(&mut self) -> Instant {
        Instant::from_micros(self.time)
    }

    fn modify(&mut self, _: Source, _: Interest) -> Result<(), Unwatchable> {
        Ok(())
    }

    fn wait(&mut self, _: Instant, ready: &mut Ready<'_>) -> Result<Instant, Self::Error> {
        for number in 0..self.sources {
            ready.push(Source::new(number), Readiness::READABLE | Readiness::WRITABLE);
        }
        self.time += 1;
        Ok(Instant::from_micros(self.time))
    }
}

/// What a [`Scripted`] poller does, and what it was told.
#[derive(Debug, Default)]
pub struct Script {
    /// All calls of `modify`, in order.
    pub changes: RefCell<Vec<(u32, Interest)>>,
    /// What the next wait finds, watched or not.
    pub ready: RefCell<Vec<(u32, Readiness)>>,
    /// Sources that can't be watched.
    pub refused: RefCell<Vec<u32>>,
    /// The next wait fails.
    pub fails: Cell<bool>,
    /// Whether the next call about a source panics.
    pub panics: Cell<bool>,
    /// The next call about this source panics.
    pub panics_at: Cell<Option<Source>>,
    /// The poller has been dropped.
    pub is_gone: Cell<bool>,
}

impl Script {
    /// What it was told since this was called last.
    pub fn take_changes(&self) -> Vec<(u32, Interest)> {
        self.changes.take()
    }

    /// What it was told to watch that source for; nothing any more if it has been dropped.
    pub fn interest(&self, source: u32) -> Interest {
        if self.is_gone.get() {
            return Interest::NONE;
        }
        let changes = self.changes.borrow();
        let last = changes.iter().rev().find(|&&(other, _)| other == source);
        last.map_or(Interest::NONE, |&(_, interest)| interest)
    }
}

/// A poller that does what its script says. Its clock goes one step with each wait.
pub struct Scripted<'s> {
    script: &'s Script,
    time: u64,
}

impl<'s> Scripted<'s> {
    /// Does what `script` says.
    pub fn new(script: &'s Script) -> Self {
        Self { script, time: 0 }
    }
}

impl Drop for Scripted<'_> {
    fn drop(&mut self) {
        self.script.is_gone.set(true);
    }
}

/// The wait has failed, as the script says.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed;

impl Poller for Scripted<'_> {
    type Error = Failed;

    fn now(&mut self) -> Instant {
        Instant::from_micros(self.time)
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        let panics_at = &self.script.panics_at;
        let is_meant = panics_at.get() == Some(source) && panics_at.take().is_some();
        assert!(!is_meant && !self.script.panics.take(), "as the script says");
        self.script.changes.borrow_mut().push((source.number(), interest));
        let is_refused = self.script.refused.borrow().contains(&source.number());
        if is_refused && !interest.is_none() { Err(Unwatchable) } else { Ok(()) }
    }

    fn wait(&mut self, _: Instant, ready: &mut Ready<'_>) -> Result<Instant, Failed> {
        for (number, readiness) in self.script.ready.take() {
            ready.push(Source::new(number), readiness);
        }
        self.time += 1;
        if self.script.fails.take() { Err(Failed) } else { Ok(Instant::from_micros(self.time)) }
    }
}
