//! The small loop: its public type, and the steps of a turn.

use crate::budget;
use crate::error::{Exit, Next};
use crate::id::{Generation, Index, MAX_CAPACITY};
use crate::log::ShowArgs;
use crate::poller::{HookCall, Poller, Ready, Waiting};
use crate::small::slot::{Place, Slot};
use crate::small::table::Table;
use crate::small::view::View;
use crate::source::{Interest, Readiness};
use crate::thread::Thread;
use crate::threads::Threads;
use crate::time::Instant;

/// A loop for up to `N` threads with its memory in itself, for a `static` or the stack.
///
/// `P` is the poller, which waits for sources and reads the clock. `S` is the application's state, which every hook
/// receives, and `A` the type of the threads' arguments. Hooks depend only on `S` and `A`, so the same hooks run on any
/// poller, and in loops of any capacity and of both kinds.
///
/// The loop is an array of slots that each operation scans: a call of a hook costs O(`N`), and a wait O(`N`) for each
/// source, event and due timer. Up to some tens of threads, that is cheaper than keeping lists. For more threads there
/// is `EventLoop` (feature `large`), which behaves the same. `N` is at most 65,535, on 64-bit targets 16,777,215.
///
/// The poller watches sources only during a wait. Where [`modify`](Poller::modify) is a system call, as on epoll, each
/// reader and each writer costs two of them in each wait.
pub struct FixedLoop<P, S, const N: usize, A = ()> {
    // Dropped before the arguments. It watches nothing then, unless it has panicked in a wait.
    poller: P,
    table: Table<[Slot<S, A>; N]>,
    show: ShowArgs<A>,
}

impl<P, S, const N: usize, A> FixedLoop<P, S, N, A> {
    /// Creates a loop without threads; all zero bytes if the poller is.
    pub const fn new(poller: P) -> Self {
        const { assert!(N <= MAX_CAPACITY, "no loop is that large") };
        Self { poller, table: Table::new(), show: ShowArgs::NOT }
    }

    /// Makes the loop's logs show arguments after the thread's id, as `show` writes them.
    #[cfg(feature = "log")]
    pub fn show_args(&mut self, show: fn(&A, &mut core::fmt::Formatter<'_>) -> core::fmt::Result) {
        self.show = ShowArgs::with(show);
    }

    /// Returns the poller.
    pub fn poller(&self) -> &P {
        &self.poller
    }
}

impl<P: Poller, S, const N: usize, A> FixedLoop<P, S, N, A> {
    /// Returns the threads, for adding and cancelling.
    ///
    /// Until a thread has been added, each call reads the time with a wait of the poller that does not sleep. This time
    /// decides which timers are due, until the next wait ends. An error of this wait is ignored: the next turn waits
    /// again.
    pub fn threads(&mut self) -> Threads<'_, S, A> {
        self.end_panicked();
        if self.table.slots.first().is_none_or(|slot| slot.generation == Generation::NONE) {
            // Nothing is watched yet, so nothing can be found.
            let _ = self.wait(false);
        }
        view(&mut self.table, &mut self.poller, self.show)
    }

    /// Runs turns until no thread is left ([`Exit::Empty`]) or a hook has called [`stop`](Threads::stop)
    /// ([`Exit::Stopped`]). The loop can run again after that.
    ///
    /// # Errors
    /// Returns the error of [`Poller::wait`]. No thread is lost; `run` may be called again.
    pub fn run(&mut self, state: &mut S) -> Result<Exit, P::Error> {
        loop {
            if let Some(exit) = self.turn(state)? {
                return Ok(exit);
            }
        }
    }

