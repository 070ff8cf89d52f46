//! The part of a thread that does not depend on the application's types: its place, the event it waits for, and its
//! neighbours in the lists. Lists, timers and the source table use only this part, so their code exists once.

use crate::id::{Generation, GenerationHigh, Index, ThreadId};
use crate::source::{Kind, Readiness, Source};
use crate::time::{Instant, Wide};

/// The place of a slot and of its thread. A thread whose hook runs stays where it was found until it is re-armed or
/// released.
///
/// The order of the places matters: from `Due` to `ReadyToRead`, a place has a list; from `Untold` on, the thread has a
/// source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Place {
    /// The slot has no thread.
    Vacant,
    /// The slot has no thread, and never gets one again: its generations are used up.
    Retired,
    /// A running thread that has given up its source. It keeps its slot until its hook returns.
    GivenUp,
    /// A timer that is not due.
    Timers,
    /// A timer found due.
    Due,
    /// An execute thread.
    Pending,
    /// A reader or writer of which the poller has yet to be told.
    Untold,
    /// A writer found ready.
    ReadyToWrite,
    /// A reader found ready.
    ReadyToRead,
    /// A reader or writer that the poller watches.
    Watched,
}

impl Place {
    /// The places that have a list.
    pub(crate) const LISTED: [Self; 5] =
        [Self::Due, Self::Pending, Self::Untold, Self::ReadyToWrite, Self::ReadyToRead];

    /// The number of the first place with a list.
    pub(crate) const FIRST_LISTED: usize = Self::Due as usize;

    /// Returns whether the poller has found the threads of this place ready.
    #[inline]
    pub(crate) fn is_ready(self) -> bool {
        matches!(self, Self::ReadyToWrite | Self::ReadyToRead)
    }

    /// Returns whether the threads of this place have a source.
    #[inline]
    pub(crate) fn has_source(self) -> bool {
        self >= Self::Untold
    }
}

/// A word of the record of vacant slots, as wide as an index.
#[cfg(target_pointer_width = "64")]
pub(crate) type VacantWord = u32;
#[cfg(not(target_pointer_width = "64"))]
pub(crate) type VacantWord = u16;

/// The links of one slot. All zero bytes when vacant, so that a static is in .bss.
///
/// 32 bytes on 64-bit targets, so that two share a cache line and none crosses one; 24 bytes on others.
#[derive(Clone, Copy)]
#[cfg_attr(target_pointer_width = "64", repr(align(32)))]
pub struct Link {
    /// The event that the thread waits for: the deadline of a timer; the source of a reader or writer (low word) and
    /// the next thread in its bucket (high word); the turn in which an execute thread was added.
    key: Wide,
    pub(crate) next: Option<Index>,
    pub(crate) previous: Option<Index>,
    /// The head of one bucket of the source table. It is stored here, and is independent of this slot's thread.
    pub(crate) bucket: Option<Index>,
    /// One word of the record of vacant slots. It is stored here as well.
    pub(crate) vacant: VacantWord,
    /// The lowest 32 bits of the generation.
    generation_low: u32,
    generation_high: GenerationHigh,
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    pub(crate) readiness: Readiness,
}

impl Link {
    /// The links of a slot without a thread: all zero bytes.
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

    /// Returns the deadline of a timer.
    #[inline]
    pub(crate) fn deadline(&self) -> Instant {
        Instant::from_micros(self.key.get())
    }

    /// Sets the deadline of a timer. MUST be called only while it is in no timer structure.
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

    /// Sets the event that the thread waits for. `key` is a source's number, a deadline, or a turn.
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

    /// Sets the turn in which an execute thread was added.
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

    /// Begins the next generation, when the slot is given out. MUST be called only if the slot is not spent.
    #[inline]
    pub(crate) fn count_tenant(&mut self) {
        self.set_generation(self.generation().next());
    }

    /// Returns whether the slot has had its last thread.
    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.generation().number() == Generation::LAST.number()
    }

    #[inline]
    pub(crate) fn id(&self, index: Index) -> ThreadId {
        ThreadId::new(index, self.generation())
    }

    /// Returns whether `id` refers to the current thread of this slot, or to its last one.
    #[inline]
    pub(crate) fn is_tenant(&self, id: ThreadId) -> bool {
        self.generation().number() == id.generation()
    }
}

/// Access to links by index. Stored indices are always in range. If a bug breaks this, debug builds panic; release
/// builds read a vacant link, and write nothing.
pub(crate) trait Links {
    fn at(&self, index: Index) -> &Link;
    fn edit(&mut self, index: Index, change: impl FnOnce(&mut Link));
}

static VACANT: Link = Link::VACANT;

// On 32-bit targets, a call takes less code than these functions, which are used in many places.
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

/// Returns one link for several reads and changes, so that it is fetched once.
#[cfg_attr(target_pointer_width = "64", inline)]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) fn at_mut(links: &mut [Link], index: Index) -> Option<&mut Link> {
    let link = links.get_mut(index.position());
    debug_assert!(link.is_some(), "link {} is out of range", index.position());
    link
}

#[cfg(test)]
impl Link {
    /// Makes the slot spent after `left` more threads.
    pub(crate) fn age_to(&mut self, left: u32) {
        self.set_generation(Generation::before_last(left));
    }
}
