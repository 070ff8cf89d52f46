//! What the kernel has of a poller: the set of watched descriptors, and the timer in it.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use kpt_core::Instant;
use libc::{EPOLLET, EPOLLIN, c_int};

use crate::sys::{EpollSet, Event, Timer};

/// The data of the timer's event. No descriptor has it.
const TIMER: u64 = u64::MAX;

/// A set of watched descriptors, with a timer.
///
/// A deadline is no timeout of the wait but a timer in the set. So the clock is read and the kernel told of a deadline only
/// when one is earlier than all that the timer is set for; a loop that another loop waits for has its deadlines; and the
/// timer is exact to some microseconds, for which a timeout would need a newer kernel.
pub struct Set {
    inner: EpollSet,
    /// What another loop watches, as the inner one may be replaced. Has only the inner one, and that only if another loop
    /// waits: each event of the inner one wakes it up too, which takes half as long as a wait.
    outer: EpollSet,
    has_inner: Cell<bool>,
    /// Edge-triggered: that it has fired is told once, and it is never read.
    timer: Timer,
    /// The moment for which the timer is set, if it has not been seen to fire since.
    armed: Cell<Instant>,
}

/// What is known of one event.
pub enum Found {
    /// The timer has fired, which was set for that moment.
    Timer(Instant),
    /// These bits were found on that descriptor, which was added with that generation.
    Source { descriptor: u32, generation: u32, bits: c_int },
}

impl Set {
    /// Returns a set without descriptors.
    pub fn new() -> io::Result<Self> {
        let (outer, timer) = (EpollSet::new()?, Timer::new()?);
        let inner = inner(&timer)?;
        let (has_inner, armed) = (Cell::new(false), Cell::new(Instant::NEVER));
        Ok(Self { inner, outer, has_inner, timer, armed })
    }

    /// Drops all descriptors from the set, also those that are closed, and can't be named any more.
    pub fn clear(&mut self) -> io::Result<()> {
        let inner = inner(&self.timer)?;
        if self.has_inner.get() {
            self.outer.add(inner.as_fd().as_raw_fd(), EPOLLIN, 0)?;
            self.outer.remove(self.inner.as_fd().as_raw_fd())?;
        }
        self.inner = inner;
        Ok(())
    }

    /// Has the descriptor of `as_fd` be readable when something is found.
    pub fn nest(&self) -> io::Result<()> {
        if !self.has_inner.get() {
            self.outer.add(self.inner.as_fd().as_raw_fd(), EPOLLIN, 0)?;
            self.has_inner.set(true);
        }
        Ok(())
    }

    /// Watches a descriptor that is not in the set. `EEXIST` if it is all the same.
    pub fn add(&self, descriptor: u32, generation: u32, bits: c_int) -> io::Result<()> {
        self.inner.add(descriptor as RawFd, bits, data(descriptor, generation))
    }

    /// Watches a descriptor for something else. `EBADF` if it is closed, `ENOENT` if it is another file.
    pub fn modify(&self, descriptor: u32, generation: u32, bits: c_int) -> io::Result<()> {
        self.inner.modify(descriptor as RawFd, bits, data(descriptor, generation))
    }

    /// Watches a descriptor no more. Fails as `modify` does.
    pub fn remove(&self, descriptor: u32) -> io::Result<()> {
        self.inner.remove(descriptor as RawFd)
    }

    /// Returns whether the timer fires at that moment or before.
    pub fn is_armed_for(&self, moment: Instant) -> bool {
        self.armed.get() <= moment
    }

    /// Has the timer fire at that moment.
    pub fn arm(&self, moment: Instant) -> io::Result<()> {
        self.timer.set(moment)?;
        self.armed.set(moment);
        Ok(())
    }

    /// Waits until something is found, or only looks, and returns how many events there are. A signal ends it with none.
    pub fn wait(&self, events: &mut [Event], may_sleep: bool) -> io::Result<usize> {
        match self.inner.wait(events, may_sleep) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            result => result,
        }
    }

    /// Returns what an event of `wait` means.
    #[inline]
    pub fn decode(&self, event: Event) -> Found {
        if event.u64 == TIMER {
            return Found::Timer(self.armed.replace(Instant::NEVER));
        }
        Found::Source {
            descriptor: event.u64 as u32,
            generation: (event.u64 >> 32) as u32,
            bits: event.events.cast_signed(),
        }
    }
}

impl AsFd for Set {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outer.as_fd()
    }
}

/// Returns a set with nothing but that timer.
fn inner(timer: &Timer) -> io::Result<EpollSet> {
    let set = EpollSet::new()?;
    set.add(timer.as_fd().as_raw_fd(), EPOLLIN | EPOLLET, TIMER)?;
    Ok(set)
}

fn data(descriptor: u32, generation: u32) -> u64 {
    u64::from(descriptor) | u64::from(generation) << 32
}
