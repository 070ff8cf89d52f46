//! The kernel's part of a poller: the set of watched descriptors, and the timer in it.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use kpt_core::Instant;
use libc::{EPOLLET, EPOLLIN, c_int};

use crate::sys::{EpollSet, Event, Timer};

/// The data of the timer's event. No descriptor has this number.
const TIMER: u64 = u64::MAX;

/// A set of watched descriptors, with a timer.
///
/// A deadline is not the timeout of a wait but a timer in the set. So the clock is read and the timer set only if a
/// deadline is earlier than the one for which the timer is set; another loop that waits for this one also sees its
/// deadlines; and the timer is exact to some microseconds, where a timeout would need a newer kernel.
pub struct Set {
    inner: EpollSet,
    /// The set that another loop watches, since the inner one may be replaced. It contains only the inner set, and only
    /// if another loop waits for it: each event of the inner set wakes it up too, which takes half as long as a wait.
    /// `None` if no other loop ever does.
    outer: Option<EpollSet>,
    has_inner: Cell<bool>,
    /// Edge-triggered: it reports once that it has fired, and is never read.
    timer: Timer,
    /// The moment to which the timer is set; `NEVER` after it was seen to fire.
    armed: Cell<Instant>,
}

/// The meaning of one event.
pub enum Found {
    /// The timer has fired, which was set to this moment.
    Timer(Instant),
    /// These events were found on this descriptor, which was added with this generation.
    Source { descriptor: u32, generation: u32, bits: c_int },
}

impl Set {
    /// Creates a set without descriptors, for which another loop may wait.
    pub fn new() -> io::Result<Self> {
        let outer = EpollSet::new()?;
        Ok(Self { outer: Some(outer), ..Self::hidden()? })
    }

    /// Creates a set without descriptors, for which no other loop waits.
    pub fn hidden() -> io::Result<Self> {
        let (outer, timer) = (None, Timer::new()?);
        let inner = inner(&timer)?;
        let (has_inner, armed) = (Cell::new(false), Cell::new(Instant::NEVER));
        Ok(Self { inner, outer, has_inner, timer, armed })
    }

    /// Creates another set, for which other loops may wait if they may for this one.
    pub fn another(&self) -> io::Result<Self> {
        if self.outer.is_some() { Self::new() } else { Self::hidden() }
    }

    /// Removes all descriptors from the set, also closed ones, which can't be removed by number.
    pub fn clear(&mut self) -> io::Result<()> {
        let inner = inner(&self.timer)?;
        if let Some(outer) = &self.outer
            && self.has_inner.get()
        {
            outer.add(inner.as_fd().as_raw_fd(), EPOLLIN, 0)?;
            outer.remove(self.inner.as_fd().as_raw_fd())?;
        }
        self.inner = inner;
        Ok(())
    }

    /// Makes the descriptor of `as_fd` readable when an event is found, from now on.
    pub fn nest(&self) -> io::Result<()> {
        if let Some(outer) = &self.outer
            && !self.has_inner.get()
        {
            outer.add(self.inner.as_fd().as_raw_fd(), EPOLLIN, 0)?;
            self.has_inner.set(true);
        }
        Ok(())
    }

    /// Watches a descriptor that is not in the set. Fails with `EEXIST` if it is.
    pub fn add(&self, descriptor: u32, generation: u32, bits: c_int) -> io::Result<()> {
        self.inner.add(descriptor as RawFd, bits, data(descriptor, generation))
    }

    /// Changes the interest in a descriptor. Fails with `EBADF` if it is closed, and with `ENOENT` if it is another
    /// file.
    pub fn modify(&self, descriptor: u32, generation: u32, bits: c_int) -> io::Result<()> {
        self.inner.modify(descriptor as RawFd, bits, data(descriptor, generation))
    }

    /// Stops watching a descriptor. Fails as `modify` does.
    pub fn remove(&self, descriptor: u32) -> io::Result<()> {
        self.inner.remove(descriptor as RawFd)
    }

    /// Returns whether the timer is set to that moment or an earlier one.
    pub fn is_armed_for(&self, moment: Instant) -> bool {
        self.armed.get() <= moment
    }

    /// Sets the timer to that moment.
    pub fn arm(&self, moment: Instant) -> io::Result<()> {
        self.timer.set(moment)?;
        self.armed.set(moment);
        Ok(())
    }

    /// Waits until there are events, or only looks if `may_sleep` is false. There are none if a signal has ended the
    /// wait.
    pub fn wait(&self, events: &mut Vec<Event>, may_sleep: bool) -> io::Result<()> {
        match self.inner.wait(events, may_sleep) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    /// Decodes an event of `wait`.
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
        self.outer.as_ref().unwrap_or(&self.inner).as_fd()
    }
}

/// Creates a set with only the timer.
fn inner(timer: &Timer) -> io::Result<EpollSet> {
    let set = EpollSet::new()?;
    set.add(timer.as_fd().as_raw_fd(), EPOLLIN | EPOLLET, TIMER)?;
    Ok(set)
}

fn data(descriptor: u32, generation: u32) -> u64 {
    u64::from(descriptor) | u64::from(generation) << 32
}
