//! A task that runs in a process: what its handle does.

use std::os::fd::OwnedFd;
use std::time::Duration;

use kpt_core::{Instant, Source};

use super::ends::{self, SharedEnds};
use super::error::{SendError, SignalError};
use super::exit::{Message, TaskEvent, TaskExit, TaskStatus};
use super::task_end::TaskEnd;
use crate::{clock, tape};

/// A task that runs in a process. Each call is noted on the tape, if there is one.
pub struct LiveTask {
    ends: SharedEnds,
    source: Source,
    id: i32,
    name: String,
}

impl LiveTask {
    pub fn new(ends: SharedEnds, source: Source, id: i32, name: String) -> Self {
        Self { ends, source, id, name }
    }

    pub fn send(&self, message: &[u8], descriptor: &mut Option<OwnedFd>) -> Result<(), SendError> {
        let result = self.with(|task| match descriptor {
            None => task.channel_mut().send(message),
            Some(_) => task.channel_mut().send_with(message, descriptor),
        });
        let result = result.unwrap_or(Err(SendError::Closed));
        tape::note_message(self.source, message, result);
        result
    }

    pub fn receive(&self) -> Option<TaskEvent<Message>> {
        let event = self.take();
        tape::note_event(self.source, event.as_ref());
        event
    }

    /// Blocks until there is an event, but not longer than for `timeout`.
    pub fn receive_within(&self, timeout: Option<Duration>) -> Option<TaskEvent<Message>> {
        let event = self.take_until(timeout.map(|timeout| clock::now_or_later() + timeout));
        tape::note_event(self.source, event.as_ref());
        event
    }

    pub fn stop(&self, grace: Duration) {
        tape::note_stop(self.source, grace);
        self.with(|task| task.stop(clock::now_or_later(), grace));
    }

    pub fn kill(&self) -> Result<(), SignalError> {
        let result = self.with(|task| task.kill(clock::now_or_later())).unwrap_or(Ok(()));
        tape::note_kill(self.source, result);
        result
    }

    /// Blocks until the task has ended.
    pub fn wait(&self) -> TaskExit {
        loop {
            // The text of an error or panic may be queued behind messages that were not received.
            self.with(TaskEnd::discard);
            if let Some(exit) = self.exit() {
                tape::note_exit(self.source, &exit);
                return exit;
            }
            self.drive(None);
        }
    }

    /// Stops the task, whose handle is being dropped.
    pub fn release(&self) {
        let now = clock::now_or_later();
        let mut ends = self.ends.borrow_mut();
        ends.with_task(self.source, |task| task.release(now));
        ends.release(self.source);
    }

    fn take(&self) -> Option<TaskEvent<Message>> {
        let event = self.with(TaskEnd::receive)??;
        // Logged while the channels are not borrowed: the logger may send to a task.
        if let TaskEvent::Exit(exit) = &event {
            self.log(exit);
        }
        Some(event)
    }

    fn take_until(&self, until: Option<Instant>) -> Option<TaskEvent<Message>> {
        let mut is_late = false;
        loop {
            if let Some(event) = self.take() {
                return Some(event);
            }
            if is_late || self.exit().is_some() {
                return None;
            }
            is_late = until.is_some_and(|until| until <= clock::now_or_earlier());
            self.drive(until);
        }
    }

    /// Does the work of one wait of a loop.
    fn drive(&self, until: Option<Instant>) {
        // Fails only if there is not enough memory, and is then retried.
        let _ = self.ends.borrow_mut().drive(until);
        ends::log_errors(&self.ends);
    }

    fn log(&self, exit: &TaskExit) {
        let is_expected = exit.stopped.is_some() || exit.status == TaskStatus::Code(0);
        // A task that has broken the protocol is stopped for that.
        if is_expected && exit.protocol_error.is_none() {
            crate::log::trace!("task {} (process {}) has ended: {}", self.name, self.id, exit);
        } else {
            crate::log::error!("task {} (process {}) has ended: {}", self.name, self.id, exit);
        }
    }

    fn exit(&self) -> Option<TaskExit> {
        self.with(|task| task.exit()).flatten()
    }

    fn with<R>(&self, work: impl FnOnce(&mut TaskEnd) -> R) -> Option<R> {
        self.ends.borrow_mut().with_task(self.source, work)
    }
}
