//! The fixed part of a loop: which lists there are, what was found, and a few numbers.

use crate::error::Exit;
use crate::id::Index;
use crate::link::{Link, Links, Place};
use crate::list::List;
use crate::slots::Slots;
use crate::source::{Kind, Readiness, Source};
use crate::sources;
use crate::time::Instant;

/// The fixed part of a loop: the heads of its lists and a few numbers. All zero bytes when new.
pub(crate) struct Head {
    pub(crate) slots: Slots,
    /// Readers and writers that the poller has not been told of, or not all.
    pub(crate) changes: List,
    pub(crate) ready_to_write: List,
    pub(crate) ready_to_read: List,
    pub(crate) due: List,
    pub(crate) pending: List,
    /// The thread whose hook runs, or ran when it panicked.
    pub(crate) running: Option<Index>,
    pub(crate) turn: u32,
    /// Hooks that were called since the poller was last asked.
    pub(crate) hooks_since_wait: u32,
    /// How many times something was found on a source without threads.
    pub(crate) strays: u32,
    /// The latest that the clock said, rounded up: where a delay begins.
    pub(crate) read_at: Instant,
    /// The latest that a wait returned, rounded down: which deadlines have passed.
    pub(crate) waited_until: Instant,
    pub(crate) is_stopping: bool,
}

impl Head {
    pub(crate) const NEW: Self = Self {
        slots: Slots::NEW,
        changes: List::EMPTY,
        ready_to_write: List::EMPTY,
        ready_to_read: List::EMPTY,
        due: List::EMPTY,
        pending: List::EMPTY,
        running: None,
        turn: 0,
        hooks_since_wait: 0,
        strays: 0,
        read_at: Instant::ZERO,
        waited_until: Instant::ZERO,
        is_stopping: false,
    };

    #[inline]
    fn list_mut(&mut self, place: Place) -> Option<&mut List> {
        match place {
            Place::Vacant | Place::Watched | Place::GivenUp | Place::Timers => None,
            Place::New | Place::Changed => Some(&mut self.changes),
            Place::ReadyToWrite => Some(&mut self.ready_to_write),
            Place::ReadyToRead => Some(&mut self.ready_to_read),
            Place::Due => Some(&mut self.due),
            Place::Pending => Some(&mut self.pending),
        }
    }

    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn enlist(&mut self, links: &mut [Link], index: Index, place: Place) {
        links.edit(index, |link| link.place = place);
        if let Some(list) = self.list_mut(place) {
            list.push_back(links, index);
        }
    }

    /// Takes the thread out of the list it is in, if any.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn delist(&mut self, links: &mut [Link], index: Index) {
        if let Some(list) = self.list_mut(links.at(index).place) {
            list.remove(links, index);
        }
    }

    /// The poller found something. Only threads that it watches get to know: not one that was added since.
    pub(crate) fn found(&mut self, links: &mut [Link], source: Source, readiness: Readiness) {
        let has_writer = self.found_for(links, source, Kind::Write, readiness);
        let has_reader = self.found_for(links, source, Kind::Read, readiness);
        if !has_writer && !has_reader {
            self.strays = self.strays.saturating_add(1);
        }
    }

    /// The same for the source's thread of that kind. Whether there is one.
    fn found_for(
        &mut self,
        links: &mut [Link],
        source: Source,
        kind: Kind,
        readiness: Readiness,
    ) -> bool {
        let Some(index) = sources::find(links, source, kind) else { return false };
        let ready = if kind == Kind::Write { Place::ReadyToWrite } else { Place::ReadyToRead };
        let mut was_watched = false;
        links.edit(index, |link| {
            let seen = readiness.seen_by(link.interest());
            if !seen.is_none() && (link.place == Place::Watched || link.place == ready) {
                link.readiness = link.readiness | seen;
                was_watched = link.place == Place::Watched;
            }
        });
        if was_watched {
            self.enlist(links, index, ready);
        }
        true
    }

    pub(crate) fn set_stopping(&mut self, is_stopping: bool) {
        self.is_stopping = is_stopping;
    }

    /// Whether the loop should return.
    pub(crate) fn is_over(&self) -> bool {
        self.is_stopping || self.slots.used() == 0
    }

    /// Why the loop should return, if it should; `stop` is forgotten by that.
    pub(crate) fn exit(&mut self) -> Option<Exit> {
        if core::mem::take(&mut self.is_stopping) {
            return Some(Exit::Stopped);
        }
        (self.slots.used() == 0).then_some(Exit::Empty)
    }

    /// From here on, execute threads that are added belong to the next turn.
    pub(crate) fn begin_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// The next thread of those found ready or due: writers, readers, timers.
    pub(crate) fn next_found(&self) -> Option<Index> {
        let found = self.ready_to_write.first().or(self.ready_to_read.first());
        found.or(self.due.first()).filter(|_| !self.is_stopping)
    }

    /// The next execute thread that was there when the turn began.
    #[inline]
    pub(crate) fn next_pending(&self, links: &[Link]) -> Option<Index> {
        let first = self.pending.first()?;
        if self.is_stopping || links.at(first).turn() == self.turn {
            return None;
        }
        Some(first)
    }

    /// The thread runs now.
    #[inline]
    pub(crate) fn begin_hook(&mut self, index: Index) {
        self.running = Some(index);
        self.hooks_since_wait = self.hooks_since_wait.saturating_add(1);
    }

    /// Whether the turn can end without asking the poller.
    pub(crate) fn can_skip_wait(&self, look_every: u32) -> bool {
        !self.pending.is_empty() && self.hooks_since_wait < look_every
    }

    #[inline]
    pub(crate) fn is_running(&self, index: Index) -> bool {
        self.running == Some(index)
    }
}
