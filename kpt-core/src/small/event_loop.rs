//! The small loop: its owner, and what a turn is.

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

/// A loop for up to `N` threads, with its memory in itself, for a `static` or the stack.
///
/// `P` waits for sources and tells the time, `S` is the application's state, which every hook gets, `A` the type of the
/// threads' arguments. Hooks know only `S` and `A`, so the same hooks run on any poller, in loops of any capacity and of
/// both kinds.
///
/// An array of slots and nothing else. Each operation looks at all of them: a call of a hook costs O(`N`), a wait O(`N`)
/// for each source, event and due timer. Up to some tens of threads that is cheaper than to keep lists. For more there is
/// `EventLoop` (feature `large`), which does the same. `N` is at most 65,535, on 64-bit targets 16,777,215.
///
/// The poller is told what to watch for the time of each wait. Where [`modify`](Poller::modify) is a system call, as on
/// epoll, each reader and each writer costs two of them in each wait.
pub struct FixedLoop<P, S, const N: usize, A = ()> {
    // Dropped first, though it watches nothing here: unless it has panicked in a wait.
    poller: P,
    table: Table<[Slot<S, A>; N]>,
    show: ShowArgs<A>,
}

impl<P, S, const N: usize, A> FixedLoop<P, S, N, A> {
    /// Returns a loop without threads; all zero bytes, if the poller is.
    pub const fn new(poller: P) -> Self {
        const { assert!(N <= MAX_CAPACITY, "no loop is that large") };
        Self { poller, table: Table::new(), show: ShowArgs::NOT }
    }

    /// Has the loop's logs show arguments, behind a thread's id, as `show` writes them.
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
    /// Until a thread has been added, each call asks the poller for the time, with a wait that does not sleep; what is
    /// due is judged by that time until the next wait ends. An error of that wait is ignored: the next turn waits again.
    pub fn threads(&mut self) -> Threads<'_, S, A> {
        self.end_panicked();
        if self.table.slots.first().is_none_or(|slot| slot.generation == Generation::NONE) {
            // Nothing is watched yet, so that nothing can be found.
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
    /// 1. What an earlier `stop`, a panic, or a wait that failed has left.
    /// 2. Execute threads that were there when the turn began, in the order of arming. This step ends early, and the rest
    ///    runs in the next turn, when [`LOOK_AFTER_HOOKS`](Poller::LOOK_AFTER_HOOKS) hooks have run since the last wait, or
    ///    when 250 µs have passed (with a poller that bounds hooks at 1, neither: it waits in each turn). If it has not
    ///    ended early, and execute threads are pending, the turn ends here.
    /// 3. The wait: until the nearest deadline, and without sleeping if an execute thread is pending or a source can't be
    ///    watched.
    /// 4. Writers that are ready, then readers that are ready, in the order in which the poller found them.
    /// 5. Timers that were due when the wait ended: by deadline, and equal deadlines, as well as all that had passed before
    ///    the wait, in the order of arming.
    ///
    /// The order of arming is exact among threads that are no more than 2^32 moves apart. Each arming is a move, and so is
    /// each time that a thread is found ready or due: 24 days, with a thousand hooks a second.
    ///
    /// After a `stop` the turn ends without the rest; so does it after step 2 if no thread is left.
    ///
    /// What a hook adds or re-arms never runs in the same step: execute threads wait for the next turn, all else for
    /// the next wait (which is this turn's for a hook of steps 1 and 2). So between two waits fewer than `LOOK_AFTER_HOOKS` +
    /// 2 × `capacity` hooks run, and after a wait fewer than `capacity` before any thread that it found, whatever hooks do,
    /// unless they call `stop` or panic in each turn: a turn that ends by that does not get to its wait.
    ///
    /// # Errors
    /// Returns the error of [`Poller::wait`]. No thread is lost; `turn` may be called again.
    ///
    /// # Panics
    /// Not by itself. A panic of a hook passes through; its thread has ended, unless it was re-armed before.
    pub fn turn(&mut self, state: &mut S) -> Result<Option<Exit>, P::Error> {
        let is_spent = self.run_first(state);
        if !self.is_over() && (is_spent || !self.can_skip_wait()) {
            self.wait(true)?;
            self.run_found(state);
        }
        Ok(self.table().exit())
    }

    /// Runs one turn that does not sleep, for a program whose own loop sleeps: an interrupt handler, an executor.
    /// Returns what that loop should do next.
    ///
    /// The same steps as in [`turn`](Self::turn), but that the wait of step 3 only looks, and is not left out because of
    /// `LOOK_AFTER_HOOKS`. Between calls the poller watches nothing: the host must know itself which events should make it call,
    /// as a handler does that sets a line.
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
        Ok(if has_run { Next::Again } else { Next::after(until) })
    }
}

