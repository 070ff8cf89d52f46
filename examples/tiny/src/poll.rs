//! A poller on `poll(2)`: all that kpt has to know of Linux.

use kpt_core::{Instant, Interest, Poller, Readiness, Ready, Source, Unwatchable};
use libc::{EINTR, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, c_int, c_short, pollfd};

use crate::sys::{self, Errno};

/// Watches up to `N` descriptors.
pub struct PollPoller<const N: usize>([pollfd; N]);

/// An entry that is free: `poll` takes no notice of negative descriptors.
const FREE: pollfd = pollfd { fd: -1, events: 0, revents: 0 };

impl<const N: usize> PollPoller<N> {
    pub const fn new() -> Self {
        Self([FREE; N])
    }
}

impl<const N: usize> Poller for PollPoller<N> {
    type Error = Errno;

    fn now(&mut self) -> Instant {
        Instant::from_micros(sys::monotonic_nanos().div_ceil(1_000))
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        let fd = c_int::try_from(source.number()).unwrap_or(FREE.fd);
        let is_new = |entry: &&mut pollfd| entry.fd == FREE.fd;
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.fd == fd) {
            *entry = FREE;
        }
        match self.0.iter_mut().find(is_new) {
            _ if interest.is_none() => Ok(()),
            Some(entry) if fd != FREE.fd => {
                *entry = pollfd { fd, events: events(interest), revents: 0 };
                Ok(())
            }
            _ => Err(Unwatchable),
        }
    }

    fn wait(&mut self, until: Option<Instant>, ready: &mut Ready<'_>) -> Result<Instant, Errno> {
        while let Err(errno) = sys::poll(&mut self.0, timeout(until)) {
            if errno != EINTR {
                return Err(errno);
            }
        }
        for entry in self.0.iter().filter(|entry| entry.revents != 0) {
            ready.push(Source::new(entry.fd as u32), readiness(entry.revents));
        }
        Ok(now_or_earlier())
    }
}

/// What `poll` calls it, and what kpt calls it.
const NAMES: [(c_short, Readiness); 4] = [
    (POLLIN, Readiness::READABLE),
    (POLLOUT, Readiness::WRITABLE),
    (POLLHUP, Readiness::HANGUP),
    (POLLERR | POLLNVAL, Readiness::ERROR),
];
fn events(interest: Interest) -> c_short {
    let readable = if interest.is_readable() { POLLIN } else { 0 };
    let writable = if interest.is_writable() { POLLOUT } else { 0 };
    readable | writable
}

fn readiness(revents: c_short) -> Readiness {
    let found = NAMES.iter().filter(|(bits, _)| revents & bits != 0);
    found.fold(Readiness::NONE, |sum, &(_, one)| sum | one)
}

fn now_or_earlier() -> Instant {
    Instant::from_micros(sys::monotonic_nanos() / 1_000)
}

/// In milliseconds, rounded up; -1 is for ever.
fn timeout(until: Option<Instant>) -> c_int {
    until.map_or(-1, |until| {
        let micros = until.as_micros().saturating_sub(now_or_earlier().as_micros());
        c_int::try_from(micros.div_ceil(1_000)).unwrap_or(c_int::MAX)
    })
}
