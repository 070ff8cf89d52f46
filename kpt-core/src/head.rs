//! The fixed part of a loop: which lists there are, what was found, and a few numbers.

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

    #[inline]
    pub(crate) fn enlist(&mut self, links: &mut [Link], index: Index, place: Place) {
        links.edit(index, |link| link.place = place);
        if let Some(list) = self.list_mut(place) {
            list.push_back(links, index);
        }
    }

    /// Takes the thread out of the list it is in, if any.
    #[inline]
    pub(crate) fn delist(&mut self, links: &mut [Link], index: Index) {
        if let Some(list) = self.list_mut(links.at(index).place) {
            list.remove(links, index);
        }
    }

    /// The poller found something. Only threads that it watches get to know: not one that was added since.
    pub(crate) fn found(&mut self, links: &mut [Link], source: Source, readiness: Readiness) {
        let mut is_known = false;
        for (kind, ready) in [(Kind::Write, Place::ReadyToWrite), (Kind::Read, Place::ReadyToRead)]
        {
            let Some(index) = sources::find(links, source, kind) else { continue };
            is_known = true;
            let seen = readiness.seen_by(links.at(index).interest());
            let place = links.at(index).place;
            if seen.is_none() || (place != Place::Watched && place != ready) {
                continue;
            }
            links.edit(index, |link| link.readiness = link.readiness | seen);
            if place == Place::Watched {
                self.enlist(links, index, ready);
            }
        }
        if !is_known {
            self.strays = self.strays.saturating_add(1);
        }
    }

    /// The poller is asked now: the count of hooks begins anew.
    pub(crate) fn has_asked(&mut self) {
        self.hooks_since_wait = 0;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    pub(crate) fn set_stopping(&mut self, is_stopping: bool) {
        self.is_stopping = is_stopping;
    }

    #[inline]
    pub(crate) fn is_running(&self, index: Index) -> bool {
        self.running == Some(index)
    }
}
