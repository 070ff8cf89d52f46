//! Loops as tests want them: in virtual time, and checked after every turn.

use std::io::Error;
use std::time::Duration;

use kpt_core::large::{Body, EventLoop, Link, Parts, Storage, Wheel};
use kpt_core::poller::Poller;
use kpt_core::sim::{Idle, SimPoller, World};
use kpt_core::{Exit, FixedLoop, Next, Readiness, Thread, Threads};
use kpt_std::{HostTimers, Tasks};

use crate::real::Real;
use crate::sys;

/// What happened, in order.
pub type Trace = Vec<&'static str>;

/// Which sources' threads ran, and with what.
pub type Ran = Vec<(u32, Readiness)>;

/// A hook for readers and writers that notes that it ran.
///
/// # Panics
/// If its thread has no source.
pub fn record(ran: &mut Ran, thread: Thread<Ran>) {
    let source = thread.source().expect("a reader or a writer");
    ran.push((source.number(), thread.readiness()));
}

/// A loop of either kind, on any poller: what tests that hold for all of them need.
pub trait AnyLoop<S, A> {
    /// The error of the poller's wait.
    type Error: core::fmt::Debug;

    /// The threads.
    fn threads(&mut self) -> Threads<'_, S, A>;

    /// Runs turns until the loop ends.
    ///
    /// # Errors
    /// Returns the error of the wait.
    fn run(&mut self, state: &mut S) -> Result<Exit, Self::Error>;

    /// Runs a turn.
    ///
    /// # Errors
    /// Returns the error of the wait.
    fn turn(&mut self, state: &mut S) -> Result<Option<Exit>, Self::Error>;

    /// Runs a turn that does not sleep.
    ///
    /// # Errors
    /// Returns the error of the wait.
    fn poll(&mut self, state: &mut S) -> Result<Next, Self::Error>;

    /// Runs turns until the loop ends, and verifies its tables after each turn.
    ///
    /// # Errors
    /// Returns the error of the wait.
    ///
    /// # Panics
    /// If the tables are not in order, or if the loop runs 100,000 turns.
    fn run_verified(&mut self, state: &mut S) -> Result<Exit, Self::Error> {
        for _ in 0..100_000 {
            let exit = self.turn(state);
            self.threads().verify().expect("the tables are in order");
            if let Some(exit) = exit? {
                return Ok(exit);
            }
        }
        panic!("does not end");
    }

    /// Turns until `is_done` says so.
    ///
    /// # Panics
    /// If that takes 10,000,000 turns, if the wait fails, or if the loop ends before.
    fn turn_until(&mut self, state: &mut S, is_done: &mut dyn FnMut(&S) -> bool) {
        for _ in 0..10_000_000 {
            if is_done(state) {
                return;
            }
            let exit = self.turn(state).expect("the wait works");
            assert!(exit.is_none() || is_done(state), "the loop has ended: {exit:?}");
        }
        panic!("does not happen");
    }
}

impl<P: Poller<Error: core::fmt::Debug>, S, A, const N: usize> AnyLoop<S, A>
    for FixedLoop<P, S, N, A>
{
    type Error = P::Error;

    fn threads(&mut self) -> Threads<'_, S, A> {
        self.threads()
    }

    fn run(&mut self, state: &mut S) -> Result<Exit, P::Error> {
        self.run(state)
    }

    fn turn(&mut self, state: &mut S) -> Result<Option<Exit>, P::Error> {
        self.turn(state)
    }

    fn poll(&mut self, state: &mut S) -> Result<Next, P::Error> {
        self.poll(state)
    }
}

impl<P: Poller<Error: core::fmt::Debug>, S, A, T: Storage<S, A>> AnyLoop<S, A>
    for EventLoop<P, S, A, T>
{
    type Error = P::Error;

    fn threads(&mut self) -> Threads<'_, S, A> {
        self.threads()
    }

    fn run(&mut self, state: &mut S) -> Result<Exit, P::Error> {
        self.run(state)
    }

    fn turn(&mut self, state: &mut S) -> Result<Option<Exit>, P::Error> {
        self.turn(state)
    }

    fn poll(&mut self, state: &mut S) -> Result<Next, P::Error> {
        self.poll(state)
    }
}

/// A kind of loop, and the shape of its timer wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The small loop.
    Small,
    /// The large loop with that many slots in each of so many levels.
    Wheel(u32, u32),
}

