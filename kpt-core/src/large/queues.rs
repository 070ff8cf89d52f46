//! The threads by the event they wait for, in order: lists through their links, a hash table of sources, and a timer
//! structure.
//!
//! Every slot is in one [`Place`]. The threads of a place are in the order in which they came there; those in
//! [`Place::Timers`] are ordered by deadline, and equal deadlines by arrival.

use crate::id::Index;
use crate::large::link::{Link, Links, Place};
use crate::large::list::List;
use crate::large::sources;
use crate::large::timers::Timers;
use crate::large::vacant::Vacant;
use crate::source::Source;
use crate::time::Instant;

/// Queues with the timer structure `W`. All operations are O(1) on average; those on timers cost what `W` costs.
pub(crate) struct Queues<W> {
    pub(super) vacant: Vacant,
    lists: [List; Place::LISTED.len()],
    pub(super) timers: W,
}

impl<W> Queues<W> {
    /// Creates empty queues around `timers`.
    pub(crate) const fn with_timers(timers: W) -> Self {
        Self { vacant: Vacant::ALL, lists: [List::EMPTY; Place::LISTED.len()], timers }
    }

    /// Returns the list of a place. Indexed by the place's number, so that it does not branch on the place.
    #[inline]
    pub(super) fn list_mut(&mut self, place: Place) -> Option<&mut List> {
        self.lists.get_mut((place as usize).wrapping_sub(Place::FIRST_LISTED))
    }

    #[inline]
    pub(super) fn list(&self, place: Place) -> List {
        let list = self.lists.get((place as usize).wrapping_sub(Place::FIRST_LISTED));
        list.copied().unwrap_or(List::EMPTY)
    }

    /// Returns how many slots, counted from the first, have ever had a thread. The memory of later slots is not
    /// touched.
    pub(crate) fn slots_used(&self) -> usize {
        self.vacant.slots_used()
    }
}

impl<W: Timers> Queues<W> {
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    fn leave(&mut self, links: &mut [Link], thread: Index, from: Place) {
        match from {
            Place::Vacant => self.vacant.take(links),
            Place::Timers => self.timers.remove(links, thread),
            _ => {
                if let Some(list) = self.list_mut(from) {
                    list.remove(links, thread);
                }
            }
        }
    }

    #[cfg_attr(target_pointer_width = "64", inline(always))]
    fn join(&mut self, links: &mut [Link], thread: Index, to: Place) {
        match to {
            Place::Vacant => self.vacant.give_back(links, thread),
            Place::Timers => self.timers.insert(links, thread),
            _ => {
                if let Some(list) = self.list_mut(to) {
                    list.push_back(links, thread);
                }
            }
        }
    }
}

impl<W: Timers> Queues<W> {
    /// Moves a thread to the end of a place, or to its position among the timers. Its deadline or source MUST NOT
    /// change while the thread is in a place that uses it.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    pub(crate) fn move_to(&mut self, links: &mut [Link], thread: Index, to: Place) {
        let link = links.at(thread);
        let (from, source) = (link.place, link.source());
        if from.has_source() && !to.has_source() {
            sources::remove(links, source, thread);
        }
        self.leave(links, thread, from);
        links.edit(thread, |link| link.place = to);
        self.join(links, thread, to);
        if to.has_source() && !from.has_source() {
            sources::insert(links, source, thread);
        }
    }

    /// Returns the first thread in `place`, which MUST NOT be `Retired`, `GivenUp` or `Watched`. Vacant slots are in
    /// any order.
    #[inline]
    pub(crate) fn first(&self, links: &[Link], place: Place) -> Option<Index> {
        match place {
            Place::Vacant => self.vacant.first(links),
            _ => self.list(place).first(),
        }
    }

    /// Returns the timers that were found due, in order.
    pub(crate) fn due(&self, links: &[Link]) -> impl Iterator<Item = Index> {
        self.list(Place::Due).iter(links)
    }

    /// Returns the thread of a source that follows `after`, or the first one if `after` is `None`. The order is not
    /// defined.
    pub(crate) fn next_of(
        &self,
        links: &[Link],
        source: Source,
        after: Option<Index>,
    ) -> Option<Index> {
        sources::next_of(links, source, after)
    }

    /// Returns the latest moment that was passed to `advance`, 0 at the start.
    pub(crate) fn position(&self) -> Instant {
        self.timers.position()
    }

    /// Returns the time at which to call `advance` next: the nearest deadline, or an earlier moment at which the
    /// structure has work to do; [`Instant::NEVER`] if no deadline can be reached.
    pub(crate) fn next_deadline(&self, links: &[Link]) -> Instant {
        self.timers.next_deadline(links)
    }

    /// Moves the position to `now`, if that is later, and all timers that are due then to [`Place::Due`], in order. A
    /// timer at [`Instant::NEVER`] is never due.
    pub(crate) fn advance(&mut self, links: &mut [Link], now: Instant) {
        self.timers.advance(links, now);
        let first = self.timers.take_due(links);
        if first.is_none() {
            return;
        }
        let due = List::of_circle(first);
        if let Some(list) = self.list_mut(Place::Due) {
            list.append(links, due);
        }
    }

    /// Checks all queues, and returns the condition that does not hold. Without debug assertions, nothing is checked.
    pub(crate) fn verify(&self, links: &[Link]) -> Result<(), &'static str> {
        if !cfg!(debug_assertions) {
            return Ok(());
        }
        for place in Place::LISTED {
            let list = self.list(place);
            if list.iter(links).any(|index| links.at(index).place != place) {
                return Err("a list has a thread of another place");
            }
            if list.verify(links)? != count(links, |link| link.place == place) {
                return Err("a list does not have all threads of its place");
            }
        }
        if self.timers.verify(links)? != count(links, |link| link.place == Place::Timers) {
            return Err("the timers are not those of the timer structure");
        }
        if sources::verify(links)? != count(links, |link| link.place.has_source()) {
            return Err("a reader or writer is in no source's chain");
        }
        self.verify_vacant(links)
    }
}

impl<W> Queues<W> {
    fn verify_vacant(&self, links: &[Link]) -> Result<(), &'static str> {
        let freed = self.vacant.verify(links, |slot| links.at(slot).place == Place::Vacant)?;
        let unused = links.get(self.slots_used()..).unwrap_or_default();
        let vacant = count(unused, |link| link.place == Place::Vacant).saturating_add(freed);
        if vacant == count(links, |link| link.place == Place::Vacant) {
            Ok(())
        } else {
            Err("slots are missing")
        }
    }
}

fn count(links: &[Link], is_meant: impl Fn(&Link) -> bool) -> usize {
    links.iter().filter(|link| is_meant(link)).count()
}
