//! What the channels of a loop do for the net: they watch the guard, replace it when it has ended, and tell a new one of
//! their tasks.

use std::os::fd::RawFd;
use std::time::Duration;

use kpt_core::{Instant, Interest};

use super::net::{Share, Ticket};
use super::watch::{Modify, Watch};
use crate::ask::Question;
use crate::clock;

/// The pause before a guard is told of more tasks, when its queue was full.
const PAUSE: Duration = Duration::from_millis(20);

/// The part of a loop in the net. Empty before its first task.
#[derive(Default)]
pub struct NetWatch {
    share: Option<Share>,
    /// The guard that is watched, while there are channels.
    guard: Option<Watch>,
    /// The version of the net of which the tasks were told.
    version: u32,
    renew_at: Option<Instant>,
}

impl NetWatch {
    /// Prepares for the start of a task.
    pub fn before_start(&mut self) -> Ticket {
        // A process that other code has forked has a net of its own.
        let share = self.share.take().filter(Share::is_own);
        let share = self.share.insert(share.unwrap_or_else(Share::new));
        share.before_start()
    }

    /// Returns the version of the net if there is a new guard, which has to be told of all tasks.
    pub fn new_version(&self) -> Option<u32> {
        let share = self.share.as_ref().filter(|share| share.is_own())?;
        Some(share.version()).filter(|&version| version != self.version)
    }

    /// Notes that the new guard was told of all tasks, or that its queue is full: then it is told of the others in a moment.
    pub fn on_told(&mut self, version: u32, is_all: bool) {
        self.unwatch();
        if is_all {
            self.version = version;
            self.renew_at = None;
        } else {
            self.renew_at = Some(clock::now_or_earlier() + PAUSE);
        }
    }

    /// Watches the guard, if nothing is watched.
    pub fn watch(&mut self) {
        if self.guard.is_none()
            && self.renew_at.is_none()
            && let Some(guard) = self.share.as_ref().and_then(Share::open_guard)
        {
            self.guard = Some(Watch::new(Some(guard)));
        }
    }

    /// Ends the watch. Whoever has a poller settles it then.
    pub fn unwatch(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.close();
        }
    }

    /// Tells the poller what to watch.
    pub fn settle(&mut self, modify: &mut Modify) {
        if let Some(guard) = &mut self.guard {
            guard.settle(Interest::READABLE, modify);
        }
        self.drop_closed();
    }

    /// Forgets a watch that has been closed.
    pub fn drop_closed(&mut self) {
        self.guard.take_if(|guard| guard.number().is_none() && !guard.is_retiring());
    }

    /// Returns whether a descriptor is the guard's, or is to be closed.
    pub fn is_watching(&self) -> bool {
        self.guard.is_some()
    }

    /// Returns what to ask the system where there is no poller.
    pub fn question(&self) -> Option<Question> {
        self.guard.as_ref()?.question(Interest::READABLE)
    }

    /// Handles a descriptor that is ready. Returns whether it is the guard's, which has ended then.
    pub fn found(&mut self, number: RawFd, now: Instant) -> bool {
        if self.guard.as_ref().and_then(Watch::number) != Some(number) {
            return false;
        }
        self.unwatch();
        self.renew_at = Some(now);
        true
    }

    /// Replaces a guard that has ended. Returns whether there may be a new one.
    pub fn on_time(&mut self, now: Instant) -> bool {
        let is_due = self.renew_at.is_some_and(|at| at <= now);
        if is_due {
            self.renew_at = self.share.as_ref().and_then(|share| share.renew(now));
        }
        is_due
    }

    /// Returns the time at which work is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.renew_at
    }

    /// Notes that the poller has been dropped.
    pub fn forget_poller(&mut self) {
        self.guard = None;
    }

    /// Leaves tasks that could not be ended to the guards.
    pub fn leave_tasks(&self) {
        if let Some(share) = &self.share {
            share.leave_tasks();
        }
    }

    /// In a forked process: closes what is the parent's.
    pub fn disown(&mut self) {
        // It counts in the parent.
        std::mem::forget(self.share.take());
        *self = Self::default();
    }
}
