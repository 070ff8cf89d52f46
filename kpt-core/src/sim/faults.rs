//! A poller that does everything that the contract of a poller allows, including what real pollers rarely do.

use heapless::Vec;

use super::map::SourceMap;
use crate::poller::{Filtered, HookCall, Poller, Ready, Unwatchable};
use crate::source::{Interest, Readiness, Source};
use crate::time::Instant;

/// The number of events of one wait that can be held back, repeated or reordered. Further events pass unchanged.
const HELD: usize = 32;

/// The longest time for which the clock stands still, in microseconds.
const TICK: u64 = 1_024;

/// A poller around a poller that injects faults, driven by a seed: it wakes early, returns without events as if it were
/// interrupted, reports sources that are not ready, holds events back until a later wait, repeats and reorders them,
/// and has a clock that may stand still.
///
/// All of that is within the contract of [`Poller`], so an application that works on the inner poller works on this
/// one. Spurious events come on up to 32 sources. Equal seeds and equal calls give equal faults, and an interruption is
/// never returned as an error.
pub struct Faults<P> {
    inner: P,
    random: Random,
    watched: SourceMap<Interest, HELD>,
    /// The time that `now` last returned.
    now: Instant,
    /// The time that the last wait returned.
    time: Instant,
    /// The number of consecutive waits that have missed something.
    misses: u32,
}

type Events = Vec<(Source, Readiness), HELD>;

impl<P> Faults<P> {
    /// Creates a poller that injects the faults of `seed` into `inner`.
    pub const fn new(inner: P, seed: u64) -> Self {
        Self {
            inner,
            random: Random(seed),
            watched: SourceMap::new(),
            now: Instant::ZERO,
            time: Instant::ZERO,
            misses: 0,
        }
    }

    /// Returns the inner poller.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    /// Returns a moment up to a millisecond before `until`.
    fn earlier(&mut self, until: Instant) -> Instant {
        let early = u64::from(self.random.below(1_000));
        Instant::from_micros(until.as_micros().saturating_sub(early))
    }

    fn swap_some(&mut self, events: &mut Events) {
        let Some(last) = events.len().checked_sub(1) else { return };
        for at in 0..last {
            if self.random.one_in(2) {
                let pair = events.get_mut(at..at.saturating_add(2)).unwrap_or_default();
                pair.reverse();
            }
        }
    }

    /// Pushes the events, some of them twice and, if `may_miss`, some not now: the next wait finds again what is still
    /// ready. An error is not missed, since the inner poller may have stopped watching the source. Returns whether an
    /// event was missed.
    fn push_some(&mut self, events: &Events, may_miss: bool, ready: &mut Ready<'_>) -> bool {
        let mut has_missed = false;
        for &(source, readiness) in events {
            if self.random.one_in(8) && may_miss && !readiness.is_error() {
                has_missed = true;
                continue;
            }
            ready.push(source, readiness);
            if self.random.one_in(8) {
                ready.push(source, readiness);
            }
        }
        has_missed
    }

    fn push_spurious(&mut self, ready: &mut Ready<'_>) {
        for (source, interest) in self.watched.iter() {
            if self.random.one_in(32) {
                ready.push(source, (Readiness::READABLE | Readiness::WRITABLE).seen_by(interest));
            }
        }
    }
}

impl<P: Poller> Poller for Faults<P> {
    type Error = P::Error;

    const LOOK_AFTER_HOOKS: u32 = P::LOOK_AFTER_HOOKS;

    fn now(&mut self) -> Instant {
        let mut now = self.inner.now();
        if self.random.one_in(4) {
            // The next tick of a coarse clock, which stands still until then. Rounding down would let delays begin
            // before the call.
            now = Instant::from_micros(
                now.as_micros().checked_next_multiple_of(TICK).unwrap_or(u64::MAX),
            );
        }
        self.now = self.now.max(now);
        self.now
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        if interest.is_none() {
            self.watched.remove(source);
        } else {
            let _ = self.watched.set(source, interest);
        }
        self.inner.modify(source, interest)
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, P::Error> {
        // A wait that need not sleep finds what is ready, and so does the wait after two that have missed something.
        let may_miss = until > self.time && self.misses < 2;
        if self.random.one_in(16) && may_miss {
            self.misses = self.misses.saturating_add(1);
            return Ok(self.time);
        }
        let until = if until != Instant::NEVER && self.random.one_in(4) {
            self.earlier(until)
        } else {
            until
        };
        let mut events = Events::new();
        let mut held = Filtered::new(ready, |source, readiness| {
            if events.push((source, readiness)).is_ok() { Readiness::NONE } else { readiness }
        });
        let result = self.inner.wait(until, &mut Ready::new(&mut held));
        self.swap_some(&mut events);
        let has_missed = self.push_some(&events, may_miss, ready);
        self.misses = if has_missed { self.misses.saturating_add(1) } else { 0 };
        self.push_spurious(ready);
        let now = result?;
        if !self.random.one_in(16) {
            self.time = self.time.max(now);
        }
        Ok(self.time)
    }

    fn prepare(&mut self, until: Instant) -> Result<Instant, Self::Error> {
        self.inner.prepare(until)
    }

    fn before_hook(&mut self, call: HookCall) {
        self.inner.before_hook(call);
    }

    fn after_hook(&mut self) {
        self.inner.after_hook();
    }
}

/// A pseudo-random sequence of numbers: SplitMix64 of Steele, Lea and Flood (OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 32) as u32
    }

    fn below(&mut self, bound: u32) -> u32 {
        (u64::from(self.next()).wrapping_mul(u64::from(bound)) >> 32) as u32
    }

    fn one_in(&mut self, chances: u32) -> bool {
        self.below(chances) == 0
    }
}
