//! The process of a task: whether it has ended, and the signals to it.

use std::os::fd::RawFd;
use std::time::Duration;

use kpt_core::{Instant, Interest};

use super::delivery::{Answer, Call, Delivery};
use super::error::SignalError;
use super::net::{self, Ticket};
use super::watch::{Modify, Watch};
use crate::ask::{Question, ask};
use crate::sys::{self, Ended};

/// A child process that has not been reaped.
pub struct Process {
    pid: i32,
    /// The process that has started it.
    parent: i32,
    start: Ticket,
    /// The version of the net whose guard was told of it.
    told: u32,
    /// Readable when the process has ended. Closed when it has been reaped.
    end: Watch,
}

impl Process {
    /// Takes the number of a process that has just been forked.
    pub fn new(pid: i32, start: Ticket) -> Self {
        let parent = sys::process_id();
        Self { pid, parent, start, told: 0, end: Watch::new(sys::open_process(pid).ok()) }
    }

    /// Returns whether it is a child of this process, and not of one from which other code has forked this one.
    pub fn is_own(&self) -> bool {
        self.parent == sys::process_id()
    }

    /// Tells the guard of this version of the net about the process, once. Returns `false` if it is to be told later. MUST
    /// NOT be called after the process has been reaped.
    pub fn tell_guard(&mut self, version: u32) -> bool {
        let is_told = self.told == version
            || !self.is_own()
            || net::adopt(self.start, self.pid, self.end.descriptor());
        if is_told {
            self.told = version;
        }
        is_told
    }

    /// Returns its number.
    pub fn pid(&self) -> i32 {
        self.pid
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

    /// Returns how the process has ended, if it has. MUST NOT be called after its end.
    pub fn reap(&mut self) -> Option<Ended> {
        let ended = match sys::reap(self.pid, self.end.descriptor()) {
            Ok(ended) => ended,
            // Other code has collected the status.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Some(Ended::Unknown),
            // Nothing is known, except whether it lives.
            Err(_) => self.has_ended().then_some(Ended::Unknown),
        };
        if ended.is_some() {
            self.end.close();
        }
        ended
    }

    /// Notes that the descriptor is readable, but the process can't be reaped, as when a tracer holds it.
    pub fn hold(&mut self, now: Instant) {
        self.end.hold(now);
    }

    /// Sends a signal, in any way that is possible. MUST NOT be called after the process has been reaped.
    pub fn signal(&self, signal: i32) -> Result<(), SignalError> {
        let mut delivery = Delivery::begin(self.end.descriptor().is_some());
        while let Delivery::Next(call) = delivery {
            delivery = delivery.after(self.call(call, signal));
        }
        match delivery {
            // The guard may have rights that this process has given up.
            Delivery::Failed(libc::EPERM) if net::signal(self.start, signal).is_ok() => Ok(()),
            Delivery::Failed(error) => Err(SignalError { signal, error }),
            _ => Ok(()),
        }
    }

    fn call(&self, call: Call, signal: i32) -> Answer {
        let sent = match (call, self.end.descriptor()) {
            (Call::SendByDescriptor, Some(descriptor)) => {
                sys::signal_descriptor(descriptor, signal).map(|()| true)
            }
            (Call::SendByNumber, _) => sys::signal_number(self.pid, signal).map(|()| true),
            (Call::SendByDescriptor | Call::AskForChild, _) => sys::is_living_child(self.pid),
        };
        match sent {
            Ok(true) => Answer::Yes,
            Ok(false) => Answer::Gone,
            Err(error) => match error.raw_os_error().unwrap_or(libc::EIO) {
                libc::ESRCH | libc::ECHILD => Answer::Gone,
                error => Answer::Refused(error),
            },
        }
    }

    /// Returns whether it has ended, where no call reaps it: by its descriptor, or without one by what else the system tells.
    fn has_ended(&self) -> bool {
        let Some(number) = self.number() else {
            return sys::is_living_child(self.pid).is_ok_and(|lives| !lives);
        };
        let mut question = [Question::new(number, Interest::READABLE)];
        ask(&mut question, Some(Duration::ZERO)).is_ok() && question[0].found.is_readable()
    }

    /// In a forked process: releases the process, which is the parent's child.
    pub fn disown(&mut self) {
        self.end.disown();
    }
}
