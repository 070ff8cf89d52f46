//! What is outside of the pollers of this repository, for the [contract](crate::contract).

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_core::sim::World;
use kpt_core::{Readiness, Source, poller::Poller};
use kpt_std::source;

use crate::bench::{LINES, Machine};
use crate::contract::Rig;
use crate::sys;

/// A world in virtual time, and a poller on it.
pub struct Simulated<'w, P> {
    world: &'w World,
    poller: P,
    next: u32,
}

impl<'w, P> Simulated<'w, P> {
    /// The poller must be one on that world.
    pub fn new(world: &'w World, poller: P) -> Self {
        Self { world, poller, next: 0 }
    }
}

impl<P: Poller<Error: core::fmt::Debug>> Rig for Simulated<'_, P> {
    type Poller = P;

    fn poller(&mut self) -> &mut P {
        &mut self.poller
    }

    fn open(&mut self) -> Source {
        self.next = (self.next + 1) % 8;
        let source = Source::new(self.next);
        self.close(source);
        self.set(source, Readiness::WRITABLE);
        source
    }

    fn close(&mut self, source: Source) {
        self.world.clear(source, self.world.readiness(source));
    }

    fn set(&mut self, source: Source, readiness: Readiness) {
        self.world.set(source, readiness).expect("the world has room");
    }

    fn clear(&mut self, source: Source, readiness: Readiness) {
        self.world.clear(source, readiness);
    }

    fn break_it(&mut self, source: Source) {
        self.close(source);
        self.set(source, Readiness::ERROR);
    }

    fn unwatchable(&self) -> Vec<Source> {
        Vec::new()
    }

    fn true_time(&mut self) -> Duration {
        Duration::from_micros(self.world.now().as_micros())
    }
}

/// A board in virtual time, and a poller on its lines.
pub struct Interrupts<'m, P> {
    machine: &'m Machine,
    poller: P,
    next: u32,
}

impl<'m, P> Interrupts<'m, P> {
    /// The poller must be one of that machine's.
    pub fn new(machine: &'m Machine, poller: P) -> Self {
        Self { machine, poller, next: 0 }
    }
}

impl<P: Poller<Error: core::fmt::Debug>> Rig for Interrupts<'_, P> {
    type Poller = P;

    fn poller(&mut self) -> &mut P {
        &mut self.poller
    }

    /// What is set is readable and writable in one, so that one of both will do.
    fn can_be(&self) -> Readiness {
        Readiness::READABLE
    }

    fn open(&mut self) -> Source {
        self.next = (self.next + 1) % LINES as u32;
        Source::new(self.next)
    }

    fn close(&mut self, source: Source) {
        self.machine.lines.clear(source);
    }

    fn set(&mut self, source: Source, _: Readiness) {
        self.machine.lines.set(source);
    }

    fn clear(&mut self, source: Source, _: Readiness) {
        self.machine.lines.clear(source);
    }

    fn break_it(&mut self, _: Source) {
        unreachable!("a line can't break");
    }

    fn unwatchable(&self) -> Vec<Source> {
        [LINES as u32, 31, 32, 1_000, u32::MAX].map(Source::new).to_vec()
    }

    fn true_time(&mut self) -> Duration {
        Duration::from_nanos(self.machine.nanos.get())
    }
}

/// Pairs of connected sockets, and a poller that watches one of each pair.
pub struct Sockets<P> {
    poller: P,
    pairs: HashMap<Source, (UnixStream, Option<UnixStream>)>,
    unwatchable: Vec<Source>,
    /// The other sides of those that were broken.
    broken: Vec<UnixStream>,
}

impl<P> Sockets<P> {
    /// The poller's sources must be descriptors, and its clock the monotonic one.
    pub fn new(poller: P, unwatchable: Vec<Source>) -> Self {
        Self { poller, pairs: HashMap::new(), unwatchable, broken: Vec::new() }
    }

    fn pair(&mut self, source: Source) -> (&UnixStream, &UnixStream) {
        let (ours, theirs) = self.pairs.get(&source).expect("the source is open");
        (ours, theirs.as_ref().expect("the other side is there"))
    }
}

impl<P: Poller<Error: core::fmt::Debug>> Rig for Sockets<P> {
    type Poller = P;

    fn poller(&mut self) -> &mut P {
        &mut self.poller
    }

    fn open(&mut self) -> Source {
        let (ours, theirs) = pair();
        let source = source(&ours);
        self.pairs.insert(source, (ours, Some(theirs)));
        source
    }

    fn close(&mut self, source: Source) {
        self.pairs.remove(&source).expect("the source is open");
    }

    fn set(&mut self, source: Source, readiness: Readiness) {
        if readiness.is_readable() {
            self.pair(source).1.write_all(b"x").expect("room for a byte");
        }
        if readiness.is_writable() {
            drain(self.pair(source).1);
        }
        if readiness.is_hangup() {
            self.pairs.get_mut(&source).expect("the source is open").1 = None;
        }
    }

    fn clear(&mut self, source: Source, readiness: Readiness) {
        let (ours, _) = self.pair(source);
        if readiness.is_readable() {
            drain(ours);
        }
        if readiness.is_writable() {
            fill(ours);
        }
    }

    fn break_it(&mut self, source: Source) {
        // The other side stays open: a closed number is the only thing that is wrong. It must stay free, too.
        let (ours, theirs) = self.pairs.remove(&source).expect("the source is open");
        self.broken.extend(theirs);
        drop(ours);
    }

    fn unwatchable(&self) -> Vec<Source> {
        self.unwatchable.clone()
    }

    fn true_time(&mut self) -> Duration {
        sys::monotonic_time()
    }
}

/// Two sockets that are connected, both non-blocking.
///
/// # Panics
/// If the process may not open two more.
pub fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().expect("a socket pair");
    a.set_nonblocking(true).expect("non-blocking");
    b.set_nonblocking(true).expect("non-blocking");
    (a, b)
}

/// Reads what is there.
///
/// # Panics
/// If the other side has gone, or reading fails.
pub fn drain(mut from: &UnixStream) {
    let mut buffer = [0; 4_096];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => panic!("the other side has gone"),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Writes until nothing more goes in.
///
/// # Panics
/// If writing fails.
pub fn fill(mut into: &UnixStream) {
    loop {
        match into.write(&[0; 4_096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}
