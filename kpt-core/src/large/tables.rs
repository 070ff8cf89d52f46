//! The large loop without the application's types: all operations on threads except calling their hooks.

use crate::budget;
use crate::error::RescheduleError;
use crate::id::{Index, ThreadId};
use crate::large::found::Found;
use crate::large::head::Head;
use crate::large::link::{Link, Links, Place};
use crate::large::queues::Queues;
use crate::large::registry::{Again, Refusal, Registry};
use crate::large::timers::Timers;
use crate::poller::{HookCall, Poller, Ready, Waiting};
use crate::source::{Interest, Kind, Readiness, Source};
use crate::time::{Instant, Period, after, before, later};
use crate::when::Request;

/// A loop without its hooks and arguments. Its operations are compiled once for each poller, whatever the application.
pub(crate) struct Tables<P, L, W> {
    pub(crate) head: Head,
    pub(crate) queues: Queues<W>,
    pub(crate) poller: P,
    pub(crate) links: L,
}

impl<P: Poller, L: AsRef<[Link]> + AsMut<[Link]>, W: Timers> Registry for Tables<P, L, W> {
    fn head(&self) -> Option<&Head> {
        Some(&self.head)
    }

    fn stop(&mut self) {
        self.head.is_stopping = true;
    }

    fn links(&self) -> &[Link] {
        self.links.as_ref()
    }

    fn slots_used(&self) -> usize {
        self.queues.slots_used()
    }

    fn now(&mut self) -> Instant {
        // Not earlier than the end of the last wait: if the clock went back, timers would start in the past.
        let now = later(later(self.head.read_at, self.queues.position()), self.poller.now());
        self.head.read_at = now;
        now
    }

    fn turn_time(&self) -> Instant {
        self.queues.position()
    }

    fn register(
        &mut self,
        thread: Option<Index>,
        request: Request,
        value: u64,
    ) -> Result<ThreadId, Refusal> {
        if thread.is_some() || request.kind() != Kind::Timer {
            return self.register_any(thread, request, value);
        }
        // A full loop does not read the clock.
        let slot = self.first(Place::Vacant).ok_or(Refusal::Full)?;
        let deadline = self.key(request, value);
        self.head.count_added();
        self.queues.add_timer(self.links.as_mut(), slot, deadline).ok_or(Refusal::Full)
    }

    fn again(&mut self, index: Index, period: Period) -> Again {
        if self.queues.rotate_pending(self.links.as_mut(), index, self.head.turn) {
            self.head.running = None;
            return Again::Done;
        }
        self.again_waiting(index, period)
    }

    fn reschedule(
        &mut self,
        index: Index,
        id: ThreadId,
        request: Request,
        value: u64,
    ) -> Result<(), RescheduleError> {
        let link = self.at(index);
        if !link.is_tenant(id) {
            return Err(RescheduleError::Stale);
        }
        if link.place == Place::Timers && request.kind() == Kind::Timer {
            let deadline = Instant::from_micros(self.key(request, value));
            self.queues.reschedule_timer(self.links.as_mut(), index, deadline);
            return Ok(());
        }
        if link.place <= Place::Retired {
            return Err(RescheduleError::Stale);
        }
        self.register_any(Some(index), request, value).map_err(|_| RescheduleError::Taken)?;
        Ok(())
    }

    fn release(&mut self, index: Index) {
        let link = self.at(index);
        let place = link.place;
        if matches!(place, Place::Due | Place::Pending) && !link.is_spent() {
            self.queues.remove_called(self.links.as_mut(), index, place);
            return self.head.count_ended(index);
        }
        self.release_any(index);
    }

    fn release_tenant(&mut self, index: Index, id: ThreadId) -> bool {
        let link = self.at(index);
        if !link.is_tenant(id) {
            return false;
        }
        if link.place != Place::Timers || link.is_spent() {
            return self.release_any_tenant(index);
        }
        // Before the removal, which may be a call: a later use would need to save values across it.
        self.head.used = self.head.used.wrapping_sub(1);
        self.queues.remove_timer(self.links.as_mut(), index);
        true
    }

