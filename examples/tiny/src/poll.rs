//! A poller on `poll(2)`: all that kpt has to know of Linux.

use kpt_core::{Instant, Interest, Poller, Readiness, Ready, Source, Unwatchable};
use libc::{EINTR, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, c_int, c_short, pollfd};

use crate::sys::{self, Errno};

/// Room for a descriptor: `poll` takes no notice of negative ones.
const FREE: pollfd = pollfd { fd: -1, events: 0, revents: 0 };

/// Watches up to `N` descriptors.
pub struct PollPoller<const N: usize>([pollfd; N]);

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
        let fd = source.number() as c_int;
        self.0.iter_mut().filter(|entry| entry.fd == fd).for_each(|entry| *entry = FREE);
        if interest.is_none() {
            return Ok(());
        }
        let read = if interest.is_readable() { POLLIN } else { 0 };
        let write = if interest.is_writable() { POLLOUT } else { 0 };
        let free = self.0.iter_mut().find(|entry| entry.fd == FREE.fd && fd >= 0);
        *free.ok_or(Unwatchable)? = pollfd { fd, events: read | write, revents: 0 };
        Ok(())
    }

    fn wait(&mut self, until: Option<Instant>, ready: &mut Ready<'_>) -> Result<Instant, Errno> {
        while let Err(errno) = sys::poll(&mut self.0, until.map_or(-1, millis_until)) {
            if errno != EINTR {
                return Err(errno);
            }
        }
        for entry in self.0.iter().filter(|entry| entry.revents != 0) {
            ready.push(Source::new(entry.fd as u32), readiness(entry.revents));
        }
        Ok(Instant::from_micros(sys::monotonic_nanos() / 1_000))
    }
}

fn readiness(revents: c_short) -> Readiness {
    let found = |bits, readiness| if revents & bits != 0 { readiness } else { Readiness::NONE };
    found(POLLIN, Readiness::READABLE)
        | found(POLLOUT, Readiness::WRITABLE)
        | found(POLLHUP, Readiness::HANGUP)
        | found(POLLERR | POLLNVAL, Readiness::ERROR)
}

/// Rounded up, so that no timer is early; at most 24 days, after which the loop waits once more.
fn millis_until(until: Instant) -> c_int {
    let nanos = until.as_micros().saturating_mul(1_000).saturating_sub(sys::monotonic_nanos());
    c_int::try_from(nanos.div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}
