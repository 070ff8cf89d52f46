//! One slot of the small loop: a thread, or room for one.

use core::cell::Cell;

use crate::id::{Generation, Index, ThreadId};
use crate::row::{Row, State};
use crate::source::{Interest, Kind, Readiness, Source};
use crate::threads::Hook;
use crate::time::{Instant, Period, Wide};

/// The place of a thread on its way from being added to being called.
///
/// The order of the places matters. From `GivenUp` on, there is a thread; from `Running` on, the thread has its source;
/// from `Timer` on, the thread waits and its hook is in the slot; from `Watched` up to `ReadyToRead`, the poller is
/// asked about the thread; from `ReadyToWrite` on, the thread only has to be called. Ready and due threads are called
/// in this order; execute threads have a step of their own in a turn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Place {
    /// The slot has no thread.
    Vacant,
    /// The slot has no thread, and never gets one again: its generations are used up.
    Retired,
    /// A thread whose hook runs and has cancelled the thread's source.
    GivenUp,
    /// A thread whose hook runs.
    Running,
    /// A timer that is not due.
    Timer,
    /// A reader or writer whose source is not ready.
    Watched,
    /// A writer whose source was found ready.
    ReadyToWrite,
    /// A reader whose source was found ready.
    ReadyToRead,
    /// A timer that was found due.
    Due,
    /// An execute thread.
    Pending,
}

/// A thread, or room for one. All zero bytes when new.
pub(crate) struct Slot<S, A> {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    /// What the poller has found on the source of a reader or writer.
    pub(crate) readiness: Readiness,
    /// The number of threads that the slot has had.
    pub(crate) generation: Generation,
    /// The number of the move by which the thread came to its place. It counts up, and wraps.
    pub(crate) since: u32,
    /// A timer's deadline in microseconds, or the number of a reader's or writer's source.
    pub(crate) key: Wide,
    pub(crate) period: Period,
    pub(crate) name: Option<&'static str>,
    /// `None` while the hook runs, and in a slot without a thread. The `Cell` hides the niches of `A`, so that `None`
    /// is all zero bytes for every `A`.
    pub(crate) call: Option<(Hook<S, A>, Cell<A>)>,
}

impl<S, A> Slot<S, A> {
    pub(crate) const VACANT: Self = Self {
        place: Place::Vacant,
        kind: Kind::Timer,
        readiness: Readiness::NONE,
        generation: Generation::NONE,
        since: 0,
        key: Wide::ZERO,
        period: Period::NONE,
        name: None,
        call: None,
    };

    /// Returns whether the slot has a thread.
    pub(crate) fn is_used(&self) -> bool {
        self.place > Place::Retired
    }

    /// Returns whether the hook of the slot's thread runs.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.place, Place::Running | Place::GivenUp)
    }

    /// Returns whether the slot's thread is the one that can wait for that of the source.
    pub(crate) fn has(&self, claim: Interest, source: Source) -> bool {
        let is_there = self.place >= Place::Running && self.kind.claim().intersects(claim);
        is_there && self.key.get() as u32 == source.number()
    }

    /// Returns the source that the slot's thread waits for, or was found ready on.
    pub(crate) fn source(&self) -> Option<Source> {
        let is_there = self.place >= Place::Watched && self.place < Place::Due;
        is_there.then_some(Source::new(self.key.get() as u32))
    }

    /// Returns the deadline of a timer.
    pub(crate) fn due(&self) -> Option<Instant> {
        (self.kind == Kind::Timer).then_some(Instant::from_micros(self.key.get()))
    }

    /// Returns how many moves before `stamp` the thread came to its place.
    pub(crate) fn age(&self, stamp: u32) -> u32 {
        stamp.wrapping_sub(self.since)
    }

    /// Moves the thread to another place, behind the threads that are there.
    pub(crate) fn go(&mut self, place: Place, stamp: u32) {
        self.place = place;
        self.since = stamp;
    }

    /// Makes the thread wait for the event of its kind.
    pub(crate) fn wait(&mut self, stamp: u32) {
        self.readiness = Readiness::NONE;
        let place = match self.kind {
            Kind::Read | Kind::Write | Kind::ReadWrite | Kind::Paused => Place::Watched,
            Kind::Timer => Place::Timer,
            Kind::Execute => Place::Pending,
        };
        self.go(place, stamp);
    }

    /// Ends the thread. Returns its argument, unless its hook holds it.
    #[cfg_attr(not(feature = "large"), inline(never))]
    pub(crate) fn vacate(&mut self) -> Option<A> {
        let is_spent = self.generation == Generation::LAST;
        self.place = if is_spent { Place::Retired } else { Place::Vacant };
        self.period = Period::NONE;
        self.call.take().map(|(_, arg)| arg.into_inner())
    }

    pub(crate) fn id(&self, index: Index) -> ThreadId {
        ThreadId::new(index, self.generation)
    }

    // Inlined, so that a caller that reads one field does not pay for the others.
    #[inline(always)]
    pub(crate) fn row(&self, index: Index) -> Option<Row> {
        let state = match self.place {
            Place::Vacant | Place::Retired => return None,
            Place::GivenUp | Place::Running => State::Running,
            Place::Timer | Place::Watched => State::Waiting,
            Place::ReadyToWrite | Place::ReadyToRead | Place::Due | Place::Pending => State::Ready,
        };
        Some(Row {
            id: self.id(index),
            name: self.name.unwrap_or(""),
            kind: self.kind,
            state,
            readiness: self.readiness,
            key: self.key.get(),
        })
    }
}
