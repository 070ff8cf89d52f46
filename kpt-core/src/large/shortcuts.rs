//! Faster versions of the most frequent moves. Each fetches its link once.
//!
//! Each has the effect of [`Queues::move_to`] with the same place, and takes fewer instructions since the old and the
//! new place are known. Callers use the general version where they are not.

use crate::id::{Index, ThreadId};
use crate::large::link::{Link, Links, Place, at_mut};
use crate::large::queues::Queues;
use crate::large::timers::Timers;
use crate::source::{Kind, Readiness};
use crate::time::Instant;

impl<W: Timers> Queues<W> {
    /// Gives `slot`, the first vacant one, to a timer. Skips the table of sources and all lists: a vacant slot is in
    /// none of them, and a timer joins only the timers. Returns `None` if there is no such slot.
    #[inline]
    pub(crate) fn add_timer(
        &mut self,
        links: &mut [Link],
        slot: Index,
        deadline: u64,
    ) -> Option<ThreadId> {
        self.vacant.take(links);
        let link = at_mut(links, slot)?;
        link.count_tenant();
        link.wait_for(Kind::Timer, deadline);
        link.place = Place::Timers;
        let id = link.id(slot);
        self.timers.insert(links, slot);
        Some(id)
    }

    /// Makes a timer that was found due wait again, with another deadline. Skips the table of sources.
    #[inline]
    pub(crate) fn rearm_timer(&mut self, links: &mut [Link], timer: Index, deadline: Instant) {
        if let Some(due) = self.list_mut(Place::Due) {
            due.remove(links, timer);
        }
        links.edit(timer, |link| {
            link.set_deadline(deadline);
            link.place = Place::Timers;
        });
        self.timers.insert(links, timer);
    }

    /// Sets another deadline for a timer that is not due. Skips the table of sources, and keeps the place.
    #[inline]
    pub(crate) fn reschedule_timer(&mut self, links: &mut [Link], timer: Index, deadline: Instant) {
        self.timers.remove(links, timer);
        links.edit(timer, |link| link.set_deadline(deadline));
        self.timers.insert(links, timer);
    }

    /// Vacates the slot of a timer that is not due. Skips the table of sources, which has no timers.
    #[inline]
    pub(crate) fn remove_timer(&mut self, links: &mut [Link], timer: Index) {
        links.edit(timer, |link| link.place = Place::Vacant);
        self.vacant.give_back(links, timer);
        self.timers.remove(links, timer);
    }

    /// Moves an execute thread to the end of the pending ones, if it is the first of them, and sets its turn. Returns
    /// whether it was the first. Skips everything else: kind and place stay the same, and a circle turns without a
    /// change to its links.
    #[inline]
    pub(crate) fn rotate_pending(&mut self, links: &mut [Link], thread: Index, turn: u32) -> bool {
        let Some(pending) = self.list_mut(Place::Pending) else { return false };
        let is_first = pending.first() == Some(thread);
        if is_first && let Some(link) = at_mut(links, thread) {
            link.set_turn(turn);
            pending.rotate(link.next);
        }
        is_first
    }

    /// Vacates the slot of a thread that was found due, or is pending. Skips the table of sources, which has neither.
    #[inline]
    pub(crate) fn remove_called(&mut self, links: &mut [Link], thread: Index, from: Place) {
        if let Some(list) = self.list_mut(from) {
            list.remove(links, thread);
        }
        links.edit(thread, |link| link.place = Place::Vacant);
        self.vacant.give_back(links, thread);
    }

    /// Moves a watched reader or writer to the ready ones. Skips the table of sources, which has the thread in both
    /// places, and has no list to remove it from, since watched threads have none.
    #[inline]
    pub(crate) fn find_ready(&mut self, links: &mut [Link], thread: Index, to: Place) {
        links.edit(thread, |link| link.place = to);
        if let Some(list) = self.list_mut(to) {
            list.push_back(links, thread);
        }
    }

    /// Moves a ready reader or writer back to the watched ones. Skips the table of sources in the same way.
    #[inline]
    pub(crate) fn watch_again(&mut self, links: &mut [Link], thread: Index, from: Place) {
        if let Some(list) = self.list_mut(from) {
            list.remove(links, thread);
        }
        links.edit(thread, |link| {
            link.place = Place::Watched;
            link.readiness = Readiness::NONE;
        });
    }
}
