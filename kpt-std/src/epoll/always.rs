//! Descriptors that are always ready: regular files and others that can't be waited for, and that epoll refuses.

use std::os::fd::RawFd;
use std::time::Duration;

use kpt_core::{Interest, Readiness};
use libc::{POLLHUP, POLLIN, POLLNVAL, POLLOUT, pollfd};

use crate::sys;

/// The descriptors that are always ready. Each wait polls them: one may be closed, or another file by now.
pub struct Always {
    asked: Vec<pollfd>,
}

/// The state of one of them.
pub enum Answer {
    Ready(Readiness),
    Closed,
    /// Not ready, so the number is another file, of another kind.
    Changed,
}

impl Always {
    pub fn new() -> Self {
        Self { asked: Vec::new() }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Adds a descriptor that is not among them.
    pub fn add(&mut self, descriptor: u32, interest: Interest) {
        let readable = if interest.is_readable() { POLLIN } else { 0 };
        let writable = if interest.is_writable() { POLLOUT } else { 0 };
        let events = readable | writable;
        self.asked.push(pollfd { fd: descriptor as RawFd, events, revents: 0 });
    }

    pub fn remove(&mut self, descriptor: u32) {
        self.asked.retain(|asked| asked.fd != descriptor as RawFd);
    }

    /// Polls all of them.
    pub fn ask(&mut self) {
        if sys::poll(&mut self.asked, Some(Duration::ZERO)).is_err() {
            // There are more than the process may have open now. They are taken for ready.
            for asked in &mut self.asked {
                asked.revents = asked.events;
            }
        }
    }

    /// Returns the last of the first `count` descriptors, and its state in the last `ask`.
    pub fn answer(&self, count: usize) -> Option<(u32, Answer)> {
        let asked = self.asked.get(count.checked_sub(1)?)?;
        let mut readiness = Readiness::NONE;
        for (bits, found) in [
            (POLLIN, Readiness::READABLE),
            (POLLOUT, Readiness::WRITABLE),
            (POLLHUP, Readiness::HANGUP),
        ] {
            if asked.revents & bits != 0 {
                readiness = readiness | found;
            }
        }
        let answer = match asked.revents {
            0 => Answer::Changed,
            revents if revents & POLLNVAL != 0 || readiness.is_none() => Answer::Closed,
            _ => Answer::Ready(readiness),
        };
        Some((asked.fd as u32, answer))
    }

    pub fn len(&self) -> usize {
        self.asked.len()
    }
}