    fn release_source(&mut self, source: Source) -> [Option<Index>; 2] {
        let reader = self.find(source, Interest::READABLE, None);
        // A thread that waits for both counts as a reader.
        let found = [self.find(source, Interest::WRITABLE, reader), reader];
        for index in found.into_iter().flatten() {
            if self.head.is_running(index) {
                self.move_to(index, Place::GivenUp);
            } else {
                self.vacate(index);
            }
        }
        if found != [None; 2] {
            self.tell(source);
        }
        found
    }

    fn verify(&self) -> Result<(), &'static str> {
        crate::large::verify::verify(&self.head, self.links.as_ref(), &self.queues)
    }
}

/// The building blocks of these operations.
impl<P: Poller, L: AsRef<[Link]> + AsMut<[Link]>, W: Timers> Tables<P, L, W> {
    #[inline]
    fn at(&self, index: Index) -> &Link {
        self.links.as_ref().at(index)
    }

    #[inline]
    fn edit(&mut self, index: Index, change: impl FnOnce(&mut Link)) {
        self.links.as_mut().edit(index, change);
    }

    #[inline]
    fn move_to(&mut self, index: Index, place: Place) {
        self.queues.move_to(self.links.as_mut(), index, place);
    }

    #[inline]
    fn first(&self, place: Place) -> Option<Index> {
        self.queues.first(self.links.as_ref(), place)
    }

    #[inline]
    fn next_of(&self, source: Source, after: Option<Index>) -> Option<Index> {
        self.queues.next_of(self.links.as_ref(), source, after)
    }

    /// Returns the thread that can wait for `claim` of a source, if it is another than `own`.
    fn find(&self, source: Source, claim: Interest, own: Option<Index>) -> Option<Index> {
        let is_meant = |index| own != Some(index) && self.at(index).kind.claim().intersects(claim);
        let mut at = self.next_of(source, None);
        while let Some(index) = at.filter(|&index| !is_meant(index)) {
            at = self.next_of(source, Some(index));
        }
        at
    }

    #[inline]
    fn source_of(&self, index: Index) -> Option<Source> {
        let link = self.at(index);
        link.place.has_source().then(|| link.source())
    }

    /// Returns what a thread waits for, as its link stores it.
    #[inline]
    fn key(&mut self, request: Request, value: u64) -> u64 {
        match request {
            // A delay of zero has passed already.
            Request::After if value == 0 => self.queues.position().as_micros(),
            Request::After => after(self.now(), value).as_micros(),
            Request::Now => u64::from(self.head.turn),
            _ => value,
        }
    }

    /// Does `register` for all but new timers.
    #[inline(never)]
    fn register_any(
        &mut self,
        thread: Option<Index>,
        request: Request,
        value: u64,
    ) -> Result<ThreadId, Refusal> {
        let kind = request.kind();
        if kind.has_source() {
            let source = Source::new(value as u32);
            if self.find(source, kind.claim(), thread).is_some() {
                return Err(Refusal::Taken);
            }
            if let Some(index) = thread.filter(|&index| self.rearm_for_same(index, kind, source)) {
                return Ok(self.at(index).id(index));
            }
        }
        let index = match thread {
            Some(index) => index,
            None => self.first(Place::Vacant).ok_or(Refusal::Full)?,
        };
        // Computed before anything changes, since a poller may panic.
        let key = self.key(request, value);
        if thread.is_none() {
            self.head.count_added();
            self.edit(index, Link::count_tenant);
        }
        let left = thread.and_then(|index| self.source_of(index));
        if thread.is_some() {
            self.move_to(index, Place::GivenUp);
        }
        self.arm(index, kind, key);
        if let Some(left) = left.filter(|_| self.source_of(index) != left) {
            self.tell(left);
        }
        if self.head.is_running(index) {
            // Not earlier: if the poller panics, the thread, which has no hook, has ended.
            self.head.running = None;
        }
        Ok(self.at(index).id(index))
    }

    /// Makes a thread wait for what it waited for, or was found ready for, and returns `true`. Returns `false`, and changes
    /// nothing, if that is something else, or the poller has to be told once more because an error was found.
    fn rearm_for_same(&mut self, index: Index, kind: Kind, source: Source) -> bool {
        let link = self.at(index);
        let (place, is_same) = (link.place, link.kind == kind && link.source() == source);
        if !place.has_source() || !is_same || link.readiness.is_error() {
            return false;
        }
        if place.is_ready() {
            self.queues.watch_again(self.links.as_mut(), index, place);
        }
        if self.head.is_running(index) {
            self.head.running = None;
        }
        true
    }

