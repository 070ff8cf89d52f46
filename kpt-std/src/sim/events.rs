//! Simulated wakers and signals: a flag that makes a source readable.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::thread::{self, ThreadId};

use kpt_core::Readiness;

use super::net::{File, Handle};
use super::world;

/// What a waker has in place of a descriptor of the system.
#[derive(Debug)]
pub struct SimEvent {
    handle: Handle,
    owner: ThreadId,
}

impl SimEvent {
    /// Opens one in the current simulation; `None` if there is none.
    pub fn open() -> Option<io::Result<Self>> {
        world::current().map(|sim| {
            let mut net = sim.world().net.borrow_mut();
            let handle = net.open(File::Event(Rc::default()))?;
            Ok(Self { handle, owner: thread::current().id() })
        })
    }

    /// Makes it readable. Does nothing after the end of the simulation.
    ///
    /// # Panics
    /// In any OS thread but that of the simulation: the wake-up would be lost.
    pub fn set(&self) {
        self.put(true);
    }

    pub fn clear(&self) {
        self.put(false);
    }

    fn put(&self, is_set: bool) {
        let result = self.handle.with(|_, _, file| {
            if let File::Event(flag) = file {
                flag.set(is_set);
            }
        });
        assert!(
            result.is_ok() || self.owner == thread::current().id(),
            "a simulated waker was woken by another OS thread; let an action of the test (`Sim::after`) wake it instead"
        );
    }
}

impl AsFd for SimEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

pub fn readiness(is_set: &Cell<bool>) -> Readiness {
    if is_set.get() { Readiness::READABLE } else { Readiness::NONE }
}
