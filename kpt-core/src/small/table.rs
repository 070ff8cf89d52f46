//! The slots of the small loop, and what the loop itself does with them.

use crate::error::Exit;
use crate::id::Index;
use crate::poller::Waiting;
use crate::small::slot::{Place, Slot};
use crate::source::{Interest, Kind, Readiness, Source};
use crate::time::{Instant, LAST, later};

/// The slots, and a few numbers. `T` is an array of slots, used as a slice. All zero bytes when new.
pub(crate) struct Table<T: ?Sized> {
    /// The number of the last move of a thread to a place. It wraps: what is 2^32 moves old looks new.
    pub(crate) stamp: u32,
    /// The time at which the last wait ended: what is due by then is due. It never goes back.
    pub(crate) wait_ended: Instant,
    /// The latest that `Poller::now` returned, which rounds up: where a delay begins. It never goes back either.
    pub(crate) read_at: Instant,
    /// How many times something was found on a source without threads.
    pub(crate) strays: u32,
    /// Hooks that were called since the poller was last asked.
    pub(crate) hooks_since_wait: u32,
    pub(crate) is_stopping: bool,
    /// A wait has begun and not ended, so that the poller may watch sources.
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

    /// How many slots are like that. Not by `Iterator::count`, which looks for an overflow if the program does.
    pub(crate) fn count(&self, is_meant: impl Fn(&Slot<S, A>) -> bool) -> usize {
        let add = |count: usize, slot| count.wrapping_add(usize::from(is_meant(slot)));
        self.slots.iter().fold(0, add)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.slots.iter().any(Slot::is_used)
    }

    /// The number of one more move.
    pub(crate) fn next_stamp(&mut self) -> u32 {
        self.stamp = self.stamp.wrapping_add(1);
        self.stamp
    }

    /// The first of the threads in the places from one to another, of those that were there at `stamp`: in the order of
    /// places, and in each of them in the order of coming there.
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

    /// The timer that is due next, of equal ones the one that was armed first. A deadline that has passed counts as now.
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

    /// Until when the loop can sleep.
    pub(crate) fn until(&mut self) -> Instant {
        if self.first(Place::ReadyToWrite, Place::Pending, self.stamp).is_some() {
            return Instant::ZERO;
        }
        let now = self.wait_ended;
        let Some(timer) = self.next_timer() else { return Instant::NEVER };
        let due = Instant::from_micros(timer.key.get());
        // Not `due` if it has passed: if the clock has gone back, it would come there a second time.
        if due <= now { Instant::ZERO } else { due }
    }

    /// The time is `now`: notes which timers are due, in their order.
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

    /// What the threads of a source want.
    pub(crate) fn interest(&self, source: Source) -> Interest {
        let threads = self.slots.iter().filter(|slot| slot.source() == Some(source));
        threads.fold(Interest::NONE, |interest, slot| interest | slot.kind.interest())
    }

    /// Why the loop should return, if it should; `stop` is forgotten by that.
    pub(crate) fn exit(&mut self) -> Option<Exit> {
        if core::mem::take(&mut self.is_stopping) {
            return Some(Exit::Stopped);
        }
        self.is_empty().then_some(Exit::Empty)
    }

    /// Walks the slots, and returns what does not hold. Without debug assertions it looks at nothing.
    pub(crate) fn verify(&self) -> Result<(), &'static str> {
        if !cfg!(debug_assertions) {
            return Ok(());
        }
        if self.count(Slot::is_running) > 1 {
            return Err("two hooks run at a time");
        }
        for (position, slot) in self.slots.iter().enumerate() {
            if slot.call.is_some() != (slot.place >= Place::Timer) {
                return Err("a thread that waits has no hook, or another one has");
            }
            let Some(source) = slot.source() else { continue };
            let is_other = |at| at != position;
            let mut slots = self.slots.iter().enumerate();
            if slots.any(|(at, other)| is_other(at) && other.has(slot.kind, source)) {
                return Err("a source has two threads of one kind");
            }
        }
        Ok(())
    }
}

/// What the poller finds: threads that are ready come to their place in the order of being found. For a reference, as a
/// slice can't be made a trait object.
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

/// Orders threads by place, and in a place the older ones first.
const fn rank(place: Place, age: u32) -> u64 {
    (place as u64) << 32 | !age as u64
}
