//! A poller on a simulated world.

use core::fmt;

use super::map::SourceMap;
use super::world::World;
use crate::poller::{Poller, Ready, Unwatchable};
use crate::source::{Interest, Source};
use crate::time::Instant;

/// A poller on a [`World`], in virtual time. A wait takes no time when a source is ready, and otherwise jumps to the
/// next deadline or to the next change in the world's script.
///
/// The poller finds sources in the order of their numbers. It watches up to `N` of them; threads of further sources run
/// with [`ERROR`](crate::Readiness::ERROR).
pub struct SimPoller<'w, const N: usize = 32> {
    world: &'w World<N>,
    watched: SourceMap<Interest, N>,
}

/// The error of a simulation in which nothing can happen any more: there is no deadline, no source is ready, and the
/// script is at its end. A real poller would wait for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Idle;

impl<'w, const N: usize> SimPoller<'w, N> {
    /// Creates a poller that watches nothing yet.
    pub const fn new(world: &'w World<N>) -> Self {
        Self { world, watched: SourceMap::new() }
    }

    fn push_ready(&self, ready: &mut Ready<'_>) -> bool {
        let mut has_found = false;
        for (source, interest) in self.watched.iter() {
            let readiness = self.world.readiness(source).seen_by(interest);
            if !readiness.is_none() {
                ready.push(source, readiness);
                has_found = true;
            }
        }
        has_found
    }
}

impl<const N: usize> Poller for SimPoller<'_, N> {
    type Error = Idle;

    fn now(&mut self) -> Instant {
        self.world.now()
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        if interest.is_none() {
            self.watched.remove(source);
            return Ok(());
        }
        self.watched.set(source, interest).map_err(|_| Unwatchable)
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, Idle> {
        loop {
            self.world.play();
            let now = self.world.now();
            if self.push_ready(ready) || until <= now {
                return Ok(now);
            }
            let next_event = self.world.next_event().filter(|&at| at > now);
            let next = next_event.map_or(until, |event| event.min(until));
            if next == Instant::NEVER {
                return Err(Idle);
            }
            self.world.set_now(next);
        }
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "nothing can happen any more: no deadline, no ready source, no change in the script; \
             end the simulation with a timer that calls stop",
        )
    }
}

impl core::error::Error for Idle {}
