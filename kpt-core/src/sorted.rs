//! The timer structure for a handful of threads: one sorted list, four bytes and a clock.

use crate::id::Index;
use crate::link::{Link, Links};
use crate::list::List;
use crate::time::Instant;
use crate::timers::{LAST, Timers};

/// Timers in one sorted list. `insert` walks from the far end and is O(n); everything else is O(1).
///
/// For up to some tens of timers it is smaller and faster than a [`Wheel`](crate::Wheel).
pub struct SortedList {
    position: Instant,
    list: List,
}

impl SortedList {
    /// No timers, at the start of the clock.
    pub const fn new() -> Self {
        Self { position: Instant::ZERO, list: List::EMPTY }
    }
}

impl Default for SortedList {
    fn default() -> Self {
        Self::new()
    }
}

impl Timers for SortedList {
    fn insert(&mut self, links: &mut [Link], timer: Index) {
        let deadline = links.at(timer).deadline().max(self.position);
        let mut next = None;
        let mut before = self.list.last(links);
        while let Some(index) = before.filter(|&index| links.at(index).deadline() > deadline) {
            next = before;
            before = if self.list.first() == before { None } else { links.at(index).previous };
        }
        self.list.insert(links, next, timer);
    }

    fn remove(&mut self, links: &mut [Link], timer: Index) {
        self.list.remove(links, timer);
    }

    fn next_deadline(&self, links: &[Link]) -> Option<Instant> {
        let deadline = links.at(self.list.first()?).deadline();
        if deadline <= self.position {
            // If the clock has gone back, nobody should wait for it to get there again.
            return Some(Instant::ZERO);
        }
        Some(deadline).filter(|&deadline| deadline != Instant::NEVER)
    }

    fn advance(&mut self, _links: &mut [Link], now: Instant) {
        self.position = self.position.max(now.min(LAST));
    }

    fn pop(&mut self, links: &mut [Link]) -> Option<Index> {
        let first = self.list.first()?;
        if links.at(first).deadline() > self.position {
            return None;
        }
        self.list.pop_front(links)
    }

    fn verify(&self, links: &[Link]) -> Result<usize, &'static str> {
        if !cfg!(debug_assertions) {
            return Ok(0);
        }
        let mut last = Instant::ZERO;
        for index in self.list.iter(links) {
            let deadline = links.at(index).deadline().max(self.position);
            if deadline < last {
                return Err("the sorted list is not sorted");
            }
            last = deadline;
        }
        self.list.verify(links)
    }
}