    /// Makes a thread wait for `kind` and `key`. Its place MUST be one that uses neither its source nor its deadline.
    #[inline]
    fn arm(&mut self, index: Index, kind: Kind, key: u64) {
        self.edit(index, |link| link.wait_for(kind, key));
        let place = match kind {
            Kind::Read | Kind::Write | Kind::ReadWrite | Kind::Paused => Place::Untold,
            Kind::Timer => Place::Timers,
            Kind::Execute => Place::Pending,
        };
        self.move_to(index, place);
    }

    /// Does `again` for threads that are not pending. Most are readers or writers that were found ready, without an
    /// error.
    #[inline(never)]
    fn again_waiting(&mut self, index: Index, period: Period) -> Again {
        let link = self.at(index);
        let place = link.place;
        if !place.is_ready() || link.readiness.is_error() {
            return self.again_any(index, period);
        }
        self.queues.watch_again(self.links.as_mut(), index, place);
        self.head.running = None;
        Again::Done
    }

    /// Does `again` for threads that are neither pending nor found ready without an error.
    #[inline(never)]
    fn again_any(&mut self, index: Index, period: Period) -> Again {
        let link = self.at(index);
        let (place, kind) = (link.place, link.kind);
        if place == Place::GivenUp {
            return Again::Ended;
        }
        if kind.has_source() {
            // After an error, the poller may have stopped watching the source.
            self.edit(index, |link| link.readiness = Readiness::NONE);
            self.move_to(index, Place::Untold);
        } else if kind == Kind::Execute {
            self.arm(index, kind, u64::from(self.head.turn));
        } else if period.is_none() {
            return Again::NoPeriod;
        } else {
            let deadline = period.next(link.deadline(), self.queues.position());
            self.queues.rearm_timer(self.links.as_mut(), index, deadline);
        }
        self.head.running = None;
        Again::Done
    }

    /// Does `release_tenant` for a thread in any place.
    #[inline(never)]
    fn release_any_tenant(&mut self, index: Index) -> bool {
        // A vacant slot's body has a hook if a poller has panicked during a release.
        let is_there = self.at(index).place > Place::Retired;
        if is_there {
            self.release(index);
        }
        is_there
    }

    /// Does `release` for a thread in any place.
    #[inline(never)]
    fn release_any(&mut self, index: Index) {
        let source = self.source_of(index);
        self.vacate(index);
        if let Some(source) = source {
            self.tell(source);
        }
    }

    /// Vacates the slot of a thread, or retires it.
    #[inline]
    fn vacate(&mut self, index: Index) {
        if self.at(index).is_spent() {
            self.move_to(index, Place::Retired);
            self.head.retired = self.head.retired.wrapping_add(1);
        } else {
            self.move_to(index, Place::Vacant);
        }
        self.head.count_ended(index);
    }

    /// Tells the poller all interest in a source. Returns whether it refuses; the next wait then begins with telling it
    /// again.
    fn tell(&mut self, source: Source) -> bool {
        let (mut interest, mut at) = (Interest::NONE, None);
        while let Some(index) = self.next_of(source, at) {
            at = Some(index);
            interest = interest | self.at(index).kind.interest();
            // Until the poller answers, so that it is asked again if it panics.
            if self.at(index).place == Place::Watched {
                self.move_to(index, Place::Untold);
            }
        }
        let is_refused = self.poller.modify(source, interest).is_err();
        at = None;
        while let Some(index) = self.next_of(source, at) {
            at = Some(index);
            if !self.at(index).place.is_ready() {
                self.move_to(index, if is_refused { Place::Untold } else { Place::Watched });
            } else if is_refused {
                // So that the poller is told again when the thread is re-armed.
                self.edit(index, |link| link.readiness = link.readiness | Readiness::ERROR);
            }
        }
        is_refused
    }
}

/// Operations of the loop.
impl<P: Poller, L: AsRef<[Link]> + AsMut<[Link]>, W: Timers> Tables<P, L, W> {
    /// Retires the slots from `position` on, which have no body. MUST be called only on new tables. Touches no memory
    /// if each slot has a body.
    pub(crate) fn retire_from(&mut self, position: usize) {
        for link in self.links.as_mut().get_mut(position..).unwrap_or_default() {
            link.place = Place::Retired;
            self.head.retired = self.head.retired.wrapping_add(1);
        }
    }

