//! What a poller finds: how readiness gets to the threads of a source, and to no others.

use crate::id::Index;
use crate::large::head::Head;
use crate::large::link::{Link, Links, Place, at_mut};
use crate::large::queues::Queues;
use crate::large::timers::Timers;
use crate::poller::Waiting;
use crate::source::{Interest, Kind, Readiness, Source};

/// The tables without the poller, which borrows them while it waits.
pub(crate) struct Found<'w, W> {
    pub(crate) head: &'w mut Head,
    pub(crate) queues: &'w mut Queues<W>,
    pub(crate) links: &'w mut [Link],
}

impl<W: Timers> Found<'_, W> {
    /// Notes what was found for one thread. Returns whether it wants to know.
    fn note(&mut self, thread: Index, readiness: Readiness) -> bool {
        let Some(link) = at_mut(self.links, thread) else { return false };
        let seen = readiness.seen_by(link.kind.interest());
        if seen.is_none() {
            return false;
        }
        link.readiness = link.readiness | seen;
        let is_writer = link.kind == Kind::Write;
        let ready = if is_writer { Place::ReadyToWrite } else { Place::ReadyToRead };
        match link.place {
            Place::ReadyToWrite | Place::ReadyToRead => {}
            Place::Watched => self.queues.find_ready(self.links, thread, ready),
            // The poller could not be told of it.
            _ => self.queues.move_to(self.links, thread, ready),
        }
        true
    }
}

impl<W: Timers> Waiting for Found<'_, W> {
    fn push(&mut self, source: Source, readiness: Readiness) {
        let mut at = None;
        while let Some(thread) = self.queues.next_of(self.links, source, at) {
            at = Some(thread);
            self.note(thread, readiness);
        }
        if at.is_none() {
            self.head.strays = self.head.strays.saturating_add(1);
        }
    }

    fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        let mut is_any_ready = false;
        for thread in (0..self.links.len()).filter_map(Index::new) {
            let link = self.links.at(thread);
            if link.place.has_source() {
                let readiness = answer(link.source(), link.kind.interest());
                is_any_ready |= self.note(thread, readiness);
            }
        }
        is_any_ready
    }
}
