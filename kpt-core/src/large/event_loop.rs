//! The large loop: its public type, and the steps of a turn.

use core::marker::PhantomData;
use core::time::Duration;

use crate::error::{Exit, Next};
use crate::id::{Index, MAX_CAPACITY};
use crate::large::head::Head;
use crate::large::link::Link;
use crate::large::queues::Queues;
use crate::large::storage::{Body, FixedStorage, Parts, Storage};
use crate::large::tables::Tables;
use crate::large::timers::Timers;
use crate::large::view::View;
use crate::large::wheel::Wheel;
use crate::log::ShowArgs;
use crate::poller::Poller;
use crate::thread::Thread;
use crate::threads::Threads;
use crate::time::{Instant, micros};

/// The number of timers whose bodies are read before they are called.
const AHEAD: u32 = 32;

/// A loop that runs pseudo threads one at a time.
///
/// `P` is the poller, which waits for sources and reads the clock. `S` is the application's state, which every hook
/// receives, `A` the type of the threads' arguments, and `T` the memory of the tables. Hooks depend only on `S` and
/// `A`, so the same hooks run on any poller with any capacity.
pub struct EventLoop<P, S, A, T: Storage<S, A>> {
    pub(crate) tables: TablesOf<P, S, A, T>,
    bodies: T::Bodies,
    show: ShowArgs<A>,
    types: PhantomData<fn(&mut S, A)>,
}

type TablesOf<P, S, A, T> = Tables<P, <T as Storage<S, A>>::Links, <T as Storage<S, A>>::Timers>;

/// A large loop with memory for `N` threads in itself, for a `static` or the stack.
pub type LargeLoop<P, S, const N: usize, A = (), W = Wheel<16, 8>> =
    EventLoop<P, S, A, FixedStorage<S, A, N, W>>;

impl<P: Poller, S, A, T: Storage<S, A>> EventLoop<P, S, A, T> {
    /// Creates a loop with this memory.
    pub fn with_storage(poller: P, storage: T) -> Self {
        let Parts { links, bodies, timers } = storage.into_parts();
        let queues = Queues::with_timers(timers);
        let mut tables = Tables { head: Head::NEW, queues, poller, links };
        tables.retire_from(bodies.as_ref().len().min(MAX_CAPACITY));
        Self { tables, bodies, show: ShowArgs::NOT, types: PhantomData }
    }
}

impl<P, S, A, const N: usize> EventLoop<P, S, A, FixedStorage<S, A, N>> {
    /// Creates a loop for `N` threads, with its memory in itself and a wheel of 4-bit digits. All zero bytes if the
    /// poller is.
    pub const fn new(poller: P) -> Self {
        Self::with_timers(poller, Wheel::new())
    }
}

impl<P, S, A, const N: usize, W: Timers> EventLoop<P, S, A, FixedStorage<S, A, N, W>> {
    /// Creates such a loop with another wheel: `LargeLoop::with_timers(poller, Wheel::<64, 6>::new())`.
    pub const fn with_timers(poller: P, timers: W) -> Self {
        const { assert!(N <= MAX_CAPACITY, "no tables are that large") };
        let queues = Queues::with_timers(timers);
        let tables = Tables { head: Head::NEW, queues, poller, links: [Link::VACANT; N] };
        let bodies = [const { Body::VACANT }; N];
        Self { tables, bodies, show: ShowArgs::NOT, types: PhantomData }
    }
}

