//! Loops as tests want them: in virtual time, and checked after every turn.

use kpt_core::sim::{SimPoller, World};
use kpt_core::{
    Allocate, Body, EventLoop, Exit, Link, Parts, Poller, Readiness, SortedList, Storage, Thread,
    Timers, Wheel,
};
use kpt_std::{HeapStorage, HostWheel};

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

/// A loop in virtual time, with tables and wheel as a host has them.
pub type SimLoop<'w, S, A = ()> = EventLoop<SimPoller<'w>, S, A, HeapStorage<S, A>>;

/// A loop for so many threads in that world.
pub fn sim_loop<S, A>(world: &World, threads: usize) -> SimLoop<'_, S, A> {
    EventLoop::from_parts(SimPoller::new(world), HeapStorage::with_capacity(threads))
}

/// Runs the loop as `run` does, and verifies its tables after each turn.
///
/// # Errors
/// What the wait says.
///
/// # Panics
/// If the tables are not in order, or if the loop runs 100,000 turns.
pub fn run_verified<P: Poller, S, A, T: Storage<S, A>>(
    kpt: &mut EventLoop<P, S, A, T>,
    state: &mut S,
) -> Result<Exit, P::Error> {
    for _ in 0..100_000 {
        let exit = kpt.turn(state);
        kpt.threads().verify().expect("the tables are in order");
        if let Some(exit) = exit? {
            return Ok(exit);
        }
    }
    panic!("does not end");
}

/// Turns until `is_done` says so.
///
/// # Panics
/// If that takes 100,000 turns, if the wait fails, or if the loop ends before.
pub fn turn_until<P: Poller<Error: core::fmt::Debug>, S, A, T: Storage<S, A>>(
    kpt: &mut EventLoop<P, S, A, T>,
    state: &mut S,
    mut is_done: impl FnMut(&S) -> bool,
) {
    for _ in 0..100_000 {
        if is_done(state) {
            return;
        }
        let exit = kpt.turn(state).expect("the wait works");
        assert!(exit.is_none() || is_done(state), "the loop has ended: {exit:?}");
    }
    panic!("does not happen");
}

/// Tables with any timer structure.
pub struct AnyStorage<S, A = ()> {
    links: Vec<Link>,
    bodies: Vec<Body<S, A>>,
    timers: Box<dyn Timers>,
}

impl<S, A> AnyStorage<S, A> {
    /// Room for so many threads.
    pub fn new(threads: usize, timers: Box<dyn Timers>) -> Self {
        let bodies = Vec::from_iter((0..threads).map(|_| Body::VACANT));
        Self { links: vec![Link::VACANT; threads], bodies, timers }
    }
}

impl<S, A> Storage<S, A> for AnyStorage<S, A> {
    fn lend(&mut self) -> Parts<'_, S, A> {
        let Self { links, bodies, timers } = self;
        Parts { links, bodies, timers: &mut **timers }
    }
}

/// A loop in virtual time, with any timer structure.
pub type AnyLoop<'w, S, A = ()> = EventLoop<SimPoller<'w>, S, A, AnyStorage<S, A>>;

/// A loop for so many threads in that world, with that timer structure.
pub fn any_loop<S, A>(world: &World, threads: usize, timers: Box<dyn Timers>) -> AnyLoop<'_, S, A> {
    EventLoop::from_parts(SimPoller::new(world), AnyStorage::new(threads, timers))
}

/// Timer structures of each kind and several shapes: the ones that ship, and such that overflow soon.
pub fn timer_structures() -> Vec<Box<dyn Timers>> {
    vec![
        Box::new(SortedList::new()),
        Box::new(HostWheel::new()),
        Box::new(Wheel::<16, 8>::new()),
        Box::new(Wheel::<4, 3>::new()),
        Box::new(Wheel::<2, 1>::new()),
        Box::new(Wheel::<2, 64>::new()),
    ]
}
