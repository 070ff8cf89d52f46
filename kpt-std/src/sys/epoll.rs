//! Sets of watched descriptors in the kernel, and a timer that can be in one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use kpt_core::Instant;
use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, c_int};

use super::{above_standard, check};

/// The events of a descriptor, and the number with which it was added.
pub type Event = libc::epoll_event;

/// More seconds than any clock of Linux reaches, and few enough for any kernel.
const MOST_SECONDS: u64 = i32::MAX as u64;

/// A set of watched descriptors.
pub struct EpollSet(OwnedFd);

impl EpollSet {
    /// Creates an empty set. It is closed on `exec`, and shared with a forked process.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes a number and no pointer. What it returns, unless it fails, is a new descriptor, which
        // has no other owner.
        let set = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        above_standard(set).map(Self)
    }

    pub fn add(&self, descriptor: RawFd, events: c_int, data: u64) -> io::Result<()> {
        self.control(EPOLL_CTL_ADD, descriptor, events, data)
    }

    pub fn modify(&self, descriptor: RawFd, events: c_int, data: u64) -> io::Result<()> {
        self.control(EPOLL_CTL_MOD, descriptor, events, data)
    }

    pub fn remove(&self, descriptor: RawFd) -> io::Result<()> {
        self.control(EPOLL_CTL_DEL, descriptor, 0, 0)
    }

    fn control(&self, what: c_int, descriptor: RawFd, events: c_int, u64: u64) -> io::Result<()> {
        let mut event = Event { events: events.cast_unsigned(), u64 };
        // SAFETY: `event` is a valid epoll_event, borrowed until the call returns, which only reads it. Any other
        // number is an error if it is not one of a descriptor that can be in the set.
        let result = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, descriptor, &mut event) };
        check(result).map(drop)
    }

    /// Waits until a descriptor is ready, or only looks if `may_sleep` is false. Replaces the contents of `events` by
    /// the events, at most as many as it has capacity for. Events that do not fit come first in the next call. Does not
    /// touch memory that it does not write to.
    pub fn wait(&self, events: &mut Vec<Event>, may_sleep: bool) -> io::Result<()> {
        events.clear();
        let room = c_int::try_from(events.capacity()).unwrap_or(c_int::MAX);
        let timeout = if may_sleep { -1 } else { 0 };
        // SAFETY: the kernel writes at most `room` events to the memory of `events`, which is borrowed until the call
        // returns. Its result is the number of events that it has written, so that many events of the vector are valid.
        let count = unsafe {
            let count = libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, timeout);
            events.set_len(usize::try_from(count).unwrap_or(0));
            count
        };
        if count < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsFd for EpollSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A timer on the monotonic clock, readable from the moment to which it is set.
pub struct Timer(OwnedFd);

impl Timer {
    /// Creates a timer that is not set.
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: the call takes numbers and no pointer. What it returns, unless it fails, is a new descriptor, which has
        // no other owner.
        let timer = unsafe {
            OwnedFd::from_raw_fd(check(libc::timerfd_create(libc::CLOCK_MONOTONIC, flags))?)
        };
        above_standard(timer).map(Self)
    }

    /// Sets the timer to a moment, which may have passed. Replaces the previous one.
    pub fn set(&self, moment: Instant) -> io::Result<()> {
        // 0 would switch it off.
        let micros = moment.as_micros().max(1);
        let seconds = (micros / 1_000_000).min(MOST_SECONDS);
        let it_value = libc::timespec {
            tv_sec: seconds as _,
            // Below a billion.
            tv_nsec: (micros % 1_000_000 * 1_000) as _,
        };
        let it_interval = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let once = libc::itimerspec { it_interval, it_value };
        let (timer, flags) = (self.0.as_raw_fd(), libc::TFD_TIMER_ABSTIME);
        // SAFETY: `once` is valid and borrowed until the call returns; the old setting is not asked for.
        check(unsafe { libc::timerfd_settime(timer, flags, &once, std::ptr::null_mut()) }).map(drop)
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
