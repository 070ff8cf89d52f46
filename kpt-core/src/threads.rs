//! The threads of a loop, for adding and cancelling.

use core::fmt;
use core::time::Duration;

use crate::dump::{Dump, DumpWith};
use crate::error::{AddError, RescheduleError, Stale};
use crate::id::{Index, ThreadId};
use crate::log::{ShowArgs, Shown};
use crate::row::Row;
use crate::source::{Readiness, Source};
use crate::tables::Tables;
use crate::thread::Thread;
use crate::time::Instant;
use crate::when::{Request, Wanted, When};

/// The function that a thread runs. It receives the application's state `S` and the thread, which holds the argument.
///
/// A method `fn on_tick(&mut self, thread: Thread<Self>)` is a hook, and so is a closure that captures nothing. A hook
/// is called once each time its thread is added or re-armed. No other hook runs until it returns, so it should not
/// block. It returns nothing, since the loop could not handle an error: a hook keeps its errors in the state, and may
/// [`stop`](Threads::stop) the loop.
pub type Hook<S, A = ()> = fn(&mut S, Thread<'_, S, A>);

/// The threads of a loop, each with an argument of type `A`.
///
/// Returned by a loop's [`threads`](crate::FixedLoop::threads) and, inside hooks, by [`Thread::threads`].
/// [`reborrow`](Self::reborrow) lends it to a function that takes it by value.
///
/// An operation costs O(1) on average in a large loop, and O(capacity) in a small one. `dump` and `verify` look at all
/// threads.
pub struct Threads<'t, S, A = ()> {
    pub(crate) tables: Tables<'t, S, A>,
    pub(crate) show: ShowArgs<A>,
}

impl<'t, S, A> Threads<'t, S, A> {
    pub(crate) fn new(tables: Tables<'t, S, A>, show: ShowArgs<A>) -> Self {
        Self { tables, show }
    }

    /// Adds a thread. Its hook is called once, on the event `when`, and never before the hook that adds the thread has
    /// returned.
    ///
    /// `name` appears in logs and in `dump`. Threads that are due at the same moment run in the order of arming.
    ///
    /// # Errors
    /// Returns [`AddError`] with the argument if another thread waits for the same of the source, or if the loop is
    /// full; nothing has changed. The running thread keeps its slot until it calls [`end`](Thread::end) or its hook returns,
    /// and its source until then or until [`cancel_source`](Self::cancel_source).
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
            // No error in the log: the caller receives it, and decides what it means.
            Err(error) => crate::log::trace!(
                "thread {}{}: not added, {}: {} (threads in the loop: {})",
                name,
                self.show.shown(Some(error.arg())),
                Wanted(request, value),
                error,
                self.len()
            ),
        }
        added
    }

    /// Adds a thread as [`add`](Self::add) does, but only if at least `reserve` slots remain vacant. This reserves slots
    /// for threads of another purpose.
    ///
    /// # Errors
    /// The same as [`add`](Self::add); [`AddError::Full`], in the first place, also if fewer slots would remain vacant.
    pub fn add_with_reserve(
        &mut self,
        reserve: usize,
        name: &'static str,
        when: When,
        hook: Hook<S, A>,
        arg: A,
    ) -> Result<ThreadId, AddError<A>> {
        if self.vacant() <= reserve {
            crate::log::trace!(
                "thread {}{}: not added, as {} slots are reserved for others",
                name,
                self.show.shown(Some(&arg)),
                reserve
            );
            return Err(AddError::Full(arg));
        }
        self.add(name, when, hook, arg)
    }

    /// Adds a read thread. Its hook is called when `source` is readable, when its other side has hung up, or when it
    /// has an error. Readiness may be spurious, so the hook reads without blocking. A hook that re-arms its thread
    /// although [`readiness`](Thread::readiness) has [`ERROR`](crate::Readiness::ERROR) is called again in each turn.
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

    /// Adds a write thread. Its hook is called when `source` is writable, when its other side has hung up, or when it
    /// has an error.
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

    /// Adds a timer. Its hook is called when `delay`, rounded up to whole microseconds, has passed since this call, and
    /// never earlier. `delay` is also the period, for hooks that call [`again`](Thread::again).
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

    /// Adds an execute thread. Its hook is called in the next turn, before the loop waits. In asyncio this is
    /// `call_soon`, and in FRR an event.
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

    /// Ends a thread before its hook is called, and returns its argument. A thread that was already found ready or due
    /// no longer runs. Any id of this loop may be passed, at any time.
    ///
    /// If the thread was the reader or writer of a source, the poller no longer watches the source for it when this
    /// returns.
    ///
    /// # Errors
    /// Returns [`Stale`] if the thread has ended or is the running thread, which has [`end`](Thread::end).
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

    /// Makes a waiting thread wait for another event: another delay, a moment, another source, or writing in place of
    /// reading. The thread keeps its id, name, hook and argument, and is ordered behind the threads that were armed
    /// before this call. Rescheduling never fails for lack of room. Only `After` and `AfterDeadline` set the period.
    ///
    /// - A timer that is due, a reader or writer that was found ready, and a pending execute thread no longer run for
    ///   the event that they waited for.
    /// - If the thread leaves a source, the poller no longer watches that source for it when this returns.
    ///
    /// The cost is less than that of cancelling a thread and adding another. For a reader or writer of a large loop, the
    /// poller is told only if the event is another one than before: on epoll, this is a system call.
    ///
    /// # Errors
    /// Returns [`RescheduleError::Stale`] if the thread has ended or is the running thread, which has
    /// [`again_when`](Thread::again_when), and [`RescheduleError::Taken`] if another thread waits for the same of
    /// the source. Nothing has changed.
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use kpt_core::{Exit, FixedLoop, Thread, ThreadId, When, sim::{SimPoller, World}};
    /// struct Session {
    ///     idle: Option<ThreadId>,
    /// }
    ///
    /// impl Session {
    ///     /// Each request postpones the idle timer.
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

    /// Ends the threads that wait for a source, and returns their arguments. When this returns, the poller does not
    /// watch the source, so it may be closed or registered again.
    ///
    /// If the running thread is one of them, it loses its source and can't be re-armed. It keeps its slot and its
    /// argument until its hook returns.
    pub fn cancel_source(&mut self, source: Source) -> CancelledSource<A> {
        let cancelled = self.tables.cancel_source(source);
        crate::log::trace!("source {}: threads cancelled", source.number());
        cancelled
    }

    /// Makes `run`, `turn` or `poll` return [`Exit::Stopped`](crate::Exit::Stopped) when the running hook has returned,
    /// without a wait. Threads that were found ready or due stay so, and run first in the next turn. If `stop` is
    /// called before `run`, `run` returns at once.
    pub fn stop(&mut self) {
        self.tables.stop();
    }

    /// Returns whether [`stop`](Self::stop) was called, and `run`, `turn` or `poll` has not returned since.
    pub fn is_stopping(&self) -> bool {
        self.tables.is_stopping()
    }

    /// Returns the time, read from the poller's clock and rounded up to a whole microsecond. The result never goes
    /// back.
    pub fn now(&mut self) -> Instant {
        self.tables.now()
    }

    /// Returns the time at which the last wait ended, without reading the clock. Timers that are due by this time run
    /// in this turn.
    pub fn turn_time(&self) -> Instant {
        self.tables.turn_time()
    }

    /// Returns the number of threads, including the running one.
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Returns whether the loop has no threads.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the largest number of threads that the loop can hold.
    pub fn capacity(&self) -> usize {
        self.tables.capacity()
    }

    /// Returns the number of threads that can be added before the loop is full.
    pub fn vacant(&self) -> usize {
        self.capacity().saturating_sub(self.len())
    }

    /// Returns the state of all threads, as a value to print.
    pub fn dump(&mut self) -> Dump<'_, S, A> {
        let now = self.now();
        Dump { tables: self.tables.reborrow(), now }
    }

    /// Returns the state of all threads as [`dump`](Self::dump) does, with the argument of each thread at the end of
    /// its line, as `show` writes it: `|arg, f| write!(f, "client {arg}")`. The running thread has no argument there,
    /// since its hook holds it.
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

    /// Checks that the loop's tables agree with each other. For tests: the cost is O(capacity) in a large loop and
    /// O(capacity²) in a small one, and without debug assertions nothing is checked.
    ///
    /// # Errors
    /// Returns the condition that does not hold, which is a bug in kpt.
    pub fn verify(&self) -> Result<(), &'static str> {
        self.tables.verify()
    }
}