impl Shape {
    /// The loops that ship, and a large one whose wheel overflows soon. More geometries, against a slow twin, are in kpt-core.
    pub const ALL: [Self; 4] = [Self::Small, Self::HOST, Self::Wheel(16, 8), Self::Wheel(2, 3)];

    /// The large loop as hosts have it.
    pub const HOST: Self = Self::Wheel(1_024, 4);

    /// The loops that ship: one of each kind. Prints which one is tried, which is shown if the test fails.
    pub fn both() -> impl Iterator<Item = Self> {
        [Self::Small, Self::HOST].into_iter().inspect(|shape| println!("on {shape:?}"))
    }

    /// All of [`ALL`](Self::ALL), printed as well.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().inspect(|shape| println!("on {shape:?}"))
    }
}

/// A loop of either kind with an error of its poller.
pub type BoxedLoop<'p, S, A, E> = Box<dyn AnyLoop<S, A, Error = E> + 'p>;

/// Runs until a timer has written `timer` in 100 ms.
///
/// # Panics
/// If that takes half as much processor time.
pub fn wait_without_spinning(kpt: &mut dyn AnyLoop<Trace, (), Error = Error>, trace: &mut Trace) {
    let delay = Duration::from_millis(100);
    let timer = kpt.threads().add_timer("timer", delay, |trace, _| trace.push("timer"), ());
    timer.expect("room for a timer");
    let before = sys::thread_cpu_time();
    kpt.turn_until(trace, &mut |trace| trace.contains(&"timer"));
    let busy = sys::thread_cpu_time() - before;
    assert!(busy < delay / 2, "spins for {busy:?} of {delay:?}");
}

/// A loop of that shape for `threads` threads in that world, in virtual time.
pub fn sim_loop<'w, S: 'w, A: 'w>(
    world: &'w World,
    threads: usize,
    shape: Shape,
) -> BoxedLoop<'w, S, A, Idle> {
    any_loop(SimPoller::new(world), threads, shape)
}

/// A loop for `threads` threads on this machine, with tasks as [`kpt_std::EventLoop`] has them.
pub fn real_loop<'p, S: 'p, A: 'p>(threads: usize, real: Real) -> BoxedLoop<'p, S, A, Error> {
    any_loop(Tasks::new(real.backend.poller()), threads, real.shape)
}

/// A boxed loop of that shape for `threads` threads on that poller.
///
/// # Panics
/// If there is no loop of that capacity or shape yet: add it here.
pub fn any_loop<'p, P: Poller<Error: core::fmt::Debug> + 'p, S: 'p, A: 'p>(
    poller: P,
    threads: usize,
    shape: Shape,
) -> BoxedLoop<'p, S, A, P::Error> {
    macro_rules! small {
        ($($capacity:literal)*) => {
            match threads {
                $($capacity => Box::new(FixedLoop::<P, S, $capacity, A>::new(poller)),)*
                _ => panic!("no small loop for {threads} threads"),
            }
        };
    }
    macro_rules! large {
        ($wheel:ty) => {{
            let storage = AnyStorage { threads, timers: <$wheel>::new() };
            Box::new(EventLoop::with_storage(poller, storage))
        }};
    }
    match shape {
        Shape::Small => small!(0 1 2 3 4 5 6 7 8 9 10 11 12 16 32 64 100),
        Shape::HOST => large!(HostTimers),
        Shape::Wheel(16, 8) => large!(Wheel<16, 8>),
        Shape::Wheel(2, 3) => large!(Wheel<2, 3>),
        Shape::Wheel(..) => panic!("no wheel like {shape:?}"),
    }
}

/// Tables of any size.
struct AnyStorage<W> {
    threads: usize,
    timers: W,
}

macro_rules! storages {
    ($($wheel:ty),*) => {
        $(impl<S, A> Storage<S, A> for AnyStorage<$wheel> {
            type Links = Vec<Link>;
            type Bodies = Vec<Body<S, A>>;
            type Timers = $wheel;

            fn into_parts(self) -> Parts<Vec<Link>, Vec<Body<S, A>>, $wheel> {
                let bodies = Vec::from_iter((0..self.threads).map(|_| Body::VACANT));
                Parts { links: vec![Link::VACANT; self.threads], bodies, timers: self.timers }
            }
        })*
    };
}

storages!(HostTimers, Wheel<16, 8>, Wheel<2, 3>);
