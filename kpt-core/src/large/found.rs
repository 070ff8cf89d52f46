//! What a poller finds: how readiness gets to the threads of a source, and to no others.

use crate::id::Index;
use crate::large::head::Head;
use crate::large::link::{Link, Place, at_mut};
use crate::large::queues::Queues;
use crate::large::sources;
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
    /// Moves a thread that wants to know what was found to those that are ready.
    #[inline]
    fn make_ready(&mut self, thread: Index, from: Place, kind: Kind) {
        let is_writer = kind == Kind::Write;
        let to = if is_writer { Place::ReadyToWrite } else { Place::ReadyToRead };
        if from == Place::Watched {
            self.queues.find_ready(self.links, thread, to);
        } else if !from.is_ready() {
            self.make_untold_ready(thread, to);
        }
    }

    /// Does the same for a thread of which the poller has not been told, or that it can't watch.
    #[inline(never)]
    fn make_untold_ready(&mut self, thread: Index, to: Place) {
        self.queues.move_to(self.links, thread, to);
    }
}

impl<W: Timers> Waiting for Found<'_, W> {
    fn push(&mut self, source: Source, readiness: Readiness) {
        // A source has one thread of each kind. When all that the readiness concerns are told, the rest of the chain
        // belongs to other sources.
        let (mut is_stray, mut to_tell) = (true, readiness.concerns());
        let mut at = sources::first_in_chain(self.links, source);
        while let Some(thread) = at {
            let Some(link) = at_mut(self.links, thread) else { return };
            at = link.chain();
            if link.source() != source {
                continue;
            }
            is_stray = false;
            let (place, kind) = (link.place, link.kind);
            if link.note(readiness) {
                self.make_ready(thread, place, kind);
            }
            to_tell = to_tell.without(kind.interest());
            if to_tell.is_none() {
                return;
            }
        }
        if is_stray {
            self.head.strays = self.head.strays.saturating_add(1);
        }
    }

    fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        let mut is_any_ready = false;
        for thread in (0..self.queues.slots_used()).filter_map(Index::new) {
            let Some(link) = at_mut(self.links, thread) else { break };
            let (place, kind) = (link.place, link.kind);
            if place.has_source() && link.note(answer(link.source(), kind.interest())) {
                self.make_ready(thread, place, kind);
                is_any_ready = true;
            }
        }
        is_any_ready
    }
}
