//! A poller on `poll(2)`: all that kpt has to know of Linux.

use kpt_core::{
    Instant, Interest, Readiness, Source,
    poller::{Poller, Ready, Unwatchable},
};
use libc::{EINTR, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, c_int, c_short, pollfd};

use crate::sys::{self, Errno};

/// `poll` takes no notice of negative descriptors.
const FREE: pollfd = pollfd { fd: -1, events: 0, revents: 0 };

/// Keeps nothing: asks what the threads wait for when it waits itself. Serves up to `N` readers and writers.
pub struct PollPoller<const N: usize>;

impl<const N: usize> Poller for PollPoller<N> {
    type Error = Errno;

    fn now(&mut self) -> Instant {
        Instant::from_micros(sys::monotonic_nanos().div_ceil(1_000))
    }

    fn modify(&mut self, _: Source, _: Interest) -> Result<(), Unwatchable> {
        Ok(())
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, Errno> {
        let mut entries = [FREE; N];
        let mut free = entries.iter_mut();
        let is_full = ready.ask(&mut |source, interest| {
            let Some(entry) = free.next() else { return Readiness::ERROR };
            // What can't be a descriptor becomes one that is not open.
            entry.fd = c_int::try_from(source.number()).unwrap_or(c_int::MAX);
            entry.events = if interest.is_readable() { POLLIN } else { POLLOUT };
            Readiness::NONE
        });
        let until = if is_full { Instant::ZERO } else { until };
        while let Err(errno) = sys::poll(&mut entries, millis_until(until)) {
            if errno != EINTR {
                return Err(errno);
            }
        }
        // The threads are the same, and come in the same order.
        let mut found = entries.iter();
        ready.ask(&mut |_, _| {
            found.next().map_or(Readiness::NONE, |entry| readiness(entry.revents))
        });
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
