//! The world outside of a simulated loop.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;

use heapless::Vec;

use super::map::{SourceMap, insert};
use crate::source::{Readiness, Source};
use crate::time::Instant;

/// Virtual time, the readiness of up to `N` sources, and a script of up to `N` changes to come. Where nothing else says
/// which `N`, write `World::<32>::new()`.
///
/// Everything works through a shared reference, so the state of the application may hold one too. Source levels stay
/// until they are cleared, as a pipe stays readable until it has been read. All operations are O(`N`).
pub struct World<const N: usize = 32> {
    now: Cell<Instant>,
    levels: RefCell<SourceMap<Readiness, N>>,
    /// Sorted by moment, the next one last.
    script: RefCell<Vec<Event, N>>,
}

#[derive(Clone, Copy)]
struct Event {
    at: Instant,
    source: Source,
    readiness: Readiness,
}

/// The world holds as many sources, or as many changes to come, as it has room for. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WorldFull;

impl<const N: usize> World<N> {
    /// A world at the start of its clock, in which nothing is ready.
    pub const fn new() -> Self {
        Self::starting_at(Instant::ZERO)
    }

    /// The same with a clock that says `now`.
    pub const fn starting_at(now: Instant) -> Self {
        Self {
            now: Cell::new(now),
            levels: RefCell::new(SourceMap::new()),
            script: RefCell::new(Vec::new()),
        }
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// Lets time pass: what a hook does that takes long. What the script has for the moments passed happens when the
    /// loop next waits.
    pub fn advance(&self, time: Duration) {
        self.now.set(self.now.get().saturating_add(time));
    }

    /// Sets the clock, also back: what no clock should do, and some do.
    pub fn set_now(&self, now: Instant) {
        self.now.set(now);
    }

    /// Makes `source` ready, in addition to what it is.
    ///
    /// # Errors
    /// [`WorldFull`] if `N` other sources have been named before, here or in [`at`](Self::at).
    pub fn set(&self, source: Source, readiness: Readiness) -> Result<(), WorldFull> {
        let Ok(mut levels) = self.levels.try_borrow_mut() else { return Err(WorldFull) };
        let level = levels.get(source).unwrap_or(Readiness::NONE);
        levels.set(source, level | readiness).map_err(|_| WorldFull)
    }

    /// Makes `source` not ready in these respects.
    pub fn clear(&self, source: Source, readiness: Readiness) {
        let Ok(mut levels) = self.levels.try_borrow_mut() else { return };
        if let Some(level) = levels.get(source) {
            let _ = levels.set(source, level.without(readiness));
        }
    }

    /// How `source` is.
    pub fn readiness(&self, source: Source) -> Readiness {
        self.levels
            .try_borrow()
            .ok()
            .and_then(|levels| levels.get(source))
            .unwrap_or(Readiness::NONE)
    }

    /// Makes `source` ready when that moment comes; changes for one moment happen in the order of these calls.
    ///
    /// # Errors
    /// [`WorldFull`] if `N` changes are to come already, or `N` other sources have been named.
    pub fn at(&self, at: Instant, source: Source, readiness: Readiness) -> Result<(), WorldFull> {
        // The source has its place from now on, so that the change can't fail when its moment comes.
        self.set(source, Readiness::NONE)?;
        let Ok(mut script) = self.script.try_borrow_mut() else { return Err(WorldFull) };
        let later = script.partition_point(|event| event.at > at);
        insert(&mut script, later, Event { at, source, readiness }).map_err(|_| WorldFull)
    }

    /// When the script has its next change.
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
        f.write_str("the simulated world has no room for another source or event")
    }
}

impl core::error::Error for WorldFull {}
