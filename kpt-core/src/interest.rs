//! What the poller is told of the threads' interest: removals at once, all else once before the wait.

use crate::link::{Links, Place};
use crate::poller::Unwatchable;
use crate::source::{Interest, Kind, Readiness, Source};
use crate::sources;
use crate::tables::Tables;

impl Tables<'_> {
    /// Asks the poller to watch a source for all that its threads want.
    fn tell(&mut self, source: Source) -> Result<(), Unwatchable> {
        let interest = self.told(source, Kind::Read) | self.told(source, Kind::Write);
        self.host.modify(source, interest)
    }

    /// Marks the source's thread of that kind as watched. Returns what it wants.
    fn told(&mut self, source: Source, kind: Kind) -> Interest {
        let Some(index) = sources::find(self.links, source, kind) else { return Interest::NONE };
        if matches!(self.links.at(index).place, Place::New | Place::Changed) {
            self.head.delist(self.links, index);
            self.links.edit(index, |link| link.place = Place::Watched);
        }
        self.links.at(index).interest()
    }

    /// A thread of the source has gone. If the poller can't watch the source for the other one, that one is told
    /// with the next changes, and so it is when it runs just now and is re-armed.
    pub(crate) fn tell_removal(&mut self, source: Source) {
        if self.tell(source).is_err() {
            self.refused(source, Kind::Read);
            self.refused(source, Kind::Write);
        }
    }

    /// The poller has let go of the source's thread of that kind.
    fn refused(&mut self, source: Source, kind: Kind) {
        let Some(index) = sources::find(self.links, source, kind) else { return };
        if self.links.at(index).place == Place::Watched {
            self.head.enlist(self.links, index, Place::Changed);
        } else {
            self.links.edit(index, |link| link.readiness = link.readiness | Readiness::ERROR);
        }
    }

    /// Tells the poller of everything new. The threads of a source that it can't watch are ready with an error.
    pub(crate) fn tell_changes(&mut self) {
        while let Some(index) = self.head.changes.first() {
            let source = self.links.at(index).source();
            if self.tell(source).is_err() {
                self.head.found(self.links, source, Readiness::ERROR);
            }
        }
    }
}
