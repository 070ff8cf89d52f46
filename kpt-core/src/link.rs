//! What the tables know of a thread that does not depend on the application's types: where it is, what it waits for,
//! and its neighbours in the lists. Lists, timers and the source table work on these alone, so their code exists once.

use crate::id::{Generation, Index, ThreadId};
use crate::source::{Interest, Kind, Readiness, Source};
use crate::time::{Instant, high_word, join_words, low_word};

/// Where a thread is. Every place but the first four is a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    /// Nowhere: the slot has no thread.
    Vacant,
    /// Its hook runs.
    Running,
    /// A reader or writer that the poller watches.
    Watched,
    /// A timer that is not due.
    Timers,
    /// A reader or writer that the poller has not been told of.
    New,
    /// A writer found ready.
    ReadyToWrite,
    /// A reader found ready.
    ReadyToRead,
    /// A timer found due.
    Due,
    /// An execute thread.
    Pending,
}

/// The links of one slot. All zero bytes when vacant, as a static lands in .bss.
///
/// 28 bytes on 64-bit targets and 24 elsewhere: two threads share a cache line, and firmware pays little.
#[derive(Clone, Copy)]
pub struct Link {
    /// What the thread waits for: a timer's deadline (high and low word); a reader's or writer's source and the next
    /// thread in its bucket; an execute thread's turn of adding.
    key: [u32; 2],
    pub(crate) next: Option<Index>,
    pub(crate) previous: Option<Index>,
    /// The head of one bucket of the source table. It is lodged here, and has nothing to do with this slot's thread.
    pub(crate) bucket: Option<Index>,
    pub(crate) generation: Generation,
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    pub(crate) readiness: Readiness,
}

impl Link {
    /// No thread.
    pub const VACANT: Self = Self {
        key: [0; 2],
        next: None,
        previous: None,
        bucket: None,
        generation: Generation::NONE,
        place: Place::Vacant,
        kind: Kind::Read,
        readiness: Readiness::NONE,
    };

    /// When the timer is due.
    pub fn deadline(&self) -> Instant {
        let [high, low] = self.key;
        Instant::from_micros(join_words(high, low))
    }

    /// Makes the timer due at `deadline`. Only while it is in no timer structure.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.key = [high_word(deadline.as_micros()), low_word(deadline.as_micros())];
    }

    pub(crate) fn source(&self) -> Source {
        let [source, _] = self.key;
        Source::new(source)
    }

    pub(crate) fn chain(&self) -> Option<Index> {
        let [_, chain] = self.key;
        Index::from_word(chain)
    }

    pub(crate) fn set_source(&mut self, source: Source) {
        self.key = [source.number(), 0];
    }

    pub(crate) fn set_chain(&mut self, next: Option<Index>) {
        let [_, chain] = &mut self.key;
        *chain = Index::to_word(next);
    }

    pub(crate) fn turn(&self) -> u32 {
        let [turn, _] = self.key;
        turn
    }

    pub(crate) fn set_turn(&mut self, turn: u32) {
        self.key = [turn, 0];
    }

    pub(crate) fn id(&self, index: Index) -> Option<ThreadId> {
        ThreadId::new(index, self.generation)
    }

    /// What the thread wants of its source.
    pub(crate) fn interest(&self) -> Interest {
        match self.kind {
            Kind::Read => Interest::READABLE,
            Kind::Write => Interest::WRITABLE,
            Kind::Timer | Kind::Execute => Interest::NONE,
        }
    }
}

/// The one way to a link. No index that is stored can be out of range; should a bug make one so, a debug build says
/// it and a release build reads a vacant link and writes nothing.
pub(crate) trait Links {
    fn at(&self, index: Index) -> &Link;
    fn edit(&mut self, index: Index, change: impl FnOnce(&mut Link));
}

static VACANT: Link = Link::VACANT;

impl Links for [Link] {
    fn at(&self, index: Index) -> &Link {
        let link = self.get(index.position());
        debug_assert!(link.is_some(), "link {} of {}", index.position(), self.len());
        link.unwrap_or(&VACANT)
    }

    fn edit(&mut self, index: Index, change: impl FnOnce(&mut Link)) {
        let link = self.get_mut(index.position());
        debug_assert!(link.is_some(), "link {} is out of range", index.position());
        if let Some(link) = link {
            change(link);
        }
    }
}
