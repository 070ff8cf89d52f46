//! The loop without the application's types: every operation on threads but calling them.

use crate::id::{Index, ThreadId};
use crate::link::{Link, Links, Place};
use crate::list::List;
use crate::poller::{Host, Unwatchable};
use crate::slots::Slots;
use crate::source::{Kind, Readiness, Source};
use crate::sources;
use crate::time::{Instant, Period};
use crate::timers::Timers;
use crate::when::When;

/// The fixed part of a loop: the heads of its lists and a few numbers. All zero bytes when new.
pub(crate) struct Head {
    pub(crate) slots: Slots,
    /// Readers and writers that the poller has not been told of.
    new: List,
    ready_to_write: List,
    ready_to_read: List,
    due: List,
    pending: List,
    /// The thread whose hook runs, or ran when it panicked.
    running: Option<Index>,
    turn: u32,
    /// Hooks that were called since the poller was last asked.
    hooks: u32,
    /// How many times something was found on a source without threads.
    pub(crate) strays: u32,
    /// The latest that the clock said, rounded up: where a delay begins.
    clock: Instant,
    /// The latest that a wait returned, rounded down: which deadlines have passed.
    time: Instant,
    is_stopping: bool,
}

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

impl Head {
    pub(crate) const NEW: Self = Self {
        slots: Slots::NEW,
        new: List::EMPTY,
        ready_to_write: List::EMPTY,
        ready_to_read: List::EMPTY,
        due: List::EMPTY,
        pending: List::EMPTY,
        running: None,
        turn: 0,
        hooks: 0,
        strays: 0,
        clock: Instant::ZERO,
        time: Instant::ZERO,
        is_stopping: false,
    };

    #[inline]
    fn list_mut(&mut self, place: Place) -> Option<&mut List> {
        match place {
            Place::Vacant | Place::Watched | Place::GivenUp | Place::Timers => None,
            Place::New | Place::Changed => Some(&mut self.new),
            Place::ReadyToWrite => Some(&mut self.ready_to_write),
            Place::ReadyToRead => Some(&mut self.ready_to_read),
            Place::Due => Some(&mut self.due),
            Place::Pending => Some(&mut self.pending),
        }
    }

    #[inline]
    fn enlist(&mut self, links: &mut [Link], index: Index, place: Place) {
        links.edit(index, |link| link.place = place);
        if let Some(list) = self.list_mut(place) {
            list.push_back(links, index);
        }
    }

    /// Takes the thread out of the list it is in, if any.
    #[inline]
    fn delist(&mut self, links: &mut [Link], index: Index) {
        if let Some(list) = self.list_mut(links.at(index).place) {
            list.remove(links, index);
        }
    }

    /// The poller found something. Only threads that it watches get to know: not one that was added since.
    pub(crate) fn found(&mut self, links: &mut [Link], source: Source, readiness: Readiness) {
        let mut is_known = false;
        for (kind, ready) in [(Kind::Write, Place::ReadyToWrite), (Kind::Read, Place::ReadyToRead)]
        {
            let Some(index) = sources::find(links, source, kind) else { continue };
            is_known = true;
            let seen = readiness.seen_by(links.at(index).interest());
            let place = links.at(index).place;
            if seen.is_none() || (place != Place::Watched && place != ready) {
                continue;
            }
            links.edit(index, |link| link.readiness = link.readiness | seen);
            if place == Place::Watched {
                self.enlist(links, index, ready);
            }
        }
        if !is_known {
            self.strays = self.strays.saturating_add(1);
        }
    }

    /// Ends the count of hooks that make the loop ask the poller.
    pub(crate) fn looked(&mut self) {
        self.hooks = 0;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    pub(crate) fn set_stopping(&mut self, is_stopping: bool) {
        self.is_stopping = is_stopping;
    }

    #[inline]
    pub(crate) fn is_running(&self, index: Index) -> bool {
        self.running == Some(index)
    }
}

/// Adding, re-arming, ending.
impl Tables<'_> {
    pub(crate) fn now(&mut self) -> Instant {
        // Not before what a wait has returned either: were the clock to go back, timers would begin in the past.
        self.head.clock = self.head.clock.max(self.head.time).max(self.host.now());
        self.head.clock
    }

    #[inline]
    pub(crate) fn register(&mut self, when: When) -> Result<Index, Refusal> {
        if self.other_thread_of(when, None) {
            return Err(Refusal::Taken);
        }
        let now = self.now_for(when);
        let index = self.head.slots.take(self.links).ok_or(Refusal::Full)?;
        self.arm(index, when, now);
        Ok(index)
    }

    /// Whether the source of `when` has a thread of its kind that is not `but`.
    #[inline]
    fn other_thread_of(&self, when: When, but: Option<Index>) -> bool {
        let Some(source) = when.source() else { return false };
        let found = sources::find(self.links, source, when.kind());
        found.is_some() && found != but
    }

    /// The time, if `when` needs it. Asked for before anything changes, since a poller may panic.
    #[inline]
    fn now_for(&mut self, when: When) -> Instant {
        if let When::After(_) = when { self.now() } else { Instant::ZERO }
    }

