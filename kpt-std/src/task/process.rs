//! The process of a task, without the channel: how it is ended, and how it ended.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::exit::{TaskExit, TaskStatus};
use super::frame::ProtocolError;
use super::life::{Action, Life};
use crate::sys::{Ended, Process};

/// The process of a task, as its parent sees it.
pub struct Task {
    pub grace: Duration,
    pub life: Life,
    process: Process,
    /// The reason for its end that the task has sent.
    words: Option<TaskStatus>,
    is_reported: bool,
}

impl Task {
    /// Takes a process that has just been forked.
    pub fn new(process: Process, grace: Duration) -> Self {
        Self { grace, life: Life::new(), process, words: None, is_reported: false }
    }

    pub fn has_ended(&self) -> bool {
        self.life.ended().is_some()
    }

    /// Returns the descriptor that is readable when the process has ended. `None` if its end is known, or if the kernel
    /// has no such descriptors.
    pub fn descriptor(&self) -> Option<RawFd> {
        let descriptor = self.process.descriptor().filter(|_| !self.has_ended())?;
        Some(descriptor.as_raw_fd())
    }

    /// Takes the descriptor out.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.process.take_descriptor()
    }

    /// Asks whether the process has ended, or waits until it has. Returns whether its end is new.
    pub fn reap(&mut self, is_blocking: bool) -> bool {
        if self.has_ended() {
            return false;
        }
        let ended = self.process.reap(is_blocking).unwrap_or(Some(Ended::Unknown));
        if let Some(ended) = ended {
            self.life.on_ended(ended);
        }
        ended.is_some()
    }

    /// Sends the signals of an action.
    pub fn signal(&self, action: Action) {
        match action {
            Action::Ask => {}
            Action::Terminate => {
                self.process.signal(libc::SIGTERM);
                self.process.signal(libc::SIGCONT);
            }
            Action::Kill => self.process.signal(libc::SIGKILL),
        }
    }

    /// Notes the reason for its end that the task has sent. The first reason counts: a drop after a panic may panic,
    /// too.
    pub fn on_words(&mut self, words: TaskStatus) {
        self.words.get_or_insert(words);
    }

    /// Returns the exit event, with what is known from the channel.
    pub fn exit(&self, is_truncated: bool, protocol_error: Option<ProtocolError>) -> TaskExit {
        let status = match (self.life.ended(), &self.words) {
            // A panic that aborts ends with SIGABRT.
            (Some(Ended::Signal(signal)), words) if words.is_none() || signal != libc::SIGABRT => {
                TaskStatus::Signal(signal)
            }
            (_, Some(words)) => words.clone(),
            (Some(Ended::Code(code)), None) => TaskStatus::Code(code),
            (_, None) => TaskStatus::Unknown,
        };
        TaskExit {
            status,
            stopped: self.life.rung(),
            has_started: self.life.has_started(),
            is_truncated,
            protocol_error,
        }
    }

    /// Returns whether the exit event has been received.
    pub fn is_reported(&self) -> bool {
        self.is_reported
    }

    /// Notes that the exit event has been received.
    pub fn mark_reported(&mut self) {
        self.is_reported = true;
    }

    /// In a forked process: forgets the task, which is the parent's, and never reports its end.
    pub fn disown(&mut self) {
        self.take_descriptor();
        self.life.on_ended(Ended::Unknown);
        self.is_reported = true;
    }
}
