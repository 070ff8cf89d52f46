//! The small loop: its owner, and what a turn is.

use crate::error::{Exit, Next};
use crate::id::{Index, MAX_CAPACITY};
use crate::poller::{Poller, Ready, Waiting};
use crate::small::slot::{Place, Slot, last, rank};
use crate::small::table::Table;
use crate::small::view::View;
use crate::source::{Interest, Readiness};
use crate::thread::Thread;
use crate::threads::Threads;
use crate::time::Instant;

/// A loop for up to `N` threads, with its memory in itself, for a `static` or the stack.
pub struct FixedLoop<P, S, const N: usize, A = ()> {
    // Dropped first: it has let go of all sources before any argument is dropped.
    poller: P,
    table: Table<[Slot<S, A>; N]>,
}

impl<P, S, const N: usize, A> FixedLoop<P, S, N, A> {
    /// A loop without threads.
    pub const fn new(poller: P) -> Self {
        const { assert!(N <= MAX_CAPACITY, "no loop is that large") };
        Self { poller, table: Table::new() }
    }

    /// The poller.
    pub fn poller(&self) -> &P {
        &self.poller
    }
}

impl<P: Poller, S, const N: usize, A> FixedLoop<P, S, N, A> {
    /// The threads, to add to and to take from.
    pub fn threads(&mut self) -> Threads<'_, S, A> {
        self.settle_panicked();
        if self.table.stamp == 0 {
            // The loop's time begins. Nothing is watched yet, so that nothing can be found or go wrong.
            let _ = self.wait(false);
        }
        self.view()
    }

    /// Runs turns until no thread is left or one says `stop`.
    pub fn run(&mut self, state: &mut S) -> Result<Exit, P::Error> {
        loop {
            if let Some(exit) = self.turn(state)? {
                return Ok(exit);
            }
        }
    }

    /// Runs one turn.
    pub fn turn(&mut self, state: &mut S) -> Result<Option<Exit>, P::Error> {
        self.run_first(state);
        if !self.is_over() && !self.can_skip_wait() {
            self.wait(true)?;
            self.run_found(state);
        }
        Ok(self.slots().exit())
    }

    /// Runs one turn that does not sleep.
    pub fn poll(&mut self, state: &mut S) -> Result<Next, P::Error> {
        self.run_first(state);
        if !self.is_over() {
            self.wait(false)?;
            self.run_found(state);
        }
        if let Some(exit) = self.slots().exit() {
            return Ok(Next::Exit(exit));
        }
        let until = self.slots().until();
        let is_busy = self.table.hooks_since_wait > 0 || until == Instant::ZERO;
        Ok(if is_busy { Next::Again } else { Next::Wait(until) })
    }
}

/// The steps of a turn.
impl<P: Poller, S, const N: usize, A> FixedLoop<P, S, N, A> {
    /// Runs what an earlier turn has left, and the execute threads that are there.
    #[inline(always)]
    fn run_first(&mut self, state: &mut S) {
        self.settle_panicked();
        let stamp = self.table.stamp;
        self.run_found(state);
        self.run_all(state, Place::Pending, rank(Place::Pending, stamp));
    }

    /// Ends the thread whose hook has panicked, if there is one. It is not running any more.
    fn settle_panicked(&mut self) {
        if cfg!(panic = "unwind") {
            self.slots().settle();
        }
    }

    /// Runs what is ready or due.
    #[inline(always)]
    fn run_found(&mut self, state: &mut S) {
        self.run_all(state, Place::ReadyToWrite, last(Place::Due));
    }

    #[inline(never)]
    fn run_all(&mut self, state: &mut S, from: Place, to: u64) {
        while !self.table.is_stopping
            && let Some(index) = self.slots().first(from, to)
        {
            self.call(state, index);
        }
    }

    fn call(&mut self, state: &mut S, index: Index) {
        self.table.hooks_since_wait = self.table.hooks_since_wait.wrapping_add(1);
        let Some(slot) = self.table.slots.get_mut(index.position()) else { return };
        slot.place = Place::Running;
        if let Some((hook, arg)) = slot.call.take() {
            hook(state, Thread::new(self.view(), index, hook, arg.into_inner()));
        }
        // Unless it has been re-armed, or has ended and another one has its slot.
        if let Some(slot) =
            self.slots().slots.get_mut(index.position()).filter(|slot| slot.is_running())
        {
            slot.vacate();
        }
    }

    fn is_over(&mut self) -> bool {
        self.table.is_stopping || self.slots().len() == 0
    }

    /// Whether the turn can end without asking the poller.
    fn can_skip_wait(&mut self) -> bool {
        P::LOOK_EVERY > 1
            && self.table.hooks_since_wait < P::LOOK_EVERY
            && self.slots().first(Place::Pending, last(Place::Pending)).is_some()
    }

    /// Waits, and notes what is ready or due.
    ///
    /// The poller watches sources for the time of a wait only: while hooks run, there is nothing for it to let go of.
    #[inline(never)]
    fn wait(&mut self, may_sleep: bool) -> Result<(), P::Error> {
        let Self { poller, table } = self;
        let mut table: &mut Table<[Slot<S, A>]> = table;
        table.hooks_since_wait = 0;
        for position in 0..table.slots.len() {
            let Some(slot) = table.slots.get(position) else { continue };
            let Some(source) = slot.source() else { continue };
            let interest = slot.kind.interest() | table.interest(source);
            if poller.modify(source, interest).is_err() {
                table.push(source, Readiness::ERROR);
            }
        }
        let until = if may_sleep { table.until() } else { Instant::ZERO };
        let now = poller.wait(until, &mut Ready::new(&mut table));
        for source in table.slots.iter().filter_map(Slot::source) {
            let _ = poller.modify(source, Interest::NONE);
        }
        table.advance(now?);
        Ok(())
    }

    fn slots(&mut self) -> &mut Table<[Slot<S, A>]> {
        &mut self.table
    }

    fn view(&mut self) -> Threads<'_, S, A> {
        Threads::new(View { table: &mut self.table, clock: &mut self.poller }.into())
    }
}
