//! The loop: its owner, and what a turn is.

use core::marker::PhantomData;

use crate::error::Exit;
use crate::head::Head;
use crate::id::{Index, MAX_CAPACITY};
use crate::poller::{Poller, Ready};
use crate::storage::{Allocate, FixedStorage, Parts, Storage};
use crate::tables::Tables;
use crate::thread::Thread;
use crate::threads::Threads;

/// A loop that runs pseudo threads one at a time.
///
/// `P` waits for sources and tells the time, `S` is the application's state, which every hook gets, `A` the type of the
/// threads' arguments, `T` the memory of the tables. Hooks know only `S` and `A`, so the same hooks run on any poller
/// with any capacity.
pub struct EventLoop<P, S, A, T> {
    poller: P,
    head: Head,
    storage: T,
    types: PhantomData<fn(&mut S, A)>,
}

/// A loop with memory for `N` threads in itself, for a `static` or the stack.
pub type FixedLoop<P, S, const N: usize, A = (), W = crate::SortedList> =
    EventLoop<P, S, A, FixedStorage<S, A, N, W>>;

impl<P, S, A, T> EventLoop<P, S, A, T> {
    /// A loop of these parts; of zero bytes, but for the poller, if the storage is.
    pub const fn from_parts(poller: P, storage: T) -> Self {
        Self { poller, head: Head::NEW, storage, types: PhantomData }
    }
}

impl<P, S, A, const N: usize> EventLoop<P, S, A, FixedStorage<S, A, N>> {
    /// A loop for `N` threads, with its memory in itself and a sorted list of timers.
    pub const fn new(poller: P) -> Self {
        Self::from_parts(poller, FixedStorage::new())
    }
}

impl<P, S, A, const N: usize, W> EventLoop<P, S, A, FixedStorage<S, A, N, W>> {
    /// The same with another structure for timers: `FixedLoop::with_timers(poller, Wheel::<16, 8>::new())`.
    pub const fn with_timers(poller: P, timers: W) -> Self {
        Self::from_parts(poller, FixedStorage::with_timers(timers))
    }
}

impl<P: Poller + Default, S, A, T: Storage<S, A> + Allocate> EventLoop<P, S, A, T> {
    /// A loop for 1,024 threads.
    pub fn new() -> Self {
        Self::with_capacity(1_024)
    }

    /// A loop for `threads` threads, at most 16,777,215. It allocates here and never again.
    pub fn with_capacity(threads: usize) -> Self {
        Self::from_parts(P::default(), T::with_capacity(threads))
    }
}

impl<P: Poller + Default, S, A, T: Storage<S, A> + Allocate> Default for EventLoop<P, S, A, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Poller, S, A, T: Storage<S, A>> EventLoop<P, S, A, T> {
    /// The threads, to add to and to take from.
    pub fn threads(&mut self) -> Threads<'_, S, A> {
        // A thread is running here only if its hook has panicked: it has ended.
        self.settle();
        self.view()
    }

    /// The same while a thread runs.
    fn view(&mut self) -> Threads<'_, S, A> {
        let Parts { links, bodies, timers } = lend(&mut self.storage);
        let tables = Tables { head: &mut self.head, links, timers, host: &mut self.poller };
        Threads { tables, bodies }
    }

    /// Runs turns until no thread is left ([`Exit::Empty`]) or somebody says `stop` ([`Exit::Stopped`]). The loop can
    /// run again after that.
    ///
    /// # Errors
    /// What the poller's wait says. All threads stay registered, so that `run` may be called again.
    pub fn run(&mut self, state: &mut S) -> Result<Exit, P::Error> {
        loop {
            if let Some(exit) = self.turn(state)? {
                return Ok(exit);
            }
        }
    }

    /// Runs one turn, for a program that has a loop of its own. `None` says that there are threads left; what else it
    /// may say, [`run`](Self::run) says.
    ///
    /// 1. What an earlier `stop`, or a wait that failed, has left.
    /// 2. Execute threads that are there, in the order of adding. If more are pending then, and fewer than
    ///    [`LOOK_EVERY`](Poller::LOOK_EVERY) hooks have run since the poller was last asked, the turn ends here.
    /// 3. The wait: until the nearest deadline, and not at all if something is pending.
    /// 4. Writers that are ready, then readers that are ready, in the order in which the poller found them.
    /// 5. Timers that were due when the wait ended, by deadline, equal ones in the order of adding.
    ///
    /// What a hook adds or re-arms never runs in the same step: execute threads wait for the next turn, all else for
    /// the next wait (which is this turn's for a hook of steps 1 and 2). So a thread that is ready or due waits for
    /// less than `LOOK_EVERY` + 3 × `capacity` hooks of other threads, whatever they do.
    ///
    /// # Errors
    /// What the poller's wait says. All threads stay registered.
    pub fn turn(&mut self, state: &mut S) -> Result<Option<Exit>, P::Error> {
        self.settle();
        self.head.begin_turn();
        self.run_found(state);
        self.run_pending(state);
        if !self.head.is_over() && !self.head.can_skip_wait(P::LOOK_EVERY) {
            self.wait()?;
            self.run_found(state);
        }
        Ok(self.head.exit())
    }

    /// Runs what was found ready or due.
    fn run_found(&mut self, state: &mut S) {
        while let Some(index) = self.head.next_found() {
            self.call(state, index);
        }
    }

    /// Runs the execute threads that are there.
    fn run_pending(&mut self, state: &mut S) {
        while let Some(index) = self.head.next_pending(lend(&mut self.storage).links) {
            self.call(state, index);
        }
    }

    fn call(&mut self, state: &mut S, index: Index) {
        self.head.begin_hook(index);
        let threads = self.view();
        let call = threads.bodies.get_mut(index.position()).and_then(|body| body.call.take());
        debug_assert!(call.is_some(), "slot {} has no hook", index.position());
        if let Some((hook, arg)) = call {
            threads.log_error_of(index);
            hook(state, Thread { threads, index, hook, arg });
        }
        self.settle();
    }

    /// Ends the thread whose hook was called last, if it has not re-armed it.
    fn settle(&mut self) {
        if let Some(index) = self.head.running {
            let mut threads = self.view();
            threads.tables.release(index);
            crate::log::trace!("thread {}: ended", threads.name(index));
        }
    }

    /// Tells the poller what is new, waits, and notes what is ready or due.
    ///
    /// Never inlined, so that it needs no stack while hooks run.
    #[inline(never)]
    fn wait(&mut self) -> Result<(), P::Error> {
        let until = self.view().tables.before_wait();
        let Self { poller, head, storage, .. } = self;
        let links = lend::<S, A, T>(storage).links;
        let now = poller.wait(
            until,
            &mut Ready::new(&mut |source, readiness| head.found(links, source, readiness)),
        )?;
        self.view().tables.after_wait(now);
        Ok(())
    }

    /// The poller.
    pub fn poller(&self) -> &P {
        &self.poller
    }
}

/// The tables, with as many links as there are bodies and indices for.
fn lend<S, A, T: Storage<S, A>>(storage: &mut T) -> Parts<'_, S, A> {
    let Parts { links, bodies, timers } = storage.lend();
    let room = links.len().min(bodies.len()).min(MAX_CAPACITY);
    Parts { links: links.get_mut(..room).unwrap_or_default(), bodies, timers }
}
