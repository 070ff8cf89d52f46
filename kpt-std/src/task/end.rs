//! Either end of a channel, as the table of all channels handles it.

use std::os::fd::RawFd;

use kpt_core::{Instant, Interest, Readiness};

use super::channel::Channel;
use super::parent_end::ParentEnd;
use super::scratch::Scratch;
use super::task_end::TaskEnd;
use super::watch::{Modify, Watch};
use crate::ask::Question;

/// An end of a channel.
pub enum End {
    /// At the parent.
    Task(TaskEnd),
    /// At the task.
    Parent(ParentEnd),
}

impl End {
    /// Returns the end at the parent.
    pub fn task(&mut self) -> Option<&mut TaskEnd> {
        if let Self::Task(task) = self { Some(task) } else { None }
    }

    /// Returns the end at the task.
    pub fn parent(&mut self) -> Option<&mut ParentEnd> {
        if let Self::Parent(parent) = self { Some(parent) } else { None }
    }

    fn channel(&self) -> &Channel {
        match self {
            Self::Task(task) => task.channel(),
            Self::Parent(parent) => parent.channel(),
        }
    }

    fn channel_mut(&mut self) -> &mut Channel {
        match self {
            Self::Task(task) => task.channel_mut(),
            Self::Parent(parent) => parent.channel_mut(),
        }
    }

    /// Returns the readiness of the source.
    pub fn readiness(&self) -> Readiness {
        let is_readable = match self {
            Self::Task(task) => task.has_event(),
            Self::Parent(parent) => parent.has_event(),
        };
        let readable = if is_readable { Readiness::READABLE } else { Readiness::NONE };
        let is_writable = self.channel().is_writable();
        readable | if is_writable { Readiness::WRITABLE } else { Readiness::NONE }
    }

    /// Returns the interest that ends a wait even if no thread has it: a task's loop itself receives what its parent
    /// sends.
    pub fn own_interest(&self) -> Interest {
        if matches!(self, Self::Parent(_)) { Interest::READABLE } else { Interest::NONE }
    }

    /// Returns whether nothing is left to do once the end has no owner.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Task(task) => task.is_over(),
            Self::Parent(_) => true,
        }
    }

    /// Returns the numbers of the open descriptors.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> {
        let process = match self {
            Self::Task(task) => task.process().number(),
            Self::Parent(parent) => parent.parent_number(),
        };
        [self.channel().number(), process].into_iter().flatten()
    }

    /// Returns the watches of all descriptors.
    pub fn watches(&mut self) -> impl Iterator<Item = &mut Watch> {
        let watches = match self {
            Self::Task(task) => task.watches().map(Some),
            Self::Parent(parent) => parent.watches(),
        };
        watches.into_iter().flatten()
    }

    /// Prepares for a wait: tells the poller what to watch.
    pub fn settle(&mut self, scratch: &mut Scratch, modify: &mut Modify) {
        match self {
            Self::Task(task) => task.process_mut().settle(modify),
            Self::Parent(parent) => parent.settle(scratch, modify),
        }
        self.channel_mut().settle(modify);
    }

    /// Handles readiness of a descriptor. Returns whether it is one of this end: if the end has closed it, its number is
    /// another file by now.
    pub fn found(&mut self, number: RawFd, readiness: Readiness, scratch: &mut Scratch) -> bool {
        let is_socket = self.channel().number() == Some(number);
        if is_socket && readiness.is_error() {
            self.channel_mut().watch().doubt();
        }
        match self {
            Self::Task(task) if is_socket => task.on_socket(scratch),
            Self::Parent(parent) if is_socket => parent.on_socket(scratch),
            Self::Task(task) if task.process().number() == Some(number) => task.on_process(scratch),
            Self::Parent(parent) if parent.parent_number() == Some(number) => {
                parent.on_parent_ended(scratch);
            }
            _ => return false,
        }
        true
    }

    /// Does the work that is due at `now`.
    pub fn on_time(&mut self, now: Instant, scratch: &mut Scratch) {
        match self {
            Self::Task(task) => task.on_time(now, scratch),
            Self::Parent(parent) => parent.on_time(now, scratch),
        }
    }

    /// Returns the time at which work is due.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Task(task) => task.deadline(),
            Self::Parent(parent) => parent.look_at(),
        }
    }

    /// Returns what to ask the system where there is no poller.
    pub fn questions(&self) -> impl Iterator<Item = Question> {
        let process = match self {
            Self::Task(task) => task.process().question(),
            Self::Parent(parent) => parent.question(),
        };
        [self.channel().question(), process].into_iter().flatten()
    }

    /// Prepares for a wait without a poller.
    pub fn prepare(&mut self, now: Instant, scratch: &mut Scratch) {
        self.channel_mut().refill();
        self.stop_if_broken(now);
        if let Self::Parent(parent) = self {
            parent.read_rest(scratch);
        }
    }

    /// Stops a task that has broken the protocol.
    pub fn stop_if_broken(&mut self, now: Instant) {
        if let Self::Task(task) = self {
            task.stop_if_broken(now);
        }
    }

    /// In a forked process: releases everything, which is the parent's.
    pub fn disown(&mut self) {
        match self {
            Self::Task(task) => task.disown(),
            Self::Parent(parent) => parent.disown(),
        }
    }
}
