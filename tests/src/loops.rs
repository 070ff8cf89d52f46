//! Loops as tests want them: in virtual time, and checked after every turn.

use kpt_core::sim::{SimPoller, World};
use kpt_core::{
    Allocate, Body, EventLoop, Exit, Index, Instant, LargeQueues, Link, Parts, Place, Poller,
    Queues, Readiness, SmallQueues, Source, Storage, Thread, Wheel,
};
use kpt_std::{HeapStorage, HostQueues};

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

/// A loop in virtual time, with tables and queues as a host has them.
pub type SimLoop<'w, S, A = ()> = EventLoop<SimPoller<'w>, S, A, HeapStorage<S, A>>;

/// A loop for so many threads in that world.
pub fn sim_loop<S, A>(world: &World, threads: usize) -> SimLoop<'_, S, A> {
    EventLoop::with_storage(SimPoller::new(world), HeapStorage::with_capacity(threads))
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

/// Any queues.
pub struct AnyQueues(Box<dyn Queues>);

impl Queues for AnyQueues {
    fn move_to(&mut self, links: &mut [Link], thread: Index, to: Place) {
        self.0.move_to(links, thread, to);
    }

    fn first(&self, links: &[Link], place: Place) -> Option<Index> {
        self.0.first(links, place)
    }

    fn next_of(&self, links: &[Link], source: Source, after: Option<Index>) -> Option<Index> {
        self.0.next_of(links, source, after)
    }

    fn position(&self) -> Instant {
        self.0.position()
    }

    fn next_deadline(&self, links: &[Link]) -> Instant {
        self.0.next_deadline(links)
    }

    fn advance(&mut self, links: &mut [Link], now: Instant) {
        self.0.advance(links, now);
    }

    fn verify(&self, links: &[Link]) -> Result<(), &'static str> {
        self.0.verify(links)
    }
}

/// Tables of any size with any queues.
pub struct AnyStorage {
    threads: usize,
    queues: AnyQueues,
}

impl AnyStorage {
    /// Room for so many threads.
    pub fn new(threads: usize, queues: Box<dyn Queues>) -> Self {
        Self { threads, queues: AnyQueues(queues) }
    }
}

impl<S, A> Storage<S, A> for AnyStorage {
    type Links = Vec<Link>;
    type Bodies = Vec<Body<S, A>>;
    type Queues = AnyQueues;

    fn into_parts(self) -> Parts<Vec<Link>, Vec<Body<S, A>>, AnyQueues> {
        let bodies = Vec::from_iter((0..self.threads).map(|_| Body::VACANT));
        Parts { links: vec![Link::VACANT; self.threads], bodies, queues: self.queues }
    }
}

/// A loop in virtual time, with any queues.
pub type AnyLoop<'w, S, A = ()> = EventLoop<SimPoller<'w>, S, A, AnyStorage>;

/// A loop for so many threads in that world, with these queues.
pub fn any_loop<S, A>(world: &World, threads: usize, queues: Box<dyn Queues>) -> AnyLoop<'_, S, A> {
    EventLoop::with_storage(SimPoller::new(world), AnyStorage::new(threads, queues))
}

/// Queues of each kind and several shapes: the ones that ship, and such that overflow soon.
pub fn all_queues() -> Vec<Box<dyn Queues>> {
    vec![
        Box::new(SmallQueues::new()),
        Box::new(HostQueues::default()),
        wheel::<16, 8>(),
        wheel::<4, 3>(),
        wheel::<2, 1>(),
        wheel::<2, 64>(),
    ]
}

/// Lists with a wheel of that shape.
pub fn wheel<const SLOTS: usize, const LEVELS: usize>() -> Box<dyn Queues> {
    Box::new(LargeQueues::with_timers(Wheel::<SLOTS, LEVELS>::new()))
}
