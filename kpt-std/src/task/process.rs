//! The process of a task: whether it has ended, and the signals to it.

use std::os::fd::RawFd;

use kpt_core::{Instant, Interest};

use super::watch::{Modify, Watch};
use crate::ask::Question;
use crate::sys::{self, Ended};

/// A child process that has not been reaped.
pub struct Process {
    pid: i32,
    /// Readable when the process has ended. Closed when it has been reaped.
    end: Watch,
}

impl Process {
    /// Takes the number of a process that has just been forked.
    pub fn new(pid: i32) -> Self {
        Self { pid, end: Watch::new(sys::open_process(pid).ok()) }
    }

    /// Returns the number of the descriptor that is readable when the process has ended.
    pub fn number(&self) -> Option<RawFd> {
        self.end.number()
    }

    /// Prepares for a wait: tells the poller what to watch.
    pub fn settle(&mut self, modify: &mut Modify) {
        self.end.settle(Interest::READABLE, modify);
    }

    /// Returns the watch of the process.
    pub fn watch(&mut self) -> &mut Watch {
        &mut self.end
    }

    /// Returns the moment of the next look, if the poller can't watch the process.
    pub fn look_at(&self) -> Option<Instant> {
        self.end.look_at()
    }

    /// Returns what to ask the system where there is no poller.
    pub fn question(&self) -> Option<Question> {
        self.end.question(Interest::READABLE)
    }

    /// Returns how the process has ended, if it has; or waits until it has. MUST NOT be called after its end.
    pub fn reap(&mut self, is_blocking: bool) -> Option<Ended> {
        let ended = sys::reap(self.pid, self.end.descriptor(), is_blocking);
        let ended = ended.unwrap_or(Some(Ended::Unknown));
        if ended.is_some() {
            self.end.close();
        }
        ended
    }

    /// Sends a signal. MUST NOT be called after the process has been reaped.
    pub fn signal(&self, signal: i32) {
        sys::signal(self.pid, self.end.descriptor(), signal);
    }

    /// In a forked process: releases the process, which is the parent's child.
    pub fn disown(&mut self) {
        self.end.disown();
    }
}