impl<P: Poller, S, A, T: Storage<S, A>> EventLoop<P, S, A, T> {
    /// Returns the threads, for adding and cancelling, as [`FixedLoop::threads`](crate::FixedLoop::threads) does.
    pub fn threads(&mut self) -> Threads<'_, S, A> {
        // A thread is marked as running here only if its hook has panicked. The thread has ended.
        self.tables.settle();
        if self.tables.is_new() {
            // The loop's time begins. Nothing is watched yet, so that nothing can be found or go wrong.
            let _ = self.tables.wait(false);
        }
        let view = View { tables: &mut self.tables, bodies: self.bodies.as_mut() };
        Threads::new(view.into(), self.show)
    }

    /// Runs turns until no thread is left ([`Exit::Empty`]) or a hook has called [`stop`](Threads::stop)
    /// ([`Exit::Stopped`]). The loop can run again after that.
    ///
    /// # Errors
    /// Returns the error of [`Poller::wait`]. No thread is lost; `run` may be called again.
    pub fn run(&mut self, state: &mut S) -> Result<Exit, P::Error> {
        self.begin_turn(state);
        loop {
            let mut can_skip = self.run_pending(state);
            while can_skip && !self.tables.head.is_over() {
                self.tables.head.begin_turn();
                can_skip = self.run_pending(state);
            }
            if let Some(exit) = self.end_turn(state, can_skip)? {
                return Ok(exit);
            }
            // Neither here nor above is there a thread that was found: those of the last wait have run, as no hook has
            // called `stop`.
            self.tables.head.begin_turn();
        }
    }

    /// Runs one turn, for a program that has a loop of its own. Returns `None` unless no thread is left or
    /// [`stop`](Threads::stop) was called. The steps are those of [`FixedLoop::turn`](crate::FixedLoop::turn), in the
    /// same order; the order of arming is exact without a bound.
    ///
    /// # Errors
    /// Returns the error of [`Poller::wait`]. No thread is lost; `turn` may be called again.
    ///
    /// # Panics
    /// Does not panic by itself. A panic of a hook propagates to the caller. Its thread has ended, unless it was
    /// re-armed before, and the loop can be used again.
    pub fn turn(&mut self, state: &mut S) -> Result<Option<Exit>, P::Error> {
        self.begin_turn(state);
        let can_skip = self.run_pending(state);
        self.end_turn(state, can_skip)
    }

    /// Begins a turn with the hooks that the last one has left because a hook has panicked or called `stop`.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    fn begin_turn(&mut self, state: &mut S) {
        self.tables.settle();
        self.tables.head.begin_turn();
        self.run_all(state, Tables::next_found);
    }

    /// Ends a turn with a wait, unless it can be skipped, and the hooks of all that it has found.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    fn end_turn(&mut self, state: &mut S, can_skip: bool) -> Result<Option<Exit>, P::Error> {
        if !can_skip && !self.tables.head.is_over() {
            self.tables.wait(true)?;
            self.run_found(state);
            self.tables.start_budget();
        }
        Ok(self.tables.head.exit())
    }

    /// Calls the hooks of all that a wait has found.
    fn run_found(&mut self, state: &mut S) {
        let mut looked_at = 0_u32;
        while let Some(index) = self.tables.next_found() {
            if looked_at == 0 {
                self.look_ahead();
                looked_at = AHEAD;
            }
            looked_at = looked_at.wrapping_sub(1);
            self.call(state, index);
        }
    }

    /// Reads the bodies of the timers that are called next, so that they are fetched from memory at the same time and
    /// not one after the other: a twentieth less time for 100,000 timers that are added and fire.
    fn look_ahead(&self) {
        let bodies = self.bodies.as_ref();
        for index in self.tables.queues.due(self.tables.links.as_ref()).take(AHEAD as usize) {
            if let Some(body) = bodies.get(index.position()) {
                core::hint::black_box(body.call.is_some());
            }
        }
    }

    /// Runs one turn that does not sleep, for a program whose own loop sleeps. Returns what that loop should do next,
    /// as [`FixedLoop::poll`](crate::FixedLoop::poll) does. Between calls the poller stays told of the sources.
    ///
    /// # Errors
    /// Returns the error of [`Poller::wait`]. No thread is lost; `poll` may be called again.
    pub fn poll(&mut self, state: &mut S) -> Result<Next, P::Error> {
        self.begin_turn(state);
        self.run_pending(state);
        if !self.tables.head.is_over() {
            self.tables.wait(false)?;
            self.run_all(state, Tables::next_found);
        }
        if let Some(exit) = self.tables.head.exit() {
            return Ok(Next::Exit(exit));
        }
        let until = self.tables.until();
        let has_run = self.tables.head.hooks_since_wait > 0;
        self.tables.start_budget();
        if has_run || until == Instant::ZERO {
            return Ok(Next::Again);
        }
        self.tables.poller.prepare(until).map(Next::Wait)
    }

    /// Calls the hooks of all that `next` finds.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    fn run_all(&mut self, state: &mut S, next: fn(&TablesOf<P, S, A, T>) -> Option<Index>) {
        while let Some(index) = next(&self.tables) {
            self.call(state, index);
        }
    }

    /// Calls the hooks of the execute threads that were there when the turn began, until their budget is used up.
    /// Returns whether the turn can end without asking the poller: if the budget is not used up, and more are pending.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    fn run_pending(&mut self, state: &mut S) -> bool {
        while let Some(index) = self.tables.next_pending() {
            self.call(state, index);
            if self.tables.is_budget_spent() {
                return false;
            }
        }
        P::LOOK_AFTER_HOOKS > 1 && self.tables.can_skip_wait()
    }

    fn call(&mut self, state: &mut S, index: Index) {
        self.tables.head.begin_hook(index);
        let bodies = self.bodies.as_mut();
        let body = bodies.get_mut(index.position());
        let name = body.as_ref().and_then(|body| body.name).unwrap_or("");
        let call = body.and_then(|body| body.call.take());
        debug_assert!(call.is_some(), "slot {} has no hook", index.position());
        if let Some((hook, arg)) = call {
            self.tables.poller.before_hook(self.tables.hook_call(index, name));
            let after = AfterHook(&mut self.tables);
            let view = View { tables: &mut *after.0, bodies };
            let threads = Threads::new(view.into(), self.show);
            hook(state, Thread::new(threads, index, hook, arg.into_inner()));
        }
        self.tables.settle();
    }

    /// Lets the loop wake up to `slack` later than a deadline, rounded up to whole microseconds, and never earlier, so
    /// that one wake-up serves all timers that are due by then. The default is zero. Takes effect with the next wait.
    ///
    /// A timer whose period is shorter than the slack skips periods. A timer whose deadline has passed when a source
    /// ends the wait runs when the slack is over, or in a wait that does not sleep.
    ///
    /// A slack of 1 ms saves a program with a thousand timers of some milliseconds most of its wake-ups. In a small
    /// loop, that is for its board to decide.
    pub fn set_slack(&mut self, slack: Duration) {
        self.tables.head.slack = micros(slack);
    }

    /// Makes the loop's logs show arguments after the thread's id, as `show` writes them.
    #[cfg(feature = "log")]
    pub fn show_args(&mut self, show: fn(&A, &mut core::fmt::Formatter<'_>) -> core::fmt::Result) {
        self.show = ShowArgs::with(show);
    }

    /// Returns the poller.
    pub fn poller(&self) -> &P {
        &self.tables.poller
    }
}

/// Tells the poller that a hook has ended, when this is dropped: also if the hook panics.
struct AfterHook<'t, P: Poller, L, W>(&'t mut Tables<P, L, W>);

impl<P: Poller, L, W> Drop for AfterHook<'_, P, L, W> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.poller.after_hook();
    }
}

#[cfg(test)]
impl<P, S, A, T: Storage<S, A>> EventLoop<P, S, A, T> {
    /// Makes each slot spent after `left` more threads.
    pub(crate) fn age_to(&mut self, left: u32) {
        for link in self.tables.links.as_mut() {
            link.age_to(left);
        }
    }
}
