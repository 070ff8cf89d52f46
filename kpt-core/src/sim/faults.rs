//! A poller that does everything that the contract of a poller allows, including what real pollers rarely do.

use heapless::Vec;

use super::choices::{Choices, Seed, Site};
use super::map::SourceMap;
use crate::poller::{Filtered, HookCall, Poller, Ready, Unwatchable};
use crate::source::{Interest, Readiness, Source};
use crate::time::Instant;

/// The number of events of one wait that can be held back, repeated or reordered. Further events pass unchanged.
const HELD: usize = 32;

/// The longest time for which the clock stands still, in microseconds.
const TICK: u64 = 1_024;

/// The largest number of waits in a row that hold something back: an event, the moment that was waited for, or the time.
const MISSES: u32 = 2;

/// How much too early each way of `wait` ends, in microseconds. An interrupted wait does not begin.
const EARLY: [u64; 6] = [0, 0, 1, 20, 300, 999];

/// A poller around a poller that injects faults: it wakes early, returns without events as if it were interrupted,
/// reports sources that are not ready, holds events back until a later wait, repeats and reorders them, and has a clock
/// that may stand still.
///
/// All of that is within the contract of [`Poller`], whatever is decided, so an application that works on the inner
/// poller works on this one. Spurious events come on up to 32 sources. Equal decisions and equal calls give equal
/// faults, and an interruption is never returned as an error.
///
/// A [`Seed`] decides by chance, or any other [`Choices`] does. These are the sites; `who` is the number of the source, or 0:
///
/// | site | about | ways, the usual one first |
/// |---|---|---|
/// | `clock` | 0 | `exact`, `coarse` |
/// | `wait` | 0 | `whole`, `interrupted`, `1-us-early`, `20-us-early`, `300-us-early`, `999-us-early` |
/// | `event` | source | `once`, `twice`, `missed` |
/// | `order` | source | `kept`, `swapped` with the next event |
/// | `nothing` | source | `unseen`, `seen`: an event that has not occurred |
/// | `time` | 0 | `goes-on`, `stands` |
///
/// ```
/// use kpt_core::sim::{Faults, Listed, SimPoller, World};
/// use kpt_core::{Exit, FixedLoop, Readiness, Source};
///
/// let world = World::<32>::new();
/// world.set(Source::new(5), Readiness::READABLE)?;
/// let poller = Faults::with(SimPoller::new(&world), Listed::new("event/5#0=missed")?);
/// let mut kpt = FixedLoop::<_, u32, 4>::new(poller);
/// kpt.threads().add_read("reader", Source::new(5), |reads, _| *reads += 1, ())?;
/// let mut reads = 0;
/// assert_eq!(kpt.run(&mut reads)?, Exit::Empty); // The second wait has found it.
/// assert_eq!(reads, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Faults<P, C = Seed> {
    inner: P,
    choices: C,
    watched: SourceMap<Interest, HELD>,
    /// The time that `now` last returned.
    now: Instant,
    /// The time that the last wait returned.
    time: Instant,
    /// The number of consecutive waits that have held something back.
    misses: u32,
}

type Events = Vec<(Source, Readiness), HELD>;

impl<P> Faults<P> {
    /// Creates a poller that injects the faults of `seed` into `inner`.
    pub const fn new(inner: P, seed: u64) -> Self {
        Self::with(inner, Seed::new(seed))
    }
}

impl<P, C> Faults<P, C> {
    /// Creates a poller that injects the faults that `choices` decides on into `inner`.
    pub const fn with(inner: P, choices: C) -> Self {
        Self {
            inner,
            choices,
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
}

impl<P, C: Choices> Faults<P, C> {
    /// Decides about the loop as a whole.
    fn choose(&mut self, name: &'static str, one_in: u32, ways: &'static [&'static str]) -> usize {
        self.choices.decide(Site::new(name, 0, one_in), ways)
    }

    /// Decides how the wait goes: [`EARLY`] has what the index means.
    fn choose_wait(&mut self, until: Instant) -> usize {
        const WAYS: [&str; 6] =
            ["whole", "interrupted", "1-us-early", "20-us-early", "300-us-early", "999-us-early"];
        if until == Instant::NEVER {
            self.choose("wait", 16, &["whole", "interrupted"])
        } else {
            self.choose("wait", 4, &WAYS)
        }
    }

    fn swap_some(&mut self, events: &mut Events) {
        let Some(last) = events.len().checked_sub(1) else { return };
        for at in 0..last {
            let Some(&(source, _)) = events.get(at) else { return };
            let site = Site::new("order", source.number(), 2);
            if self.choices.decide(site, &["kept", "swapped"]) == 1 {
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
            let ways: &[&str] = if may_miss && !readiness.is_error() {
                &["once", "twice", "missed"]
            } else {
                &["once", "twice"]
            };
            let way = self.choices.decide(Site::new("event", source.number(), 4), ways);
            if way == 2 && ways.len() == 3 {
                has_missed = true;
                continue;
            }
            ready.push(source, readiness);
            if way == 1 {
                ready.push(source, readiness);
            }
        }
        has_missed
    }

    fn push_spurious(&mut self, ready: &mut Ready<'_>) {
        let Self { watched, choices, .. } = self;
        for (source, interest) in watched.iter() {
            let site = Site::new("nothing", source.number(), 32);
            if choices.decide(site, &["unseen", "seen"]) == 1 {
                ready.push(source, (Readiness::READABLE | Readiness::WRITABLE).seen_by(interest));
            }
        }
    }

    /// Advances the time to that which the inner wait has returned, unless it stands still. Returns whether it does.
    fn advance(&mut self, now: Instant, until: Instant, may_miss: bool) -> bool {
        // Time that stands before `until` makes the wait an early one, so that it holds back the moment, too.
        let may_stand =
            if now < until || until <= self.time { self.misses < MISSES } else { may_miss };
        let stands = may_stand && self.choose("time", 16, &["goes-on", "stands"]) == 1;
        if !stands {
            self.time = self.time.max(now);
        }
        stands
    }
}

impl<P: Poller, C: Choices> Poller for Faults<P, C> {
    type Error = P::Error;

    const LOOK_AFTER_HOOKS: u32 = P::LOOK_AFTER_HOOKS;

    fn now(&mut self) -> Instant {
        let mut now = self.inner.now();
        if self.choose("clock", 4, &["exact", "coarse"]) == 1 {
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
        // A wait that need not sleep finds what is ready, and so does the wait after two that have held something back.
        let may_miss = until > self.time && self.misses < MISSES;
        let way = if may_miss { self.choose_wait(until) } else { 0 };
        if way == 1 {
            self.misses = self.misses.saturating_add(1);
            return Ok(self.time);
        }
        let early = EARLY.get(way).copied().unwrap_or(0);
        let earlier = Instant::from_micros(until.as_micros().saturating_sub(early));
        let mut events = Events::new();
        let mut held = Filtered::new(ready, |source, readiness| {
            if events.push((source, readiness)).is_ok() { Readiness::NONE } else { readiness }
        });
        let result = self.inner.wait(earlier, &mut Ready::new(&mut held));
        self.swap_some(&mut events);
        let has_missed = self.push_some(&events, may_miss, ready);
        self.push_spurious(ready);
        let now = result?;
        let stands = self.advance(now, until, may_miss);
        let is_early = way != 0 && events.is_empty();
        let has_missed = has_missed || stands || is_early;
        self.misses = if has_missed { self.misses.saturating_add(1) } else { 0 };
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
