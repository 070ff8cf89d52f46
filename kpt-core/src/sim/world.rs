//! The world outside of a simulated loop.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;

use heapless::Vec;

use super::map::{SourceMap, insert};
use crate::source::{Readiness, Source};
use crate::time::Instant;

/// Virtual time, the readiness of up to `N` sources, and a script of up to `N` future changes. Where the compiler can't
/// infer `N`, write `World::<32>::new()`.
///
/// All methods take a shared reference, so the state of the application may hold one, too. A source stays ready until
/// it is cleared, as a pipe stays readable until it has been read. All operations are O(`N`).
pub struct World<const N: usize = 32> {
    now: Cell<Instant>,
    levels: RefCell<SourceMap<Readiness, N>>,
    /// Sorted by moment, with the next change last.
    script: RefCell<Vec<Event, N>>,
}

#[derive(Clone, Copy)]
struct Event {
    at: Instant,
    source: Source,
    readiness: Readiness,
}

/// The error of a world that has no room for another source, or for another future change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WorldFull;

impl<const N: usize> World<N> {
    /// Creates a world at the start of its clock, in which nothing is ready.
    pub const fn new() -> Self {
        Self::starting_at(Instant::ZERO)
    }

    /// Creates a world whose clock starts at `now`, in which nothing is ready.
    pub const fn starting_at(now: Instant) -> Self {
        Self {
            now: Cell::new(now),
            levels: RefCell::new(SourceMap::new()),
            script: RefCell::new(Vec::new()),
        }
    }

    /// Returns the time.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// Lets `time` pass, as in a hook that takes long. The changes that the script has for the moments that pass take
    /// place when the loop next waits.
    pub fn advance(&self, time: Duration) {
        self.now.set(self.now.get().saturating_add(time));
    }

    /// Sets the clock, possibly back, which clocks should not do and sometimes do.
    pub fn set_now(&self, now: Instant) {
        self.now.set(now);
    }

    /// Makes `source` ready, in addition to its readiness so far.
    ///
    /// # Errors
    /// Returns [`WorldFull`] if `N` other sources have been named before, here or in [`at`](Self::at).
    pub fn set(&self, source: Source, readiness: Readiness) -> Result<(), WorldFull> {
        let Ok(mut levels) = self.levels.try_borrow_mut() else { return Err(WorldFull) };
        let level = levels.get(source).unwrap_or(Readiness::NONE);
        levels.set(source, level | readiness).map_err(|_| WorldFull)
    }

    /// Removes `readiness` from the readiness of `source`.
    pub fn clear(&self, source: Source, readiness: Readiness) {
        let Ok(mut levels) = self.levels.try_borrow_mut() else { return };
        if let Some(level) = levels.get(source) {
            let _ = levels.set(source, level.without(readiness));
        }
    }

    /// Returns the readiness of `source`.
    pub fn readiness(&self, source: Source) -> Readiness {
        self.levels
            .try_borrow()
            .ok()
            .and_then(|levels| levels.get(source))
            .unwrap_or(Readiness::NONE)
    }

    /// Makes `source` ready when the moment `at` comes. Changes at the same moment take place in the order of these
    /// calls.
    ///
    /// # Errors
    /// Returns [`WorldFull`] if there are `N` future changes already, or if `N` other sources have been named before.
    /// In the first case, `source` counts as named nevertheless.
    pub fn at(&self, at: Instant, source: Source, readiness: Readiness) -> Result<(), WorldFull> {
        // Takes a place for the source now, so that the change can't fail when its moment comes.
        self.set(source, Readiness::NONE)?;
        let Ok(mut script) = self.script.try_borrow_mut() else { return Err(WorldFull) };
        let later = script.partition_point(|event| event.at > at);
        insert(&mut script, later, Event { at, source, readiness }).map_err(|_| WorldFull)
    }

    /// Returns the moment of the next change in the script.
    pub(super) fn next_event(&self) -> Option<Instant> {
        self.script.try_borrow().ok()?.last().map(|event| event.at)
    }

    /// Makes the changes whose moment has come.
    pub(super) fn play(&self) {
        while let Some(event) = self.pop_past_event() {
            let _ = self.set(event.source, event.readiness);
        }
    }

    fn pop_past_event(&self) -> Option<Event> {
        let mut script = self.script.try_borrow_mut().ok()?;
        script.last().filter(|event| event.at <= self.now.get())?;
        script.pop()
    }
}

impl<const N: usize> Default for World<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for WorldFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the world has no room for another source or change; give it a larger N")
    }
}

impl core::error::Error for WorldFull {}