    /// Puts a thread that is nowhere where `when` says, as seen from `now`.
    #[inline]
    fn arm(&mut self, index: Index, when: When, now: Instant) {
        match when {
            When::Readable(source) => self.arm_source(index, Kind::Read, source),
            When::Writable(source) => self.arm_source(index, Kind::Write, source),
            When::At(deadline) => self.arm_timer(index, deadline),
            When::After(delay) => self.arm_timer(index, now.saturating_add(delay)),
            When::Now => self.arm_pending(index),
        }
    }

    fn arm_source(&mut self, index: Index, kind: Kind, source: Source) {
        self.links.edit(index, |link| {
            link.kind = kind;
            link.set_source(source);
            link.readiness = Readiness::NONE;
        });
        sources::insert(self.links, index);
        self.head.enlist(self.links, index, Place::New);
    }

    #[inline]
    fn arm_pending(&mut self, index: Index) {
        let turn = self.head.turn;
        self.links.edit(index, |link| {
            link.kind = Kind::Execute;
            link.set_turn(turn);
        });
        self.head.enlist(self.links, index, Place::Pending);
    }

    #[inline]
    fn arm_timer(&mut self, index: Index, deadline: Instant) {
        self.links.edit(index, |link| {
            link.kind = Kind::Timer;
            link.place = Place::Timers;
            link.set_deadline(deadline);
        });
        self.timers.insert(self.links, index);
    }

    /// Registers the running thread once more as it was; `false` if it is a timer without a period.
    #[inline]
    pub(crate) fn again(&mut self, index: Index, period: Period) -> bool {
        if self.links.at(index).kind == Kind::Execute {
            // It is the first of those that are pending, and goes behind the last without touching either.
            self.head.pending.rotate(self.links);
            let turn = self.head.turn;
            self.links.edit(index, |link| link.set_turn(turn));
        } else if !self.again_found(index, period) {
            return false;
        }
        self.head.running = None;
        true
    }

    /// The same for a thread that was found ready or due.
    fn again_found(&mut self, index: Index, period: Period) -> bool {
        let Link { kind, readiness, .. } = *self.links.at(index);
        if kind == Kind::Timer && period.is_none() {
            return false;
        }
        self.head.delist(self.links, index);
        if kind == Kind::Timer {
            let deadline = period.next(self.links.at(index).deadline(), self.head.time);
            self.arm_timer(index, deadline);
        } else {
            // The poller still watches the source, unless it found an error and may have let go of it.
            self.links.edit(index, |link| link.readiness = Readiness::NONE);
            self.head.enlist(
                self.links,
                index,
                if readiness.is_error() { Place::Changed } else { Place::Watched },
            );
        }
        true
    }

    /// Registers the running thread for something else.
    pub(crate) fn again_when(&mut self, index: Index, when: When) -> Result<(), Refusal> {
        if self.other_thread_of(when, Some(index)) {
            return Err(Refusal::Taken);
        }
        let now = self.now_for(when);
        self.head.delist(self.links, index);
        let left = self.source_of(index);
        if left.is_some() {
            sources::remove(self.links, index);
        }
        self.arm(index, when, now);
        if let Some(source) = left {
            if when.source() == left {
                self.links.edit(index, |link| link.place = Place::Changed);
            } else {
                self.tell_removal(source);
            }
        }
        self.head.running = None;
        Ok(())
    }

    /// The id of the thread in that slot.
    pub(crate) fn id(&self, index: Index) -> Option<ThreadId> {
        self.links.at(index).id(index)
    }

    #[inline]
    fn source_of(&self, index: Index) -> Option<Source> {
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
            self.head.slots.free(self.links, index);
        } else {
            self.release_other(index);
        }
    }

    /// The same for a thread that is not among the timers.
    fn release_other(&mut self, index: Index) {
        let was_told = self.links.at(index).place != Place::New;
        let source = self.source_of(index).filter(|_| was_told);
        self.detach(index);
        if let Some(source) = source {
            self.tell_removal(source);
        }
    }

    /// Ends the reader and the writer of a source, which may have neither. The one that runs keeps its slot.
    pub(crate) fn release_source(&mut self, source: Source) {
        let mut was_told = false;
        for kind in [Kind::Read, Kind::Write] {
            let Some(index) = sources::find(self.links, source, kind) else { continue };
            was_told |= self.links.at(index).place != Place::New;
            if self.head.is_running(index) {
                self.head.delist(self.links, index);
                sources::remove(self.links, index);
                self.links.edit(index, |link| link.place = Place::GivenUp);
            } else {
                self.detach(index);
            }
        }
        if was_told {
            self.tell_removal(source);
        }
    }

    /// Takes a thread that is not among the timers out of all lists and frees its slot.
    fn detach(&mut self, index: Index) {
        self.head.delist(self.links, index);
        if self.source_of(index).is_some() {
            sources::remove(self.links, index);
        }
        if self.head.is_running(index) {
            self.head.running = None;
        }
        self.head.slots.free(self.links, index);
    }

    /// Ends the running thread, if its hook did not re-arm it, and says whether it did.
    #[inline]
    pub(crate) fn settle(&mut self) -> bool {
        let Some(index) = self.head.running else { return false };
        self.release(index);
        true
    }
}

