//! Tables on the heap.

use kpt_core::{Allocate, Body, Link, Parts, Storage, Wheel};

/// The timers of a loop on a host: 6 levels of 64 slots, which span 19 hours before timers are kept in the far list.
pub type HostWheel = Wheel<64, 6>;

/// Memory for a number of threads that is known when the program runs: allocated once, 64 bytes and an argument each on
/// a 64-bit machine.
pub struct HeapStorage<S, A> {
    links: Vec<Link>,
    bodies: Vec<Body<S, A>>,
    timers: Box<HostWheel>,
}

impl<S, A> Allocate for HeapStorage<S, A> {
    fn with_capacity(threads: usize) -> Self {
        let mut bodies = Vec::with_capacity(threads);
        bodies.resize_with(threads, || Body::VACANT);
        Self { links: vec![Link::VACANT; threads], bodies, timers: Box::new(HostWheel::new()) }
    }
}

impl<S, A> Storage<S, A> for HeapStorage<S, A> {
    fn lend(&mut self) -> Parts<'_, S, A> {
        Parts { links: &mut self.links, bodies: &mut self.bodies, timers: &mut *self.timers }
    }
}
