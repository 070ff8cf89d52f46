//! The loop without the application's types: every operation on threads but calling them.

use crate::head::Head;
use crate::id::{Index, ThreadId};
use crate::link::{Link, Links, Place};
use crate::poller::Host;
use crate::source::{Kind, Readiness, Source};
use crate::sources;
use crate::time::{Instant, Period, micros};
use crate::timers::Timers;
use crate::when::When;

/// Why a registration is refused.
pub(crate) enum Refusal {
    Full,
    Taken,
}

/// Everything that operations on threads touch, borrowed from the loop.
pub(crate) struct Tables<'t> {
    pub(crate) head: &'t mut Head,
    pub(crate) links: &'t mut [Link],
    pub(crate) timers: &'t mut dyn Timers,
    pub(crate) host: &'t mut dyn Host,
}

/// Adding, re-arming, ending.
impl Tables<'_> {
    pub(crate) fn now(&mut self) -> Instant {
        // Not before what a wait has returned either: were the clock to go back, timers would begin in the past.
        self.head.read_at = self.head.read_at.max(self.head.waited_until).max(self.host.now());
        self.head.read_at
    }

    #[inline]
    pub(crate) fn register(&mut self, when: When) -> Result<(Index, Period), Refusal> {
        if self.is_taken(when, None) {
            return Err(Refusal::Taken);
        }
        let (kind, key, period) = self.plan(when);
        let index = self.head.slots.take(self.links).ok_or(Refusal::Full)?;
        self.arm(index, kind, key);
        Ok((index, period))
    }

    /// Whether the source of `when` has a thread of its kind that is not `except`.
    #[inline]
    fn is_taken(&self, when: When, except: Option<Index>) -> bool {
        let (source, kind) = match when {
            When::Readable(source) => (source, Kind::Read),
            When::Writable(source) => (source, Kind::Write),
            When::At(_) | When::After(_) | When::Now => return false,
        };
        let found = sources::find(self.links, source, kind);
        found.is_some() && found != except
    }

    /// What `when` comes down to in a link, and a timer's period. Asked for before anything changes, since a poller
    /// may panic.
    #[inline]
    fn plan(&mut self, when: When) -> (Kind, u64, Period) {
        match when {
            When::Readable(source) => (Kind::Read, u64::from(source.number()), Period::NONE),
            When::Writable(source) => (Kind::Write, u64::from(source.number()), Period::NONE),
            When::At(deadline) => (Kind::Timer, deadline.as_micros(), Period::NONE),
            When::After(delay) => {
                let delay = micros(delay);
                let deadline = self.now().as_micros().saturating_add(delay);
                (Kind::Timer, deadline, Period::from_micros(delay))
            }
            When::Now => (Kind::Execute, u64::from(self.head.turn), Period::NONE),
        }
    }

    /// Puts a thread that is nowhere among those that wait for the same.
    #[inline]
    fn arm(&mut self, index: Index, kind: Kind, key: u64) {
        self.links.edit(index, |link| link.wait_for(kind, key));
        match kind {
            Kind::Read | Kind::Write => {
                sources::insert(self.links, Source::new(key as u32), index);
                self.head.enlist(self.links, index, Place::New);
            }
            Kind::Timer => {
                self.links.edit(index, |link| link.place = Place::Timers);
                self.timers.insert(self.links, index);
            }
            Kind::Execute => self.head.enlist(self.links, index, Place::Pending),
        }
    }

    /// Registers the running thread once more as it was; `false` if it is a timer without a period.
    #[inline]
    pub(crate) fn again(&mut self, index: Index, period: Period) -> bool {
        match self.links.at(index).kind {
            Kind::Execute => {
                // It is the first of those that are pending, and goes behind the last without touching either.
                self.head.pending.rotate(self.links);
                let turn = self.head.turn;
                self.links.edit(index, |link| link.set_turn(turn));
            }
            Kind::Timer if period.is_none() => return false,
            Kind::Timer => {
                self.head.delist(self.links, index);
                let deadline = period.next(self.links.at(index).deadline(), self.head.waited_until);
                self.arm(index, Kind::Timer, deadline.as_micros());
            }
            Kind::Read | Kind::Write => {
                self.head.delist(self.links, index);
                let mut place = Place::Watched;
                self.links.edit(index, |link| {
                    // The poller still watches the source, unless it found an error and may have let go of it.
                    if link.readiness.is_error() {
                        place = Place::Changed;
                    }
                    link.readiness = Readiness::NONE;
                });
                self.head.enlist(self.links, index, place);
            }
        }
        self.head.running = None;
        true
    }

    /// Registers the running thread for something else. Returns its new period, if it has one.
    pub(crate) fn again_when(&mut self, index: Index, when: When) -> Result<Period, Refusal> {
        if self.is_taken(when, Some(index)) {
            return Err(Refusal::Taken);
        }
        let (kind, key, period) = self.plan(when);
        self.head.delist(self.links, index);
        let left = self.source_of(index);
        if let Some(source) = left {
            sources::remove(self.links, source, index);
        }
        self.arm(index, kind, key);
        if let Some(source) = left {
            if when.source() == left {
                self.links.edit(index, |link| link.place = Place::Changed);
            } else {
                self.tell_removal(source);
            }
        }
        self.head.running = None;
        Ok(period)
    }

    /// The id of the thread in that slot.
    pub(crate) fn id(&self, index: Index) -> Option<ThreadId> {
        self.links.at(index).id(index)
    }

    #[inline]
    pub(crate) fn source_of(&self, index: Index) -> Option<Source> {
        let link = self.links.at(index);
        (!link.interest().is_none() && link.place != Place::GivenUp).then(|| link.source())
    }

    /// Whether the running thread can be registered once more.
    #[inline]
    pub(crate) fn can_rearm(&self, index: Index) -> bool {
        self.links.at(index).place != Place::GivenUp
    }

    /// Whether `id` means the thread that has that slot now, or had it last.
    #[inline]
    pub(crate) fn is_tenant(&self, index: Index, id: ThreadId) -> bool {
        self.links.at(index).generation().number() == id.generation()
    }

    /// Ends a thread, wherever it is, and tells the poller at once.
    #[inline]
    pub(crate) fn release(&mut self, index: Index) {
        if self.links.at(index).place == Place::Timers {
            self.timers.remove(self.links, index);
        } else {
            self.release_other(index);
        }
        self.head.slots.free(self.links, index);
    }

    /// The same for a thread that is not among the timers, but for its slot.
    fn release_other(&mut self, index: Index) {
        let was_told = self.links.at(index).place != Place::New;
        let source = self.unlink(index).filter(|_| was_told);
        if let Some(source) = source {
            self.tell_removal(source);
        }
    }

    /// Ends the reader and the writer of a source, and says which slots they had. The one that runs keeps its slot.
    pub(crate) fn release_source(&mut self, source: Source) -> [Option<Index>; 2] {
        let found = [Kind::Read, Kind::Write].map(|kind| sources::find(self.links, source, kind));
        let mut was_told = false;
        for index in found.into_iter().flatten() {
            was_told |= self.links.at(index).place != Place::New;
            if self.head.is_running(index) {
                self.head.delist(self.links, index);
                sources::remove(self.links, source, index);
                self.links.edit(index, |link| link.place = Place::GivenUp);
            } else {
                self.unlink(index);
                self.head.slots.free(self.links, index);
            }
        }
        if was_told {
            self.tell_removal(source);
        }
        found
    }

    /// Takes a thread that is not among the timers out of all lists. Returns its source.
    fn unlink(&mut self, index: Index) -> Option<Source> {
        self.head.delist(self.links, index);
        if self.head.is_running(index) {
            self.head.running = None;
        }
        let source = self.source_of(index);
        if let Some(source) = source {
            sources::remove(self.links, source, index);
        }
        source
    }
}

/// The wait.
impl Tables<'_> {
    /// Tells the poller what is new, and says until when it may wait.
    pub(crate) fn before_wait(&mut self) -> Option<Instant> {
        self.tell_changes();
        self.head.hooks_since_wait = 0;
        let head = &*self.head;
        if head.pending.is_empty()
            && head.ready_to_write.is_empty()
            && head.ready_to_read.is_empty()
        {
            self.timers.next_deadline(self.links)
        } else {
            Some(Instant::ZERO)
        }
    }

    /// Marks the timers that are due at `now` as found.
    pub(crate) fn after_wait(&mut self, now: Instant) {
        self.head.waited_until = self.head.waited_until.max(now);
        self.timers.advance(self.links, self.head.waited_until);
        while let Some(index) = self.timers.pop(self.links) {
            self.head.enlist(self.links, index, Place::Due);
        }
    }
}
