//! What the tables know of a thread that does not depend on the application's types: where it is, what it waits for,
//! and its neighbours in the lists. Lists, timers and the source table work on these alone, so their code exists once.

use crate::id::{Generation, GenerationHigh, Index, ThreadId};
use crate::source::{Kind, Readiness, Source};
use crate::time::{Instant, Wide};

/// Where a slot is, and with it its thread. The thread whose hook runs stays where it was found until it is re-armed or
/// released.
///
/// In this order: places from `Due` to `ReadyToRead` have a list, and threads in places from `Untold` on a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Place {
    /// The slot has no thread.
    Vacant,
    /// The slot has no thread, and will never have one again: its generation is spent.
    Retired,
    /// The thread that runs, when it has given up its source. It has its slot until its hook returns.
    GivenUp,
    /// A timer that is not due.
    Timers,
    /// A timer found due.
    Due,
    /// An execute thread.
    Pending,
    /// A reader or writer that the poller has to be told of.
    Untold,
    /// A writer found ready.
    ReadyToWrite,
    /// A reader found ready.
    ReadyToRead,
    /// A reader or writer that the poller watches.
    Watched,
}

impl Place {
    /// Those that have a list.
    pub(crate) const LISTED: [Self; 5] =
        [Self::Due, Self::Pending, Self::Untold, Self::ReadyToWrite, Self::ReadyToRead];

    /// The number of the first of them.
    pub(crate) const FIRST_LISTED: usize = Self::Due as usize;

    /// Whether its threads were found ready by the poller.
    #[inline]
    pub(crate) fn is_ready(self) -> bool {
        matches!(self, Self::ReadyToWrite | Self::ReadyToRead)
    }

    /// Whether it is one of readers and writers, who have their source.
    #[inline]
    pub(crate) fn has_source(self) -> bool {
        self >= Self::Untold
    }
}

/// As wide as an index.
#[cfg(target_pointer_width = "64")]
pub(crate) type VacantWord = u32;
#[cfg(not(target_pointer_width = "64"))]
pub(crate) type VacantWord = u16;

/// The links of one slot. All zero bytes when vacant, as a static lands in .bss.
///
/// 32 bytes on 64-bit targets, two to a cache line and none across two; 24 elsewhere.
#[derive(Clone, Copy)]
#[cfg_attr(target_pointer_width = "64", repr(align(32)))]
pub struct Link {
    /// What the thread waits for: a timer's deadline; a reader's or writer's source (low word) and the next thread in
    /// its bucket (high word); an execute thread's turn of adding.
    key: Wide,
    pub(crate) next: Option<Index>,
    pub(crate) previous: Option<Index>,
    /// The head of one bucket of the source table. It is lodged here, and has nothing to do with this slot's thread.
    pub(crate) bucket: Option<Index>,
    /// One word of the record of vacant slots. It is lodged here as well.
    pub(crate) vacant: VacantWord,
    /// The lowest 32 bits of the generation.
    generation_low: u32,
    generation_high: GenerationHigh,
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    pub(crate) readiness: Readiness,
}

impl Link {
    /// No thread: all zero bytes.
    pub const VACANT: Self = Self {
        key: Wide::ZERO,
        next: None,
        previous: None,
        bucket: None,
        vacant: 0,
        generation_low: Generation::NONE.to_parts().0,
        generation_high: Generation::NONE.to_parts().1,
        place: Place::Vacant,
        kind: Kind::Timer,
        readiness: Readiness::NONE,
    };

    /// When the timer is due.
    #[inline]
    pub(crate) fn deadline(&self) -> Instant {
        Instant::from_micros(self.key.get())
    }

    /// Makes the timer due at `deadline`. Only while it is in no timer structure.
    #[inline]
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.key = Wide::new(deadline.as_micros());
    }

    #[inline]
    pub(crate) fn source(&self) -> Source {
        Source::new(self.key.get() as u32)
    }

    #[inline]
    pub(crate) fn chain(&self) -> Option<Index> {
        Index::from_word((self.key.get() >> 32) as u32)
    }

    /// The thread waits for something else from now on: a source's number, a deadline, or the turn after this one.
    #[inline]
    pub(crate) fn wait_for(&mut self, kind: Kind, key: u64) {
        self.kind = kind;
        self.key = Wide::new(key);
        self.readiness = Readiness::NONE;
    }

    /// Adds what was found to what is known. Returns whether there was anything that the thread wants to know.
    #[inline]
    pub(crate) fn note(&mut self, readiness: Readiness) -> bool {
        let seen = readiness.seen_by(self.kind.interest());
        self.readiness = self.readiness | seen;
        !seen.is_none()
    }

    pub(crate) fn set_chain(&mut self, next: Option<Index>) {
        let source = u64::from(self.source().number());
        self.key = Wide::new(u64::from(Index::to_word(next)) << 32 | source);
    }

    #[inline]
    pub(crate) fn turn(&self) -> u32 {
        self.key.get() as u32
    }

    /// The execute thread was added in that turn.
    #[inline]
    pub(crate) fn set_turn(&mut self, turn: u32) {
        self.key = Wide::new(u64::from(turn));
    }

    #[inline]
    fn generation(&self) -> Generation {
        Generation::from_parts(self.generation_low, self.generation_high)
    }

    #[inline]
    fn set_generation(&mut self, generation: Generation) {
        (self.generation_low, self.generation_high) = generation.to_parts();
    }

    /// The slot is given out once more. Only if it is not spent.
    #[inline]
    pub(crate) fn count_tenant(&mut self) {
        self.set_generation(self.generation().next());
    }

    /// Whether the slot has had the last of its threads.
    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.generation().number() == Generation::LAST.number()
    }

    #[inline]
    pub(crate) fn id(&self, index: Index) -> ThreadId {
        ThreadId::new(index, self.generation())
    }

    /// Whether `id` means the thread that has this slot now, or had it last.
    #[inline]
    pub(crate) fn is_tenant(&self, id: ThreadId) -> bool {
        self.generation().number() == id.generation()
    }
}

/// The one way to a link. No index that is stored can be out of range; should a bug make one so, a debug build says
/// it and a release build reads a vacant link and writes nothing.
pub(crate) trait Links {
    fn at(&self, index: Index) -> &Link;
    fn edit(&mut self, index: Index, change: impl FnOnce(&mut Link));
}

static VACANT: Link = Link::VACANT;

// On a small machine, a call is smaller than what these do, and they are in many places.
impl Links for [Link] {
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn at(&self, index: Index) -> &Link {
        let link = self.get(index.position());
        debug_assert!(link.is_some(), "link {} of {}", index.position(), self.len());
        link.unwrap_or(&VACANT)
    }

    #[inline]
    fn edit(&mut self, index: Index, change: impl FnOnce(&mut Link)) {
        if let Some(link) = at_mut(self, index) {
            change(link);
        }
    }
}

/// For what changes several things of one link, or reads and changes it: it is fetched once.
#[cfg_attr(target_pointer_width = "64", inline)]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) fn at_mut(links: &mut [Link], index: Index) -> Option<&mut Link> {
    let link = links.get_mut(index.position());
    debug_assert!(link.is_some(), "link {} is out of range", index.position());
    link
}

#[cfg(test)]
impl Link {
    /// The slot is spent after `left` more threads.
    pub(crate) fn age_to(&mut self, left: u32) {
        self.set_generation(Generation::before_last(left));
    }
}
