//! Queues for few threads: a list for each place, which is gone through at each step. Little code, and little memory.

use crate::id::Index;
use crate::link::{Link, Links, Place};
use crate::queues::{LAST, Queues};
use crate::source::Source;
use crate::time::{Instant, later};

/// Queues of singly linked lists, for up to some tens of threads: smaller than [`LargeQueues`](crate::LargeQueues).
///
/// Finding the first thread of a place is O(1); moving one is O(threads in the two places), and adding one, or finding
/// those of a source, O(capacity).
pub struct SmallQueues {
    position: Instant,
    firsts: [Option<Index>; Place::LISTED.len()],
}

impl SmallQueues {
    /// At the start of the clock.
    pub const fn new() -> Self {
        Self { position: Instant::ZERO, firsts: [None; Place::LISTED.len()] }
    }

    /// Takes a thread out of its place's list, if that has one.
    fn leave(&mut self, links: &mut [Link], thread: Index) {
        let Link { place, next, .. } = *links.at(thread);
        let Some(first) = self.firsts.get_mut(place.list()) else { return };
        if *first == Some(thread) {
            *first = next;
            return;
        }
        let mut before = *first;
        while let Some(index) = before {
            before = links.at(index).next;
            if before == Some(thread) {
                return links.edit(index, |link| link.next = next);
            }
        }
    }

    /// Puts a thread into a place's list, if that has one: behind all others, or as its deadline says.
    fn join(&mut self, links: &mut [Link], thread: Index, place: Place) {
        let Some(first) = self.firsts.get_mut(place.list()) else { return };
        let deadline = later(links.at(thread).deadline(), self.position);
        let (mut before, mut next) = (None, *first);
        while let Some(index) = next {
            if place == Place::Timers && links.at(index).deadline() > deadline {
                break;
            }
            before = next;
            next = links.at(index).next;
        }
        links.edit(thread, |link| link.next = next);
        match before {
            Some(before) => links.edit(before, |link| link.next = Some(thread)),
            None => *first = Some(thread),
        }
    }
}

impl Default for SmallQueues {
    fn default() -> Self {
        Self::new()
    }
}

impl Queues for SmallQueues {
    fn move_to(&mut self, links: &mut [Link], thread: Index, to: Place) {
        self.leave(links, thread);
        links.edit(thread, |link| link.place = to);
        self.join(links, thread, to);
    }

    fn first(&self, links: &[Link], place: Place) -> Option<Index> {
        match self.firsts.get(place.list()) {
            Some(first) => *first,
            None => Index::new(links.iter().position(|link| link.place == place)?),
        }
    }

    fn next_of(&self, links: &[Link], source: Source, after: Option<Index>) -> Option<Index> {
        // An index as a word is its position + 1: the one behind it.
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
        for place in Place::LISTED {
            let (mut count, mut last) = (0_usize, Instant::ZERO);
            let mut at = self.first(links, place);
            while let Some(index) = at {
                count = count.saturating_add(1);
                let link = links.at(index);
                if link.place != place || count > links.len() {
                    return Err("a list has a thread of another place, or does not end");
                }
                let deadline = later(link.deadline(), self.position);
                if place == Place::Timers && deadline < last {
                    return Err("the timers are not in order");
                }
                last = deadline;
                at = link.next;
            }
            if count != links.iter().filter(|link| link.place == place).count() {
                return Err("a list does not have all threads of its place");
            }
        }
        Ok(())
    }
}
