//! The moves that programs make all the time, each with its link fetched once.
//!
//! Every one means what [`Queues::move_to`] to the same place means, and takes fewer instructions because more is known:
//! from which place, and to which. What is not known for certain takes the long way.

use crate::id::{Index, ThreadId};
use crate::large::link::{Link, Links, Place, at_mut};
use crate::large::queues::Queues;
use crate::large::timers::Timers;
use crate::source::{Kind, Readiness};
use crate::time::Instant;

impl<W: Timers> Queues<W> {
    /// Gives `slot`, the first vacant one, to a timer. It skips the table of sources and all lists: a vacant slot is in none
    /// of them, and a timer only joins the timers. `None` only if there is no such slot.
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

    /// Moves a timer that was found due to those that wait, with another deadline. It skips the table of sources.
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

    /// Gives a timer that is not due another deadline. It skips the table of sources, and the place stays the same.
    #[inline]
    pub(crate) fn reschedule_timer(&mut self, links: &mut [Link], timer: Index, deadline: Instant) {
        self.timers.remove(links, timer);
        links.edit(timer, |link| link.set_deadline(deadline));
        self.timers.insert(links, timer);
    }

    /// Vacates the slot of a timer that is not due. It skips the table of sources, in which a timer is not.
    #[inline]
    pub(crate) fn remove_timer(&mut self, links: &mut [Link], timer: Index) {
        links.edit(timer, |link| link.place = Place::Vacant);
        self.vacant.give_back(links, timer);
        self.timers.remove(links, timer);
    }

    /// Moves an execute thread behind all others that are pending, if it is the first of them, and sets its turn. Returns
    /// whether it was the first. It skips everything but the turn: kind and place stay as they are, and a circle turns without
    /// a change to the links in it.
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

    /// Vacates the slot of a thread that was found due, or is pending. It skips the table of sources, in which neither is.
    #[inline]
    pub(crate) fn remove_called(&mut self, links: &mut [Link], thread: Index, from: Place) {
        if let Some(list) = self.list_mut(from) {
            list.remove(links, thread);
        }
        links.edit(thread, |link| link.place = Place::Vacant);
        self.vacant.give_back(links, thread);
    }

    /// Moves a reader or writer that the poller watches to those found ready. It skips the table of sources, which has
    /// the thread in both places, and the list that it leaves, as those watched have none.
    #[inline]
    pub(crate) fn find_ready(&mut self, links: &mut [Link], thread: Index, to: Place) {
        links.edit(thread, |link| link.place = to);
        if let Some(list) = self.list_mut(to) {
            list.push_back(links, thread);
        }
    }

    /// Moves a reader or writer that was found ready to those that the poller watches. It skips the same.
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