/// The steps of a turn.
impl<P: Poller, S, const N: usize, A> FixedLoop<P, S, N, A> {
    /// Steps 1 and 2. Returns whether step 2 has used up its budget.
    #[inline(always)]
    fn run_first(&mut self, state: &mut S) -> bool {
        self.end_panicked();
        // Before any hook runs: what is armed from here on waits for the next turn.
        let stamp = self.table.stamp;
        self.run_found(state);
        if P::LOOK_AFTER_HOOKS > 1 {
            return self.run_pending(state, stamp);
        }
        self.run_all(state, Place::Pending, Place::Pending, stamp);
        true
    }

    /// Step 2, where it has a budget. Returns whether that is used up.
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

    /// Steps 4 and 5. Only a wait makes threads ready or due, so that hooks can't add to these.
    #[inline(always)]
    fn run_found(&mut self, state: &mut S) {
        self.run_all(state, Place::ReadyToWrite, Place::Due, self.table.stamp);
    }

    /// Calls the hooks of the threads in these places that were there at `stamp`.
    #[inline(never)]
    fn run_all(&mut self, state: &mut S, from: Place, to: Place, stamp: u32) {
        while !self.table.is_stopping
            && let Some(index) = self.table().first(from, to, stamp)
        {
            self.call(state, index);
        }
    }

    /// Calls a hook. Its thread has ended when it returns, unless it has been re-armed. One that runs in this slot then is
    /// that thread and no other, since hooks are not nested.
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

    /// Whether the turn can end without asking the poller.
    fn can_skip_wait(&mut self) -> bool {
        self.table.hooks_since_wait < P::LOOK_AFTER_HOOKS && self.table().has_pending()
    }

    /// Step 3: waits, and notes what is ready or due.
    ///
    /// The poller is told of sources for the time of a wait only. While hooks run it watches nothing, so that there is
    /// nothing that it would have to let go of.
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

    /// Has the poller let go of all sources.
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

    /// Ends the thread whose hook has panicked, and the wait in which the poller has, if that is how the last turn ended.
    /// Where panics don't unwind, there is neither.
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

/// Tells the poller that a hook has ended, when this is dropped: also if the hook panics.
struct AfterHook<'p, P: Poller>(&'p mut P);

impl<P: Poller> Drop for AfterHook<'_, P> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.after_hook();
    }
}

#[inline(always)]
#[allow(clippy::useless_conversion)] // Without the large loop, it is none.
fn view<'t, P: Poller, S, A>(
    table: &'t mut Table<[Slot<S, A>]>,
    poller: &'t mut P,
    show: ShowArgs<A>,
) -> Threads<'t, S, A> {
    Threads::new(View { table, clock: poller }.into(), show)
}

#[cfg(test)]
impl<P, S, const N: usize, A> FixedLoop<P, S, N, A> {
    /// The next move of a thread has the number after this one.
    pub(crate) fn start_stamps_at(&mut self, stamp: u32) {
        self.table.stamp = stamp;
    }

    /// Each slot is spent after `left` more threads.
    pub(crate) fn age_to(&mut self, left: u32) {
        for slot in &mut self.table.slots {
            slot.generation = crate::id::Generation::before_last(left);
        }
    }
}