    /// Runs one turn, for a program that has a loop of its own. Returns `None` unless no thread is left or
    /// [`stop`](Threads::stop) was called.
    ///
    /// A turn has these steps:
    ///
    /// 1. Call the threads that were found ready or due before, and have not run because of a `stop`, a panic, or an
    ///    error of the wait.
    /// 2. Call the execute threads that were pending when the turn began, in the order of arming. This step ends early,
    ///    and the rest runs in the next turn, when [`LOOK_AFTER_HOOKS`](Poller::LOOK_AFTER_HOOKS) hooks have run or
    ///    250 µs have passed since the last wait. (If `LOOK_AFTER_HOOKS` is 1, the step does not end early, and each turn
    ///    waits.) If the step has not ended early, and execute threads are pending, the turn ends here.
    /// 3. Wait until the nearest deadline; without sleeping if an execute thread is pending or a source can't be
    ///    watched.
    /// 4. Call the writers that are ready, then the readers that are ready, in the order in which the poller found
    ///    them.
    /// 5. Call the timers that were due when the wait ended, in the order of their deadlines. Timers with equal
    ///    deadlines, and all timers whose deadline had passed when the previous wait ended, are called in the order of
    ///    arming.
    ///
    /// The order of arming is exact among threads that are no more than 2^32 moves apart. A move is an arming, or a
    /// thread being found ready or due; with a thousand hooks per second, 2^32 moves take 24 days.
    ///
    /// The turn ends early after a `stop`, and after step 2 if no thread is left.
    ///
    /// A thread that a hook adds or re-arms never runs in the same step. An execute thread runs in the next turn, and
    /// any other thread after the next wait, which is this turn's wait for hooks of steps 1 and 2. So fewer than
    /// `LOOK_AFTER_HOOKS` + 2 × `capacity` hooks run between two waits, and fewer than `capacity` hooks between a wait
    /// and any thread that it found. Hooks can exceed these bounds only by calling `stop` or panicking in each turn,
    /// since such a turn ends before its wait.
    ///
    /// # Errors
    /// Returns the error of [`Poller::wait`]. No thread is lost; `turn` may be called again.
    ///
    /// # Panics
    /// Does not panic by itself. A panic of a hook propagates to the caller. Its thread has ended, unless it was
    /// re-armed before, and the loop can be used again.
    pub fn turn(&mut self, state: &mut S) -> Result<Option<Exit>, P::Error> {
        let is_spent = self.run_first(state);
        if !self.is_over() && (is_spent || !self.can_skip_wait()) {
            self.wait(true)?;
            self.run_found(state);
            self.start_budget();
        }
        Ok(self.table().exit())
    }

    /// Runs one turn that does not sleep, for a program whose own loop sleeps: an interrupt handler, an executor.
    /// Returns what that loop should do next.
    ///
    /// The steps are those of [`turn`](Self::turn), except that the wait of step 3 does not sleep, and is not skipped
    /// because of `LOOK_AFTER_HOOKS`. Between calls the poller watches nothing: the host must know which events require
    /// a call, such as an interrupt whose handler sets a line.
    ///
    /// # Errors
    /// Returns the error of [`Poller::wait`]. No thread is lost; `poll` may be called again.
    pub fn poll(&mut self, state: &mut S) -> Result<Next, P::Error> {
        self.run_first(state);
        if !self.is_over() {
            self.wait(false)?;
            self.run_found(state);
        }
        if let Some(exit) = self.table().exit() {
            return Ok(Next::Exit(exit));
        }
        let until = self.table().until();
        let has_run = self.table.hooks_since_wait > 0;
        self.start_budget();
        if has_run || until == Instant::ZERO {
            return Ok(Next::Again);
        }
        self.poller.prepare(until).map(Next::Wait)
    }
}

/// The steps of a turn.
impl<P: Poller, S, const N: usize, A> FixedLoop<P, S, N, A> {
    /// Runs steps 1 and 2. Returns whether the turn must wait, because step 2 has used up its budget or has none.
    #[inline(always)]
    fn run_first(&mut self, state: &mut S) -> bool {
        self.end_panicked();
        // Before any hook runs: execute threads that are armed from here on run in the next turn.
        let stamp = self.table.stamp;
        self.run_found(state);
        if P::LOOK_AFTER_HOOKS > 1 {
            return self.run_pending(state, stamp);
        }
        self.run_all(state, Place::Pending, Place::Pending, stamp);
        true
    }

    /// Runs step 2 with a budget. Returns whether the budget is used up.
    fn run_pending(&mut self, state: &mut S, stamp: u32) -> bool {
        while !self.table.is_stopping
            && let Some(index) = self.table().first(Place::Pending, Place::Pending, stamp)
        {
            self.call(state, index);
            let (hooks, wait_ended) = (self.table.hooks_since_wait, self.table.wait_ended);
            if budget::is_spent(&mut self.poller, hooks, wait_ended) {
                return true;
            }
        }
        false
    }

    /// Runs steps 4 and 5. Only a wait makes threads ready or due, so hooks can't add threads to these steps.
    #[inline(always)]
    fn run_found(&mut self, state: &mut S) {
        self.run_all(state, Place::ReadyToWrite, Place::Due, self.table.stamp);
    }

    /// Calls the hooks of the threads in the places `from` to `to` that were there at `stamp`.
    #[inline(never)]
    fn run_all(&mut self, state: &mut S, from: Place, to: Place, stamp: u32) {
        while !self.table.is_stopping
            && let Some(index) = self.table().first(from, to, stamp)
        {
            self.call(state, index);
        }
    }