/// What the poller is told.
impl Tables<'_> {
    /// Asks the poller to watch a source for all that its threads want.
    fn tell(&mut self, source: Source) -> Result<(), Unwatchable> {
        for kind in [Kind::Read, Kind::Write] {
            let Some(index) = sources::find(self.links, source, kind) else { continue };
            if matches!(self.links.at(index).place, Place::New | Place::Changed) {
                self.head.delist(self.links, index);
                self.links.edit(index, |link| link.place = Place::Watched);
            }
        }
        self.host.modify(source, sources::interest(self.links, source))
    }

    /// A thread of the source has gone. If the poller can't watch the source for the other one, that one is told
    /// with the next changes, and so it is when it runs just now and is re-armed.
    fn tell_removal(&mut self, source: Source) {
        if self.tell(source).is_ok() {
            return;
        }
        for kind in [Kind::Read, Kind::Write] {
            let Some(index) = sources::find(self.links, source, kind) else { continue };
            if self.links.at(index).place == Place::Watched {
                self.head.enlist(self.links, index, Place::Changed);
            } else {
                self.links.edit(index, |link| link.readiness = link.readiness | Readiness::ERROR);
            }
        }
    }

    /// Tells the poller of everything new. The threads of a source that it can't watch are ready with an error.
    fn tell_new(&mut self) {
        while let Some(index) = self.head.new.first() {
            let source = self.links.at(index).source();
            if self.tell(source).is_err() {
                self.head.found(self.links, source, Readiness::ERROR);
            }
        }
    }
}

/// A turn, step by step.
impl Tables<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.head.slots.used() == 0
    }

    /// From here on, execute threads that are added belong to the next turn.
    pub(crate) fn begin_turn(&mut self) {
        self.head.turn = self.head.turn.wrapping_add(1);
    }

    /// The next execute thread that was there when the turn began.
    #[inline]
    pub(crate) fn next_pending(&mut self) -> Option<Index> {
        let first = self.head.pending.first()?;
        if self.links.at(first).turn() == self.head.turn {
            return None;
        }
        self.start(first)
    }

    /// The next thread of those found ready or due: writers, readers, timers.
    pub(crate) fn next_found(&mut self) -> Option<Index> {
        let head = &*self.head;
        let first =
            head.ready_to_write.first().or(head.ready_to_read.first()).or(head.due.first())?;
        self.start(first)
    }

    #[inline]
    fn start(&mut self, index: Index) -> Option<Index> {
        self.head.running = Some(index);
        self.head.hooks = self.head.hooks.saturating_add(1);
        Some(index)
    }

    /// Whether the turn can end without asking the poller.
    pub(crate) fn can_skip_wait(&self, look_every: u32) -> bool {
        !self.head.pending.is_empty() && self.head.hooks < look_every
    }

    /// Tells the poller what is new, and says until when it may wait.
    pub(crate) fn before_wait(&mut self) -> Option<Instant> {
        self.tell_new();
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
        self.head.time = self.head.time.max(now);
        self.timers.advance(self.links, self.head.time);
        while let Some(index) = self.timers.pop(self.links) {
            self.head.enlist(self.links, index, Place::Due);
        }
    }

    /// Walks all tables and checks that they agree.
    pub(crate) fn verify(&self) -> Result<(), &'static str> {
        self.head.slots.verify(self.links)?;
        let mut places = [0_usize; 10];
        let mut with_source = 0_usize;
        for index in self.head.slots.touched() {
            let link = self.links.at(index);
            if let Some(count) = places.get_mut(link.place as usize) {
                *count = count.saturating_add(1);
            }
            if link.place != Place::Vacant && self.source_of(index).is_some() {
                with_source = with_source.saturating_add(1);
            }
        }
        let [_, _, _, timers, new, changed, rest @ ..] = places;
        if timers != self.timers.verify(self.links)? {
            return Err("the timers are not those of the timer structure");
        }
        if with_source != sources::verify(self.links)? {
            return Err("a reader or writer is in no source's chain");
        }
        let head = &*self.head;
        if head.new.verify(self.links)? != new.saturating_add(changed) {
            return Err(
                "the list for the poller does not hold the threads that say they are in it",
            );
        }
        let lists = [head.ready_to_write, head.ready_to_read, head.due, head.pending];
        for (list, count) in lists.iter().zip(rest) {
            if list.verify(self.links)? != count {
                return Err("a list does not hold the threads that say they are in it");
            }
        }
        Ok(())
    }
}

/// What of a registration is kept for `again`.
pub(crate) fn period_of(when: When) -> Period {
    match when {
        When::After(period) => Period::new(period),
        _ => Period::NONE,
    }
}
