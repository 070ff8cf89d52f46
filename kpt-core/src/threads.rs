//! What hooks see of the loop: the threads, to add to and to take from.

use core::fmt;
use core::time::Duration;

use crate::dump::{Dump, DumpWith};
use crate::error::{AddError, RescheduleError, Stale};
use crate::id::{Index, ThreadId};
use crate::log::{ShowArgs, Shown};
use crate::row::Row;
use crate::source::Source;
use crate::tables::Tables;
use crate::thread::Thread;
use crate::time::Instant;
use crate::when::{Request, Wanted, When};

/// What a thread does: a function of the application's state `S` and of the thread, which holds the argument.
///
/// A method `fn on_tick(&mut self, thread: Thread<Self>)` is a hook, and so is a closure that captures nothing. It is
/// called once each time the thread is added or re-armed. It runs to its end before any other hook
/// does, so it should not block.
pub type Hook<S, A = ()> = fn(&mut S, Thread<'_, S, A>);

/// The threads of a loop, with an argument of type `A` each.
///
/// From a loop's [`threads`](crate::FixedLoop::threads), and inside hooks from [`Thread::threads`]. Where a function takes
/// it by value and is called more than once, [`reborrow`](Self::reborrow) lends it.
///
/// An operation costs O(1) on average in a large loop, and O(capacity) in a small one; `dump` and `verify` look at all
/// threads.
pub struct Threads<'t, S, A = ()> {
    pub(crate) tables: Tables<'t, S, A>,
    pub(crate) show: ShowArgs<A>,
}

impl<'t, S, A> Threads<'t, S, A> {
    pub(crate) fn new(tables: Tables<'t, S, A>, show: ShowArgs<A>) -> Self {
        Self { tables, show }
    }

