//! The threads of the small loop: one array of slots, and everything that can be done to it.

use crate::error::Exit;
use crate::id::Index;
use crate::poller::Waiting;
use crate::small::slot::{Place, Slot, last};
use crate::source::{Interest, Kind, Readiness, Source};
use crate::time::{Instant, LAST, later};

/// The slots, and a few numbers. `T` is an array of slots, used as a slice. All zero bytes when new.
pub(crate) struct Table<T: ?Sized> {
    /// How many times something was found on a source without threads.
    pub(crate) strays: u32,
    /// Hooks that were called since the poller was last asked.
    pub(crate) hooks_since_wait: u32,
    pub(crate) is_stopping: bool,
    /// Counts up whenever a thread comes to a place.
    pub(crate) stamp: u64,
    /// The time at which the last wait ended: what is due by then is due.
    pub(crate) position: Instant,
    /// The latest that the clock said, rounded up: where a delay begins.
    pub(crate) read_at: Instant,
    pub(crate) slots: T,
}

impl<S, A, const N: usize> Table<[Slot<S, A>; N]> {
    pub(crate) const fn new() -> Self {
        Self {
            strays: 0,
            hooks_since_wait: 0,
            is_stopping: false,
            stamp: 0,
            position: Instant::ZERO,
            read_at: Instant::ZERO,
            slots: [const { Slot::VACANT }; N],
        }
    }
}

impl<S, A> Table<[Slot<S, A>]> {
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_used()).count()
    }

    /// A number for a thread that comes to a place.
    pub(crate) fn next_stamp(&mut self) -> u64 {
        self.stamp = self.stamp.wrapping_add(1);
        self.stamp
    }
}

/// What the loop does.
impl<S, A> Table<[Slot<S, A>]> {
    /// The first of the ranks from one to another.
    #[inline(never)]
    pub(crate) fn first(&self, from: Place, to: u64) -> Option<Index> {
        let (mut found, mut least) = (None, to);
        for (position, slot) in self.slots.iter().enumerate() {
            if slot.place >= from && slot.rank() <= least {
                (found, least) = (Index::new(position), slot.rank());
            }
        }
        found
    }

    /// The timer that is due next. A deadline that has passed counts as now: it stands behind what was due before.
    pub(crate) fn next_timer(&mut self) -> Option<&mut Slot<S, A>> {
        let position = self.position;
        let due = |slot: &Slot<S, A>| position.as_micros().max(slot.key.get());
        let mut first: Option<&mut Slot<S, A>> = None;
        for slot in self.slots.iter_mut().filter(|slot| slot.place == Place::Timer) {
            let is_first = first.as_ref().is_none_or(|first| {
                due(slot) < due(first)
                    || due(slot) == due(first) && slot.since.get() < first.since.get()
            });
            if is_first {
                first = Some(slot);
            }
        }
        first
    }

    /// Until when the loop can sleep.
    pub(crate) fn until(&mut self) -> Instant {
        if self.first(Place::ReadyToWrite, last(Place::Pending)).is_some() {
            return Instant::ZERO;
        }
        let position = self.position;
        let deadline = self.next_timer().map(|slot| Instant::from_micros(slot.key.get()));
        // If the clock has gone back, there is no waiting for it to come to the position again.
        deadline.map_or(Instant::NEVER, |at| if at <= position { Instant::ZERO } else { at })
    }

    /// What the threads of a source want.
    pub(crate) fn interest(&self, source: Source) -> Interest {
        let threads = self.slots.iter().filter(|slot| slot.source() == Some(source));
        threads.fold(Interest::NONE, |interest, slot| interest | slot.kind.interest())
    }

    /// The time is `now`: notes which timers are due.
    pub(crate) fn advance(&mut self, now: Instant) {
        let now = later(self.position, now.min(LAST));
        let mut since = self.stamp;
        while let Some(timer) = self.next_timer()
            && timer.key.get() <= now.as_micros()
        {
            since = since.wrapping_add(1);
            timer.go(Place::Due, since);
        }
        self.stamp = since;
        self.position = now;
    }

    /// Ends the thread whose hook has returned or panicked without re-arming it.
    pub(crate) fn settle(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.is_running()) {
            slot.vacate();
        }
    }

    /// Why the loop should return, if it should; `stop` is forgotten by that.
    pub(crate) fn exit(&mut self) -> Option<Exit> {
        if core::mem::take(&mut self.is_stopping) {
            return Some(Exit::Stopped);
        }
        (self.len() == 0).then_some(Exit::Empty)
    }
}

/// What the poller finds.
impl<S, A> Waiting for &mut Table<[Slot<S, A>]> {
    #[inline(never)]
    fn push(&mut self, source: Source, readiness: Readiness) {
        let is_meant = |other| source == other;
        if self.slots.iter().any(|slot| slot.source().is_some_and(is_meant)) {
            self.ask(&mut |other, _| if is_meant(other) { readiness } else { Readiness::NONE });
        } else {
            self.strays = self.strays.saturating_add(1);
        }
    }

    // Where the poller and its answer are known, nothing is left of the calls.
    #[inline(always)]
    fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        let mut is_any_ready = false;
        for slot in &mut self.slots {
            let Some(source) = slot.source() else { continue };
            let interest = slot.kind.interest();
            let seen = answer(source, interest).seen_by(interest);
            if seen.is_none() {
                continue;
            }
            is_any_ready = true;
            slot.readiness = slot.readiness | seen;
            if slot.place == Place::Watched {
                self.stamp = self.stamp.wrapping_add(1);
                let is_writer = slot.kind == Kind::Write;
                slot.go(
                    if is_writer { Place::ReadyToWrite } else { Place::ReadyToRead },
                    self.stamp,
                );
            }
        }
        is_any_ready
    }
}
