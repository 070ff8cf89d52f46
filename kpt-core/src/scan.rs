//! Queues for few threads: nothing but the threads themselves, which are gone through at each step.
//!
//! Each thread has a rank in its place, which is how many are before it. So there is nothing to get out of step, and
//! all of it is a few hundred bytes of code.

use crate::id::Index;
use crate::link::{Link, Links, Place};
use crate::queues::{LAST, Queues};
use crate::source::Source;
use crate::time::{Instant, later};

/// Queues without lists: every operation goes through all slots, O(capacity). For up to some tens of threads it is
/// smaller than [`Linked`](crate::Linked), and as fast.
pub struct Scan {
    position: Instant,
}

impl Scan {
    /// At the start of the clock.
    pub const fn new() -> Self {
        Self { position: Instant::ZERO }
    }
}

impl Default for Scan {
    fn default() -> Self {
        Self::new()
    }
}

impl Queues for Scan {
    fn move_to(&mut self, links: &mut [Link], thread: Index, to: Place) {
        let (from, old_rank) = (links.at(thread).place, links.at(thread).rank());
        for behind in links.iter_mut().filter(|link| link.place == from && link.rank() > old_rank) {
            behind.set_rank(behind.rank().wrapping_sub(1));
        }
        let deadline = later(links.at(thread).deadline(), self.position);
        // In its own place, it would count itself.
        let mut rank = 0_u32.wrapping_sub((from == to).into());
        for other in links.iter_mut().filter(|link| link.place == to) {
            if to == Place::Timers && other.deadline() > deadline {
                other.set_rank(other.rank().wrapping_add(1));
            } else {
                rank = rank.wrapping_add(1);
            }
        }
        links.edit(thread, |link| {
            link.place = to;
            link.set_rank(rank);
        });
    }

    fn first(&self, links: &[Link], place: Place) -> Option<Index> {
        let first = links.iter().position(|link| link.place == place && link.rank() == 0)?;
        Index::new(first)
    }

    fn next_of(&self, links: &[Link], source: Source, after: Option<Index>) -> Option<Index> {
        let from = Index::to_word(after) as usize;
        let rest = links.get(from..).unwrap_or_default();
        let found = rest.iter().position(|link| link.is_of(source))?;
        Index::new(from.wrapping_add(found))
    }

    fn position(&self) -> Instant {
        self.position
    }

    fn next_deadline(&self, links: &[Link]) -> Instant {
        let Some(first) = self.first(links, Place::Timers) else { return Instant::NEVER };
        let deadline = links.at(first).deadline();
        // If the clock has gone back, nobody should wait for it to get to the position again.
        if deadline <= self.position { Instant::ZERO } else { deadline }
    }

    fn advance(&mut self, links: &mut [Link], now: Instant) {
        self.position = later(self.position, now.min(LAST));
        while let Some(first) = self.first(links, Place::Timers)
            && links.at(first).deadline() <= self.position
        {
            self.move_to(links, first, Place::Due);
        }
    }

    fn verify(&self, links: &[Link]) -> Result<(), &'static str> {
        if !cfg!(debug_assertions) {
            return Ok(());
        }
        for link in links.iter().filter(|link| link.place != Place::Vacant) {
            let is_before = |other: &&Link| other.place == link.place && other.rank() < link.rank();
            if links.iter().filter(is_before).count() != link.rank() as usize {
                return Err("a rank is not the number of threads before");
            }
            let due = |link: &Link| link.deadline().max(self.position);
            if link.place == Place::Timers
                && links.iter().filter(is_before).any(|other| due(other) > due(link))
            {
                return Err("the timers are not in order");
            }
        }
        Ok(())
    }
}