    /// Returns the next thread of those found ready or due: writers, readers, timers.
    #[inline]
    pub(crate) fn next_found(&self) -> Option<Index> {
        self.next_ready().filter(|_| !self.head.is_stopping)
    }

    #[inline]
    fn next_ready(&self) -> Option<Index> {
        let found = self.first(Place::ReadyToWrite).or_else(|| self.first(Place::ReadyToRead));
        found.or_else(|| self.first(Place::Due))
    }

    /// Returns the next execute thread that was there when the turn began.
    #[inline]
    pub(crate) fn next_pending(&self) -> Option<Index> {
        let first = self.first(Place::Pending)?;
        let is_next = !self.head.is_stopping && self.at(first).turn() != self.head.turn;
        is_next.then_some(first)
    }

    /// Ends the thread whose hook was called last, unless the hook has re-armed it.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if let Some(index) = self.head.running {
            self.release(index);
        }
    }

    /// Returns whether the turn can end without asking the poller.
    #[inline]
    pub(crate) fn can_skip_wait(&self) -> bool {
        self.head.hooks_since_wait < P::LOOK_AFTER_HOOKS && self.first(Place::Pending).is_some()
    }

    /// Starts the budget of execute threads, after the hooks of all that the wait has found: the clock is read after
    /// the first execute thread from here on.
    #[inline]
    pub(crate) fn start_budget(&mut self) {
        self.head.hooks_since_wait = 0;
    }

    /// Returns whether the execute threads of a turn have used up their budget.
    #[inline]
    pub(crate) fn is_budget_spent(&mut self) -> bool {
        let (hooks, wait_ended) = (self.head.hooks_since_wait, self.queues.position());
        P::LOOK_AFTER_HOOKS > 1 && budget::is_spent(&mut self.poller, hooks, wait_ended)
    }

    /// Returns what the poller is told of a call of the thread, which has that name.
    #[inline(always)]
    pub(crate) fn hook_call(&self, index: Index, name: &'static str) -> HookCall {
        let link = self.at(index);
        let (id, kind) = (link.id(index), link.kind);
        let due = if kind == Kind::Timer { link.deadline() } else { self.queues.position() };
        HookCall { id, name, kind, due }
    }

    /// Returns whether no thread has ever been added.
    pub(crate) fn is_new(&self) -> bool {
        self.head.most_used == 0
    }

    fn found(&mut self) -> Found<'_, W> {
        Found { head: &mut self.head, queues: &mut self.queues, links: self.links.as_mut() }
    }

    /// Returns until when the loop can sleep.
    pub(crate) fn until(&self) -> Instant {
        if self.first(Place::Pending).is_some() || self.next_ready().is_some() {
            return Instant::ZERO;
        }
        match self.queues.next_deadline(self.links.as_ref()) {
            Instant::ZERO => Instant::ZERO,
            deadline => after(deadline, self.head.slack),
        }
    }

    /// Tells the poller of changed interest, waits, without sleeping unless it may, and notes which threads are ready
    /// or due.
    ///
    /// Never inlined, so that it needs no stack while hooks run.
    #[inline(never)]
    pub(crate) fn wait(&mut self, may_sleep: bool) -> Result<(), P::Error> {
        while let Some(index) = self.first(Place::Untold) {
            // Only here, and not when a hook has the poller told: no thread becomes ready during a step.
            let source = self.at(index).source();
            if self.tell(source) {
                self.found().push(source, Readiness::ERROR);
            }
        }
        self.head.hooks_since_wait = 0;
        let until = if may_sleep { self.until() } else { Instant::ZERO };
        let Self { head, queues, poller, links } = self;
        let mut found = Found { head, queues, links: links.as_mut() };
        let mut now = poller.wait(until, &mut Ready::new(&mut found))?;
        if found.head.slack > 0 && now < until {
            // The slack is not used up, and a source has ended the sleep. The poller may have looked before a deadline
            // that has passed since. That timer waits for the next look, so that events from before its deadline are
            // served first.
            now = now.min(before(found.queues.next_deadline(found.links)));
        }
        found.queues.advance(found.links, now);
        Ok(())
    }
}