/// Operations for the loop and for `Thread`.
impl<S, A> Threads<'_, S, A> {
    /// Returns the visible state of a thread.
    #[inline(always)]
    pub(crate) fn row(&self, index: Index) -> Option<Row> {
        self.tables.row(index)
    }

    /// Returns the name of the thread that has the slot, or had it last.
    pub(crate) fn name(&self, index: Index) -> &'static str {
        self.tables.name(index)
    }

    fn name_of(&self, id: ThreadId) -> &'static str {
        id.index().map_or("", |index| self.name(index))
    }

    /// Returns the id of the running thread.
    pub(crate) fn id(&self, index: Index) -> ThreadId {
        self.row(index).map_or(ThreadId::NONE, |row| row.id)
    }

    /// Returns the argument of a thread as log lines show it; nothing for the running thread.
    fn shown(&mut self, id: ThreadId) -> Shown<'_, A> {
        let show = self.show;
        show.shown(id.index().and_then(|index| self.tables.arg(index)))
    }

    /// Logs an error if the poller can't watch the source of the thread that is about to run.
    pub(crate) fn log_error_of(&self, index: Index, arg: &A) {
        // An error of the file itself, such as a reset of its connection, comes with "readable" or "writable", and the hook
        // learns of it when it reads or writes.
        let io = Readiness::READABLE | Readiness::WRITABLE;
        let is_dead = |row: &Row| row.readiness.is_error() && !row.readiness.intersects(io);
        if let Some(row) = self.row(index).filter(is_dead) {
            crate::log::error!(
                "thread {} {}{}: source {} is closed or broken, or can't be watched; \
                 its hook should end the thread",
                row.name,
                row.id,
                self.show.shown(Some(arg)),
                row.key
            );
        }
    }

    /// Ends the running thread.
    pub(crate) fn end(&mut self, index: Index) {
        crate::log::trace!("thread {} {}: ended", self.name(index), self.id(index));
        self.tables.end(index);
    }
}

/// The arguments of the threads that [`Threads::cancel_source`] has ended. A field is `None` if there was no such
/// thread, or if it is the running thread, which holds its own argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelledSource<A> {
    /// The argument of the read thread.
    pub reader: Option<A>,
    /// The argument of the write thread.
    pub writer: Option<A>,
}