    /// Calls a hook, and ends its thread unless the hook has re-armed it. A thread that is running in this slot after
    /// the call is that thread and no other, since hooks are not nested.
    fn call(&mut self, state: &mut S, index: Index) {
        self.table.hooks_since_wait = self.table.hooks_since_wait.wrapping_add(1);
        let Some(slot) = self.table.slots.get_mut(index.position()) else { return };
        slot.place = Place::Running;
        if let Some((hook, arg)) = slot.call.take() {
            self.poller.before_hook(HookCall {
                id: slot.id(index),
                name: slot.name.unwrap_or(""),
                kind: slot.kind,
                due: slot.due().unwrap_or(self.table.wait_ended),
            });
            let after = AfterHook(&mut self.poller);
            let threads = view(&mut self.table, &mut *after.0, self.show);
            hook(state, Thread::new(threads, index, hook, arg.into_inner()));
        }
        let slot = self.table().slots.get_mut(index.position());
        if let Some(slot) = slot.filter(|slot| slot.is_running()) {
            crate::log::trace!("thread {} {}: ended", slot.name.unwrap_or(""), slot.id(index));
            slot.vacate();
        }
    }

    fn is_over(&mut self) -> bool {
        self.table.is_stopping || self.table().is_empty()
    }

    /// Starts the budget of execute threads, after the hooks of all that the wait has found: the clock is read after
    /// the first execute thread from here on.
    #[inline(always)]
    fn start_budget(&mut self) {
        if P::LOOK_AFTER_HOOKS > 1 {
            self.table.hooks_since_wait = 0;
        }
    }

    /// Returns whether the turn can end without asking the poller.
    fn can_skip_wait(&mut self) -> bool {
        self.table.hooks_since_wait < P::LOOK_AFTER_HOOKS && self.table().has_pending()
    }

    /// Runs step 3: waits, and notes which threads are ready or due.
    ///
    /// The poller watches sources only during the wait. While hooks run it watches nothing, so a thread can end without
    /// a call of the poller.
    #[inline(never)]
    fn wait(&mut self, may_sleep: bool) -> Result<(), P::Error> {
        let Self { poller, table, .. } = self;
        let mut table: &mut Table<[Slot<S, A>]> = table;
        table.hooks_since_wait = 0;
        if cfg!(panic = "unwind") {
            table.is_watched = true;
        }
        for position in 0..table.slots.len() {
            let Some(source) = table.slots.get(position).and_then(Slot::source) else { continue };
            if poller.modify(source, table.interest(source)).is_err() {
                table.push(source, Readiness::ERROR);
            }
        }
        let until = if may_sleep { table.until() } else { Instant::ZERO };
        let now = poller.wait(until, &mut Ready::new(&mut table));
        self.unwatch();
        self.table().advance(now?);
        Ok(())
    }

    /// Makes the poller stop watching all sources.
    #[inline(always)]
    fn unwatch(&mut self) {
        let Self { poller, table, .. } = self;
        for source in table.slots.iter().filter_map(Slot::source) {
            let _ = poller.modify(source, Interest::NONE);
        }
        if cfg!(panic = "unwind") {
            table.is_watched = false;
        }
    }

    /// Cleans up after a turn that ended with a panic: ends the thread whose hook has panicked, and the watches of a
    /// wait in which the poller has panicked. Does nothing where panics don't unwind.
    fn end_panicked(&mut self) {
        if cfg!(panic = "unwind") {
            for slot in self.table().slots.iter_mut().filter(|slot| slot.is_running()) {
                slot.vacate();
            }
            if self.table.is_watched {
                self.unwatch();
            }
        }
    }

    fn table(&mut self) -> &mut Table<[Slot<S, A>]> {
        &mut self.table
    }
}

/// Calls [`Poller::after_hook`] when it is dropped, also if the hook panics.
struct AfterHook<'p, P: Poller>(&'p mut P);

impl<P: Poller> Drop for AfterHook<'_, P> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.after_hook();
    }
}

#[inline(always)]
#[allow(clippy::useless_conversion)] // Necessary with the feature `large`.
fn view<'t, P: Poller, S, A>(
    table: &'t mut Table<[Slot<S, A>]>,
    poller: &'t mut P,
    show: ShowArgs<A>,
) -> Threads<'t, S, A> {
    Threads::new(View { table, clock: poller }.into(), show)
}

#[cfg(test)]
impl<P, S, const N: usize, A> FixedLoop<P, S, N, A> {
    /// Sets the number of the last move.
    pub(crate) fn start_stamps_at(&mut self, stamp: u32) {
        self.table.stamp = stamp;
    }

    /// Makes each slot spent after `left` more threads.
    pub(crate) fn age_to(&mut self, left: u32) {
        for slot in &mut self.table.slots {
            slot.generation = crate::id::Generation::before_last(left);
        }
    }
}
