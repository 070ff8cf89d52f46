//! The simulator's poller, with pushes that are not so, sources that it can't watch, and failures to order; `Faults`
//! around it in some cases; and around both, notes of what the loop asks for.

use std::panic::resume_unwind;

use kpt_core::sim::{Faults, SimPoller};
use kpt_core::{
    Instant, Interest, Readiness, Source,
    poller::{Filtered, HookCall, Poller, Ready, Unwatchable},
};

use crate::event::{Event, Failed, Sources};
use crate::outside::Outside;
use crate::stage::Panic;

/// Notes what the loop asks for. `LOOK` is its `LOOK_AFTER_HOOKS`.
pub struct Noting<'o, const LOOK: u32> {
    inner: Inner<'o>,
    outside: &'o Outside,
}

#[allow(clippy::large_enum_variant)] // One for each loop.
enum Inner<'o> {
    Plain(Scripted<'o>),
    Faulty(Faults<Scripted<'o>>),
}

impl<'o, const LOOK: u32> Noting<'o, LOOK> {
    pub fn new(outside: &'o Outside) -> Self {
        let scripted = Scripted { inner: SimPoller::new(&outside.world), outside };
        let inner = match outside.case.faults {
            Some(seed) => Inner::Faulty(Faults::new(scripted, seed)),
            None => Inner::Plain(scripted),
        };
        Self { inner, outside }
    }

    fn panic_as_told(&self) {
        if self.outside.panics.take() {
            resume_unwind(Box::new(Panic));
        }
    }
}

impl<const LOOK: u32> Poller for Noting<'_, LOOK> {
    type Error = Failed;
    const LOOK_AFTER_HOOKS: u32 = LOOK;

    fn now(&mut self) -> Instant {
        self.panic_as_told();
        let now = match &mut self.inner {
            Inner::Plain(inner) => inner.now(),
            Inner::Faulty(inner) => inner.now(),
        };
        self.outside.note(Event::Read(now));
        now
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        match &mut self.inner {
            Inner::Plain(inner) => inner.modify(source, interest),
            Inner::Faulty(inner) => inner.modify(source, interest),
        }
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, Failed> {
        self.panic_as_told();
        self.outside.check_wait();
        self.outside.note(Event::Waits { until, watched: self.outside.watched.get() });
        let result = match &mut self.inner {
            Inner::Plain(inner) => inner.wait(until, ready),
            Inner::Faulty(inner) => inner.wait(until, ready),
        };
        self.outside.note(Event::Waited(result));
        result
    }

    fn before_hook(&mut self, call: HookCall) {
        self.outside.note(Event::Before(call.name, call.kind, call.due));
    }

    fn after_hook(&mut self) {
        self.outside.note(Event::After);
    }
}

/// Does what the script says.
struct Scripted<'o> {
    inner: SimPoller<'o>,
    outside: &'o Outside,
}

impl Drop for Scripted<'_> {
    fn drop(&mut self) {
        self.outside.watched.take();
    }
}

impl Scripted<'_> {
    fn watch(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        let of_source = |interest| Sources::of(source.number(), interest);
        let others = self.outside.watched.get().without(of_source(Interest::BOTH));
        self.outside.watched.set(others.and(of_source(interest)));
        self.inner.modify(source, interest)
    }

    /// Pushes what is not so. Whether that was anything.
    fn push_scripted(&self, ready: &mut Ready<'_>) -> bool {
        let pushed = self.outside.pushed.take();
        for &(source, readiness) in &pushed {
            ready.push(Source::new(source), readiness);
        }
        let Some((source, readiness)) = self.outside.asked.take() else {
            return !pushed.is_empty();
        };
        if self.outside.case.faults.is_some() {
            // Two threads' answers come in the order of slots, and faults are by the order of what is found.
            ready.push(Source::new(source), readiness);
            return true;
        }
        let mut asked = Sources::default();
        let is_ready = ready.ask(&mut |other, interest| {
            asked = asked.and(Sources::of(other.number(), interest));
            if other.number() == source { readiness } else { Readiness::NONE }
        });
        self.outside.note(Event::Asked(asked, is_ready));
        true
    }
}

impl Poller for Scripted<'_> {
    type Error = Failed;

    fn now(&mut self) -> Instant {
        self.inner.now()
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        self.outside.told.set(self.outside.told.get() + 1);
        let asked = Sources::of(source.number(), interest);
        if !asked.common(self.outside.refused()).is_empty() {
            self.watch(source, Interest::NONE)?;
            return Err(Unwatchable);
        }
        self.watch(source, interest)
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, Failed> {
        let mut broken = Vec::new();
        let mut found = Filtered::new(ready, |source, readiness: Readiness| {
            if readiness.is_error() {
                broken.push(source);
            }
            readiness
        });
        let ready = &mut Ready::new(&mut found);
        let until = if self.push_scripted(ready) { Instant::ZERO } else { until };
        let result = if self.outside.fails.take() {
            Err(Failed::Broken)
        } else {
            self.inner.wait(until, ready).map_err(|_| Failed::Idle)
        };
        for source in broken.into_iter().filter(|_| self.outside.case.lets_go) {
            self.watch(source, Interest::NONE).expect("NONE is never refused");
        }
        result
    }
}