    /// Adds a thread. Its hook is called once, when `when` says, and never before the hook that adds it has returned.
    ///
    /// `name` is for logs and `dump`. Threads for the same moment run in the order of arming.
    ///
    /// # Errors
    /// [`AddError`] with the argument: the source has a thread of that kind, or the loop is full. The thread that runs
    /// keeps its slot until it calls [`end`](Thread::end) or returns, and its source until then or until
    /// [`cancel_source`](Self::cancel_source). Nothing has changed.
    #[inline(always)]
    pub fn add(
        &mut self,
        name: &'static str,
        when: When,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<ThreadId, AddError<A>> {
        let (request, value) = Request::new(when);
        self.add_request(name, value, request, hook, arg)
    }

    fn add_request(
        &mut self,
        name: &'static str,
        value: u64,
        request: Request,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<ThreadId, AddError<A>> {
        let added = self.tables.add(name, request, value, hook, arg);
        match &added {
            Ok(id) => crate::log::trace!(
                "thread {} {}{}: added, {}",
                name,
                *id,
                self.shown(*id),
                Wanted(request, value)
            ),
            // The caller decides what that means.
            Err(error) => crate::log::trace!(
                "thread {}{}: not added, {}; {} threads are there: {}",
                name,
                self.show.shown(Some(error.arg())),
                Wanted(request, value),
                self.len(),
                error
            ),
        }
        added
    }

    /// Adds a thread as [`add`](Self::add) does, if at least `vacant` slots are vacant after that: so that threads of one
    /// purpose leave room for those of another.
    ///
    /// # Errors
    /// The same as [`add`](Self::add); `Full` also if fewer slots would be vacant.
    pub fn add_leaving(
        &mut self,
        vacant: usize,
        name: &'static str,
        when: When,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<ThreadId, AddError<A>> {
        if self.vacant() <= vacant {
            return Err(AddError::Full(arg));
        }
        self.add(name, when, hook, arg)
    }

    /// Adds a read thread: the hook is called when `source` is readable, its other side has gone, or it has an error.
    /// It may be called for nothing, so it reads without blocking. Where [`readiness`](Thread::readiness) has
    /// [`ERROR`](crate::Readiness::ERROR), a thread that is re-armed is called again at once.
    ///
    /// # Errors
    /// The same as [`add`](Self::add).
    #[inline(always)]
    pub fn add_read(
        &mut self,
        name: &'static str,
        source: Source,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<ThreadId, AddError<A>> {
        self.add(name, When::Readable(source), hook, arg)
    }

    /// Adds a write thread: the hook is called when `source` is writable, its other side has gone, or it has an error.
    ///
    /// # Errors
    /// The same as [`add`](Self::add).
    #[inline(always)]
    pub fn add_write(
        &mut self,
        name: &'static str,
        source: Source,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<ThreadId, AddError<A>> {
        self.add(name, When::Writable(source), hook, arg)
    }

    /// Adds a timer: the hook is called when `delay` has passed since this call, rounded up to whole microseconds, and
    /// never before. `delay` is its period, too, should the hook call [`again`](Thread::again).
    ///
    /// # Errors
    /// The same as [`add`](Self::add).
    #[inline(always)]
    pub fn add_timer(
        &mut self,
        name: &'static str,
        delay: Duration,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<ThreadId, AddError<A>> {
        self.add(name, When::After(delay), hook, arg)
    }

    /// Adds an execute thread: the hook is called in the next turn, before the loop waits. It is what asyncio calls
    /// `call_soon`, and FRR an event.
    ///
    /// # Errors
    /// The same as [`add`](Self::add).
    #[inline(always)]
    pub fn add_execute(
        &mut self,
        name: &'static str,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<ThreadId, AddError<A>> {
        self.add(name, When::Now, hook, arg)
    }

    /// Ends a thread before its hook is called, and returns its argument. A thread that was found ready or due does not
    /// run any more. Any id of this loop may be given at any time.
    ///
    /// If it was the reader or writer of a source, the poller has let go of that interest when this returns.
    ///
    /// # Errors
    /// [`Stale`] if the thread has ended, or is the one that runs; that one has [`end`](Thread::end).
    pub fn cancel(&mut self, id: ThreadId) -> Result<A, Stale> {
        let arg = self.tables.cancel(id)?;
        crate::log::trace!(
            "thread {} {}{}: cancelled",
            self.name_of(id),
            id,
            self.show.shown(Some(&arg))
        );
        Ok(arg)
    }

    /// Has a thread that waits wait for something else: another delay, a moment, another source, or writing in place of
    /// reading. It keeps id, name, hook and argument, and stands behind those that were armed before. It is never refused
    /// for want of room. Only `After` and `AfterDeadline` set the period.
    ///
    /// - A timer that is due, a reader or writer that was found ready, and an execute thread that is pending don't run for
    ///   what they waited for until now.
    /// - If the thread leaves a source, the poller has let go of that interest when this returns.
    ///
    /// It costs less than to cancel a thread and to add another.
    ///
    /// # Errors
    /// [`RescheduleError::Stale`] if the thread has ended, or is the one that runs (which has
    /// [`again_when`](Thread::again_when)); [`RescheduleError::Taken`] if another thread of that kind has that source.
    /// Nothing has changed.
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use kpt_core::{Exit, FixedLoop, Thread, ThreadId, When, sim::{SimPoller, World}};
    /// struct Session {
    ///     idle: Option<ThreadId>,
    /// }
    ///
    /// impl Session {
    ///     /// A request puts the end off.
    ///     fn on_request(&mut self, mut thread: Thread<Self>) {
    ///         if let Some(idle) = self.idle {
    ///             let _ = thread.threads().reschedule(idle, When::After(Duration::from_secs(30)));
    ///         }
    ///     }
    ///
    ///     fn on_idle(&mut self, _: Thread<Self>) {
    ///         self.idle = None;
    ///     }
    /// }
    ///
    /// let world = World::<4>::new();
    /// let mut kpt: FixedLoop<_, Session, 4> = FixedLoop::new(SimPoller::new(&world));
    /// let idle = kpt.threads().add_timer("idle", Duration::from_secs(30), Session::on_idle, ())?;
    /// kpt.threads().add_timer("request", Duration::from_secs(20), Session::on_request, ())?;
    /// assert_eq!(kpt.run(&mut Session { idle: Some(idle) }), Ok(Exit::Empty));
    /// assert_eq!(world.now().as_micros(), 50_000_000);
    /// # Ok::<(), kpt_core::AddError<()>>(())
    /// ```
    #[inline(always)]
    pub fn reschedule(&mut self, id: ThreadId, when: When) -> Result<(), RescheduleError> {
        let (request, value) = Request::new(when);
        if let When::AfterDeadline(_) = when {
            return self.reschedule_after_deadline(id, value);
        }
        self.reschedule_request(id, request, value)
    }

    fn reschedule_after_deadline(
        &mut self,
        id: ThreadId,
        period: u64,
    ) -> Result<(), RescheduleError> {
        let row = id.index().and_then(|index| self.row(index)).filter(|row| row.id == id);
        let Some(deadline) = row.ok_or(RescheduleError::Stale)?.deadline() else {
            return self.reschedule_request(id, Request::After, period);
        };
        let (request, value) = Request::after_deadline(period, deadline, self.turn_time());
        self.reschedule_request(id, request, value)?;
        if let Some(index) = id.index() {
            self.tables.set_period(index, period);
        }
        Ok(())
    }

    fn reschedule_request(
        &mut self,
        id: ThreadId,
        request: Request,
        value: u64,
    ) -> Result<(), RescheduleError> {
        self.tables.reschedule(id, request, value)?;
        crate::log::trace!(
            "thread {} {}{}: rescheduled, {}",
            self.name_of(id),
            id,
            self.shown(id),
            Wanted(request, value)
        );
        Ok(())
    }

    /// Ends the threads that wait for a source, and returns their arguments. When this returns, the poller does not watch
    /// the source, so that it may be closed, or registered anew.
    ///
    /// If the thread that runs is one of them, it loses its source and can't be re-armed. It keeps its slot and its argument
    /// until its hook returns.
    pub fn cancel_source(&mut self, source: Source) -> CancelledSource<A> {
        let cancelled = self.tables.cancel_source(source);
        crate::log::trace!("source {}: its threads are cancelled", source.number());
        cancelled
    }

    /// Makes `run`, `turn` or `poll` return [`Exit::Stopped`](crate::Exit::Stopped) when the hook that runs has returned,
    /// without a wait. What was found ready or due stays so and runs first in the next turn. Called before `run`, it makes
    /// `run` return at once.
    pub fn stop(&mut self) {
        self.tables.stop();
    }

    /// Returns the time, read from the poller's clock and rounded up to a whole microsecond. Never less than before.
    pub fn now(&mut self) -> Instant {
        self.tables.now()
    }

    /// Returns when the last wait ended: the time of the turn, by which timers are due, without reading the clock.
    pub fn turn_time(&self) -> Instant {
        self.tables.turn_time()
    }

    /// Returns the number of threads, the one that runs included.
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Returns whether there is no thread.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of threads that there can be.
    pub fn capacity(&self) -> usize {
        self.tables.capacity()
    }

    /// Returns how many threads can be added before the loop is full.
    pub fn vacant(&self) -> usize {
        self.capacity().saturating_sub(self.len())
    }

    /// Returns the state of every thread, as a value to print.
    pub fn dump(&mut self) -> Dump<'_, S, A> {
        let now = self.now();
        Dump { tables: self.tables.reborrow(), now }
    }

    /// Returns the state of every thread as [`dump`](Self::dump) does, with the argument of each at the end of its line, as
    /// `show` writes it: `|arg, f| write!(f, "client {arg}")`. The one that runs holds its argument itself.
    pub fn dump_with<F>(&mut self, show: F) -> DumpWith<'_, S, A, F>
    where
        F: Fn(&A, &mut fmt::Formatter<'_>) -> fmt::Result,
    {
        DumpWith::new(self.dump(), show)
    }

    /// Returns the same threads, for a function that takes them by value.
    pub fn reborrow(&mut self) -> Threads<'_, S, A> {
        Threads { tables: self.tables.reborrow(), show: self.show }
    }

    /// Checks that the loop's tables agree with each other. For tests: O(capacity) in a large loop, O(capacity²) in a
    /// small one, and without debug assertions it looks at nothing.
    ///
    /// # Errors
    /// Returns what does not hold. That is a bug in kpt.
    pub fn verify(&self) -> Result<(), &'static str> {
        self.tables.verify()
    }
}

/// For the loop and for `Thread`.
impl<S, A> Threads<'_, S, A> {
    /// What can be seen of a thread.
    #[inline(always)]
    pub(crate) fn row(&self, index: Index) -> Option<Row> {
        self.tables.row(index)
    }

    /// The name of the thread that has the slot, or had it last.
    pub(crate) fn name(&self, index: Index) -> &'static str {
        self.tables.name(index)
    }

    fn name_of(&self, id: ThreadId) -> &'static str {
        id.index().map_or("", |index| self.name(index))
    }

    /// The id of the thread that runs.
    pub(crate) fn id(&self, index: Index) -> ThreadId {
        self.row(index).map_or(ThreadId::NONE, |row| row.id)
    }

    /// The argument of a thread whose hook does not run, for logs.
    fn shown(&mut self, id: ThreadId) -> Shown<'_, A> {
        let show = self.show;
        show.shown(id.index().and_then(|index| self.tables.arg(index)))
    }

    /// Logs an error if the source of the thread that is about to run has one.
    pub(crate) fn log_error_of(&self, index: Index, arg: &A) {
        if let Some(row) = self.row(index).filter(|row| row.readiness.is_error()) {
            crate::log::error!(
                "thread {} {}{}: source {} is closed, broken or can't be watched",
                row.name,
                row.id,
                self.show.shown(Some(arg)),
                row.key
            );
        }
    }

    /// Ends the thread that runs.
    pub(crate) fn end(&mut self, index: Index) {
        crate::log::trace!("thread {} {}: ended", self.name(index), self.id(index));
        self.tables.end(index);
    }
}

/// The arguments of the threads that [`Threads::cancel_source`] ended; `None` where there was none, or for the thread
/// that runs, which holds its argument itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelledSource<A> {
    /// The read thread's.
    pub reader: Option<A>,
    /// The write thread's.
    pub writer: Option<A>,
}
