//! The slots of the small loop, and the operations of the loop itself on them.

use crate::error::Exit;
use crate::id::Index;
use crate::poller::Waiting;
use crate::small::slot::{Place, Slot};
use crate::source::{Interest, Kind, Readiness, Source};
use crate::time::{Instant, LAST, later};

/// The slots, and a few counters. `T` is an array of slots, used as a slice. All zero bytes when new.
pub(crate) struct Table<T: ?Sized> {
    /// The number of the last move of a thread to a place. It wraps: a move that is 2^32 moves old looks new.
    pub(crate) stamp: u32,
    /// The time at which the last wait ended. Timers with deadlines up to this time are due. It never goes back.
    pub(crate) wait_ended: Instant,
    /// The latest result of `Poller::now`, which rounds up: the moment at which delays begin. It never goes back.
    pub(crate) read_at: Instant,
    /// The number of events that were found on sources without threads.
    pub(crate) strays: u32,
    /// The number of hooks that were called since the poller was last asked.
    pub(crate) hooks_since_wait: u32,
    pub(crate) is_stopping: bool,
    /// Whether a wait has begun and not ended, so that the poller may be watching sources.
    pub(crate) is_watched: bool,
    pub(crate) slots: T,
}

impl<S, A, const N: usize> Table<[Slot<S, A>; N]> {
    pub(crate) const fn new() -> Self {
        Self {
            stamp: 0,
            wait_ended: Instant::ZERO,
            read_at: Instant::ZERO,
            strays: 0,
            hooks_since_wait: 0,
            is_stopping: false,
            is_watched: false,
            slots: [const { Slot::VACANT }; N],
        }
    }
}

impl<S, A> Table<[Slot<S, A>]> {
    pub(crate) fn len(&self) -> usize {
        self.count(Slot::is_used)
    }

    /// Returns the number of slots for which `is_meant` is true. `Iterator::count` would add an overflow check where
    /// the program is built with them.
    pub(crate) fn count(&self, is_meant: impl Fn(&Slot<S, A>) -> bool) -> usize {
        let add = |count: usize, slot| count.wrapping_add(usize::from(is_meant(slot)));
        self.slots.iter().fold(0, add)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.slots.iter().any(Slot::is_used)
    }

    /// Returns the number of the next move.
    pub(crate) fn next_stamp(&mut self) -> u32 {
        self.stamp = self.stamp.wrapping_add(1);
        self.stamp
    }

    /// Returns the first of the threads in the places `from` to `to` that were there at `stamp`: in the order of
    /// places, and within a place in the order of arrival.
    #[inline(never)]
    pub(crate) fn first(&self, from: Place, to: Place, stamp: u32) -> Option<Index> {
        let newest = self.stamp.wrapping_sub(stamp);
        let (mut first, mut least) = (None, rank(to, 0));
        for (position, slot) in self.slots.iter().enumerate() {
            let age = slot.age(self.stamp);
            if slot.place >= from && age >= newest && rank(slot.place, age) <= least {
                (first, least) = (Index::new(position), rank(slot.place, age));
            }
        }
        first
    }

    /// Returns the timer that is due next, and among equal ones the one that was armed first. A deadline before the end
    /// of the last wait counts as that end.
    pub(crate) fn next_timer(&mut self) -> Option<&mut Slot<S, A>> {
        let (now, stamp) = (self.wait_ended.as_micros(), self.stamp);
        let due = |slot: &Slot<S, A>| now.max(slot.key.get());
        let mut next: Option<&mut Slot<S, A>> = None;
        for slot in self.slots.iter_mut().filter(|slot| slot.place == Place::Timer) {
            let is_next = next.as_ref().is_none_or(|next| {
                let is_older = slot.age(stamp) > next.age(stamp);
                due(slot) < due(next) || due(slot) == due(next) && is_older
            });
            if is_next {
                next = Some(slot);
            }
        }
        next
    }

    pub(crate) fn has_pending(&self) -> bool {
        self.slots.iter().any(|slot| slot.place == Place::Pending)
    }

    /// Returns the moment until which the loop can sleep.
    pub(crate) fn until(&mut self) -> Instant {
        if self.first(Place::ReadyToWrite, Place::Pending, self.stamp).is_some() {
            return Instant::ZERO;
        }
        let now = self.wait_ended;
        let Some(timer) = self.next_timer() else { return Instant::NEVER };
        let due = Instant::from_micros(timer.key.get());
        // Zero if the deadline has passed: a clock that has gone back would take time to reach it again.
        if due <= now { Instant::ZERO } else { due }
    }

    /// Sets the time to `now`, and moves the timers that are due to their place, in order.
    pub(crate) fn advance(&mut self, now: Instant) {
        let now = later(self.wait_ended, now.min(LAST));
        let mut stamp = self.stamp;
        while let Some(timer) = self.next_timer()
            && timer.key.get() <= now.as_micros()
        {
            stamp = stamp.wrapping_add(1);
            timer.go(Place::Due, stamp);
        }
        self.stamp = stamp;
        self.wait_ended = now;
    }

    /// Returns the combined interest of the threads of a source.
    pub(crate) fn interest(&self, source: Source) -> Interest {
        let threads = self.slots.iter().filter(|slot| slot.source() == Some(source));
        threads.fold(Interest::NONE, |interest, slot| interest | slot.kind.interest())
    }

    /// Returns the reason why the loop should return, if there is one. A `stop` is cleared by this.
    pub(crate) fn exit(&mut self) -> Option<Exit> {
        if core::mem::take(&mut self.is_stopping) {
            return Some(Exit::Stopped);
        }
        self.is_empty().then_some(Exit::Empty)
    }

    /// Checks the slots, and returns the condition that does not hold. Without debug assertions, nothing is checked.
    pub(crate) fn verify(&self) -> Result<(), &'static str> {
        if !cfg!(debug_assertions) {
            return Ok(());
        }
        if self.count(Slot::is_running) > 1 {
            return Err("two hooks run at the same time");
        }
        for (position, slot) in self.slots.iter().enumerate() {
            if slot.call.is_some() != (slot.place >= Place::Timer) {
                return Err("a waiting thread has no hook, or another slot has one");
            }
            let Some(source) = slot.source() else { continue };
            let is_other = |at| at != position;
            let mut slots = self.slots.iter().enumerate();
            if slots.any(|(at, other)| is_other(at) && other.has(slot.kind.claim(), source)) {
                return Err("two threads of a source wait for the same");
            }
        }
        Ok(())
    }
}

/// What the poller finds. Threads that are ready come to their place in the order in which they are found. Implemented
/// for a reference, since a slice can't become a trait object.
impl<S, A> Waiting for &mut Table<[Slot<S, A>]> {
    #[inline(never)]
    fn push(&mut self, source: Source, readiness: Readiness) {
        let mut is_stray = true;
        self.ask(&mut |other, _| {
            if other != source {
                return Readiness::NONE;
            }
            is_stray = false;
            readiness
        });
        if is_stray {
            self.strays = self.strays.saturating_add(1);
        }
    }

    // Inlined, so that `answer` is a direct call where the poller is known.
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
                let ready = if is_writer { Place::ReadyToWrite } else { Place::ReadyToRead };
                slot.go(ready, self.stamp);
            }
        }
        is_any_ready
    }
}

/// Returns a number that orders threads by place, and within a place by age, the oldest first.
const fn rank(place: Place, age: u32) -> u64 {
    (place as u64) << 32 | !age as u64
}
