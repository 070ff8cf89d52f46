//! The small loop as hooks see it.

use core::cell::Cell;

use crate::error::{AddError, AgainError, RescheduleError, Stale};
use crate::id::{Generation, Index, ThreadId};
use crate::poller::Poller;
use crate::row::Row;
use crate::small::slot::{Place, Slot};
use crate::small::table::Table;
use crate::source::{Interest, Kind, Source};
use crate::threads::{CancelledSource, Hook};
use crate::time::{Instant, Period, Wide, after, later};
use crate::when::Request;

/// The clock of a poller, independent of the poller's other types.
pub(crate) trait Clock {
    fn time(&mut self) -> Instant;
}

impl<P: Poller> Clock for P {
    fn time(&mut self) -> Instant {
        self.now()
    }
}

/// The threads of a small loop, independent of its poller and its capacity.
pub(crate) struct View<'t, S, A> {
    pub(crate) table: &'t mut Table<[Slot<S, A>]>,
    pub(crate) clock: &'t mut (dyn Clock + 't),
}

/// The operations of hooks and of the application.
impl<S, A> View<'_, S, A> {
    pub(crate) fn reborrow(&mut self) -> View<'_, S, A> {
        View { table: self.table, clock: self.clock }
    }

    /// Adds a thread that waits for `request` with the number `value`.
    #[cfg_attr(feature = "large", inline(never))]
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        request: Request,
        value: u64,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<ThreadId, AddError<A>> {
        if self.is_taken(request, value, None) {
            return Err(AddError::Taken(arg));
        }
        let vacant = self.table.slots.iter().position(|slot| slot.place == Place::Vacant);
        let Some(index) = vacant.and_then(Index::new) else { return Err(AddError::Full(arg)) };
        let Some(slot) = self.arm(index, request, value) else { return Err(AddError::Full(arg)) };
        slot.name = Some(name);
        slot.generation = slot.generation.next();
        slot.call = Some((hook, Cell::new(arg)));
        Ok(slot.id(index))
    }

    /// Ends a thread that waits, or was found ready or due. Returns its argument.
    #[cfg_attr(feature = "large", inline(never))]
    pub(crate) fn cancel(&mut self, id: ThreadId) -> Result<A, Stale> {
        let slot = id.index().and_then(|index| self.table.slots.get_mut(index.position()));
        let is_meant = |slot: &&mut Slot<S, A>| slot.generation.number() == id.generation();
        // The argument is not in the slot while the thread runs, and in a vacant slot there is none.
        let slot = slot.filter(is_meant).filter(|slot| slot.call.is_some()).ok_or(Stale)?;
        slot.vacate().ok_or(Stale)
    }

    /// Makes a thread that waits, or was found ready or due, wait for another event.
    #[cfg_attr(feature = "large", inline(never))]
    pub(crate) fn reschedule(
        &mut self,
        id: ThreadId,
        request: Request,
        value: u64,
    ) -> Result<(), RescheduleError> {
        let index = id.index().ok_or(RescheduleError::Stale)?;
        let slot = self.table.slots.get(index.position());
        let is_meant =
            |slot: &Slot<S, A>| slot.generation.number() == id.generation() && slot.call.is_some();
        slot.filter(|slot| is_meant(slot)).ok_or(RescheduleError::Stale)?;
        if self.is_taken(request, value, Some(index)) {
            return Err(RescheduleError::Taken);
        }
        self.arm(index, request, value);
        Ok(())
    }

    /// Ends both threads of a source. The running thread keeps its slot until its hook returns.
    pub(crate) fn cancel_source(&mut self, source: Source) -> CancelledSource<A> {
        let mut end = |claim| {
            let slot = self.table.slots.iter_mut().find(|slot| slot.has(claim, source))?;
            if slot.place == Place::Running {
                slot.place = Place::GivenUp;
                return None;
            }
            slot.vacate()
        };
        // A thread that waits for both counts as a reader.
        CancelledSource { reader: end(Interest::READABLE), writer: end(Interest::WRITABLE) }
    }

    /// Makes the running thread wait for the same event again.
    #[cfg_attr(feature = "large", inline(never))]
    pub(crate) fn again(
        &mut self,
        index: Index,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<(), AgainError<A>> {
        let (stamp, now) = (self.table.next_stamp(), self.table.wait_ended);
        let Some(slot) = self.table.slots.get_mut(index.position()) else {
            return Err(AgainError::SourceCancelled(arg));
        };
        if slot.place == Place::GivenUp {
            return Err(AgainError::SourceCancelled(arg));
        }
        let is_timer = slot.kind == Kind::Timer;
        if is_timer && slot.period.is_none() {
            return Err(AgainError::NoPeriod(arg));
        }
        slot.call = Some((hook, Cell::new(arg)));
        slot.wait(stamp);
        if is_timer {
            let next = slot.period.next(Instant::from_micros(slot.key.get()), now);
            slot.key = Wide::new(next.as_micros());
        }
        Ok(())
    }

    /// Makes the running thread wait for another event.
    #[cfg_attr(feature = "large", inline(never))]
    pub(crate) fn again_when(
        &mut self,
        index: Index,
        request: Request,
        value: u64,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<(), AgainError<A>> {
        if self.table.slots.get(index.position()).is_none_or(|slot| slot.place == Place::GivenUp) {
            return Err(AgainError::SourceCancelled(arg));
        }
        if self.is_taken(request, value, Some(index)) {
            return Err(AgainError::Taken(arg));
        }
        let Some(slot) = self.arm(index, request, value) else {
            return Err(AgainError::SourceCancelled(arg));
        };
        slot.call = Some((hook, Cell::new(arg)));
        Ok(())
    }

    pub(crate) fn set_period(&mut self, index: Index, micros: u64) {
        if let Some(slot) = self.table.slots.get_mut(index.position()) {
            slot.period = Period::from_micros(micros);
        }
    }

    /// Ends the running thread.
    #[cfg_attr(feature = "large", inline(never))]
    pub(crate) fn end(&mut self, index: Index) {
        if let Some(slot) = self.table.slots.get_mut(index.position()) {
            slot.vacate();
        }
    }

    pub(crate) fn stop(&mut self) {
        self.table.is_stopping = true;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.table.is_stopping
    }

    /// Returns the time, which never goes back.
    pub(crate) fn now(&mut self) -> Instant {
        let known = later(self.table.read_at, self.table.wait_ended);
        self.table.read_at = later(known, self.clock.time());
        self.table.read_at
    }

    /// Returns whether another thread than that of the slot `own` waits for what is requested of a source.
    fn is_taken(&self, request: Request, value: u64, own: Option<Index>) -> bool {
        let (claim, source) = (request.kind().claim(), Source::new(value as u32));
        let own = own.map_or(usize::MAX, Index::position);
        let mut slots = self.table.slots.iter().enumerate();
        slots.any(|(at, slot)| at != own && slot.has(claim, source))
    }

    /// Makes a thread wait for `request`.
    fn arm(&mut self, index: Index, request: Request, value: u64) -> Option<&mut Slot<S, A>> {
        let key = match request {
            // A delay of zero has passed already.
            Request::After if value == 0 => self.table.wait_ended.as_micros(),
            Request::After => after(self.now(), value).as_micros(),
            _ => value,
        };
        let stamp = self.table.next_stamp();
        let slot = self.table.slots.get_mut(index.position())?;
        slot.kind = request.kind();
        slot.key = Wide::new(key);
        if request == Request::After {
            slot.period = request.period(value);
        }
        slot.wait(stamp);
        Some(slot)
    }
}

/// The visible state.
impl<S, A> View<'_, S, A> {
    pub(crate) fn turn_time(&self) -> Instant {
        self.table.wait_ended
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.table.count(|slot| slot.place != Place::Retired)
    }

    /// Returns the largest number of threads so far. A slot is first given out when all slots before it have a thread
    /// (or are retired, and count as used).
    pub(crate) fn most_used(&self) -> u32 {
        self.table.count(|slot| slot.generation != Generation::NONE) as u32
    }

    pub(crate) fn strays(&self) -> u32 {
        self.table.strays
    }

    pub(crate) fn slots(&self) -> usize {
        self.table.slots.len()
    }

    #[inline(always)]
    pub(crate) fn row(&self, index: Index) -> Option<Row> {
        self.table.slots.get(index.position())?.row(index)
    }

    pub(crate) fn name(&self, index: Index) -> &'static str {
        self.table.slots.get(index.position()).and_then(|slot| slot.name).unwrap_or("")
    }

    /// Returns the argument of a thread whose hook does not run.
    pub(crate) fn arg(&mut self, index: Index) -> Option<&A> {
        let (_, arg) = self.table.slots.get_mut(index.position())?.call.as_mut()?;
        Some(arg.get_mut())
    }

    pub(crate) fn verify(&self) -> Result<(), &'static str> {
        self.table.verify()
    }
}
