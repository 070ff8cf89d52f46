//! The large loop as hooks see it: the tables, which do not depend on the application's types, and the bodies, which
//! do.

use core::cell::Cell;

use crate::error::{AddError, AgainError, RescheduleError, Stale};
use crate::id::{Index, ThreadId};
use crate::large::link::{Links, Place};
use crate::large::registry::{Again, Refusal, Registry};
use crate::large::storage::Body;
use crate::row::{Row, State};
use crate::source::Source;
use crate::threads::{CancelledSource, Hook};
use crate::time::{Instant, Period};
use crate::when::Request;

/// The tables of a large loop, independent of its poller, its capacity and its timer structure.
pub(crate) struct View<'t, S, A> {
    pub(crate) tables: &'t mut (dyn Registry + 't),
    pub(crate) bodies: &'t mut [Body<S, A>],
}

impl<'t, S, A> View<'t, S, A> {
    /// Creates a view of an empty loop, which has no room for threads.
    pub(crate) fn of_nothing() -> Self {
        Self { tables: &mut [] as &mut [NoTables; 0], bodies: &mut [] }
    }

    pub(crate) fn reborrow(&mut self) -> View<'_, S, A> {
        View { tables: self.tables, bodies: self.bodies }
    }

    pub(crate) fn add(
        &mut self,
        name: &'static str,
        request: Request,
        value: u64,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<ThreadId, AddError<A>> {
        let id = match self.tables.register(None, request, value) {
            Ok(id) => id,
            Err(Refusal::Full) => return Err(AddError::Full(arg)),
            Err(Refusal::Taken) => return Err(AddError::Taken(arg)),
        };
        let Some(body) = self.bodies.get_mut(id.position()) else {
            debug_assert!(false, "slot {} has no body", id.position());
            return Err(AddError::Full(arg));
        };
        *body = Body {
            name: Some(name),
            call: Some((hook, Cell::new(arg))),
            period: request.period(value),
        };
        Ok(id)
    }

    pub(crate) fn cancel(&mut self, id: ThreadId) -> Result<A, Stale> {
        let index = id.index().ok_or(Stale)?;
        let body = self.bodies.get_mut(index.position()).ok_or(Stale)?;
        // A body without a hook: the slot is vacant, or its thread runs. The body is read before the link, so that both
        // come from memory at the same time.
        if body.call.is_none() || !self.tables.release_tenant(index, id) {
            return Err(Stale);
        }
        let (_, arg) = body.call.take().ok_or(Stale)?;
        Ok(arg.into_inner())
    }

    pub(crate) fn reschedule(
        &mut self,
        id: ThreadId,
        request: Request,
        value: u64,
    ) -> Result<(), RescheduleError> {
        let index = id.index().ok_or(RescheduleError::Stale)?;
        let body = self.bodies.get_mut(index.position()).ok_or(RescheduleError::Stale)?;
        // A body without a hook: the slot is vacant, or its thread runs.
        if body.call.is_none() {
            return Err(RescheduleError::Stale);
        }
        self.tables.reschedule(index, id, request, value)?;
        if request == Request::After {
            body.period = request.period(value);
        }
        Ok(())
    }

    pub(crate) fn cancel_source(&mut self, source: Source) -> CancelledSource<A> {
        let [writer, reader] = self.tables.release_source(source);
        let mut take_arg = |index: Option<Index>| {
            let (_, arg) = self.bodies.get_mut(index?.position())?.call.take()?;
            Some(arg.into_inner())
        };
        CancelledSource { reader: take_arg(reader), writer: take_arg(writer) }
    }

    pub(crate) fn again(
        &mut self,
        index: Index,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<(), AgainError<A>> {
        let Some(body) = self.bodies.get_mut(index.position()) else {
            return Err(AgainError::SourceCancelled(arg));
        };
        match self.tables.again(index, body.period) {
            Again::Done => body.call = Some((hook, Cell::new(arg))),
            Again::Ended => return Err(AgainError::SourceCancelled(arg)),
            Again::NoPeriod => return Err(AgainError::NoPeriod(arg)),
        }
        Ok(())
    }

    pub(crate) fn again_when(
        &mut self,
        index: Index,
        request: Request,
        value: u64,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<(), AgainError<A>> {
        if self.tables.links().at(index).place == Place::GivenUp {
            return Err(AgainError::SourceCancelled(arg));
        }
        let Some(body) = self.bodies.get_mut(index.position()) else {
            return Err(AgainError::SourceCancelled(arg));
        };
        // Stored before the poller is called: if the poller panics, the argument is dropped after the thread has ended.
        body.call = Some((hook, Cell::new(arg)));
        if self.tables.register(Some(index), request, value).is_err() {
            let call = body.call.take();
            return call.map_or(Ok(()), |(_, arg)| Err(AgainError::Taken(arg.into_inner())));
        }
        if request == Request::After {
            body.period = request.period(value);
        }
        Ok(())
    }

    pub(crate) fn set_period(&mut self, index: Index, micros: u64) {
        if let Some(body) = self.bodies.get_mut(index.position()) {
            body.period = Period::from_micros(micros);
        }
    }

    pub(crate) fn end(&mut self, index: Index) {
        self.tables.release(index);
        if let Some(body) = self.bodies.get_mut(index.position()) {
            body.call = None;
        }
    }

    pub(crate) fn stop(&mut self) {
        self.tables.stop();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.tables.head().is_some_and(|head| head.is_stopping)
    }

    pub(crate) fn now(&mut self) -> Instant {
        self.tables.now()
    }

    pub(crate) fn turn_time(&self) -> Instant {
        self.tables.turn_time()
    }

    pub(crate) fn len(&self) -> usize {
        self.tables.head().map_or(0, |head| head.used as usize)
    }

    pub(crate) fn most_used(&self) -> u32 {
        self.tables.head().map_or(0, |head| head.most_used)
    }

    pub(crate) fn strays(&self) -> u32 {
        self.tables.head().map_or(0, |head| head.strays)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.tables.head().map_or(0, |head| head.capacity(self.tables.links()))
    }

    /// Returns how many slots, counted from the first, have ever had a thread.
    pub(crate) fn slots(&self) -> usize {
        self.tables.slots_used()
    }

    pub(crate) fn row(&self, index: Index) -> Option<Row> {
        let link = self.tables.links().get(index.position())?;
        let state = match link.place {
            Place::Vacant | Place::Retired => return None,
            _ if self.tables.head()?.is_running(index) => State::Running,
            Place::GivenUp | Place::Timers | Place::Untold | Place::Watched => State::Waiting,
            Place::ReadyToWrite | Place::ReadyToRead | Place::Due | Place::Pending => State::Ready,
        };
        let name = self.name(index);
        let (kind, readiness) = (link.kind, link.readiness);
        let key = if kind.has_source() {
            u64::from(link.source().number())
        } else {
            link.deadline().as_micros()
        };
        Some(Row { id: link.id(index), name, kind, state, readiness, key })
    }

    pub(crate) fn name(&self, index: Index) -> &'static str {
        self.bodies.get(index.position()).and_then(|body| body.name).unwrap_or("")
    }

    /// Returns the argument of a thread whose hook does not run.
    pub(crate) fn arg(&mut self, index: Index) -> Option<&A> {
        let (_, arg) = self.bodies.get_mut(index.position())?.call.as_mut()?;
        Some(arg.get_mut())
    }

    pub(crate) fn verify(&self) -> Result<(), &'static str> {
        self.tables.verify()
    }
}

/// The tables of an empty loop.
struct NoTables;

impl Registry for [NoTables; 0] {}
