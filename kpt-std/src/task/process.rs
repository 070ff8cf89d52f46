//! What a parent knows of a task beside its channel: the process, how it is ended, and how it ended.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::exit::{TaskExit, TaskStatus};
use super::frame::ProtocolError;
use super::life::{Action, Ended, Life};
use crate::sys::Process;

/// The parent's side of a task, without the channel.
pub struct Task {
    pub grace: Duration,
    pub life: Life,
    process: Process,
    /// Why it ends, as it says itself.
    words: Option<TaskStatus>,
    is_reported: bool,
}

impl Task {
    /// Of a process that has just been forked.
    pub fn new(process: Process, grace: Duration) -> Self {
        Self { grace, life: Life::new(), process, words: None, is_reported: false }
    }

    pub fn has_ended(&self) -> bool {
        self.life.ended().is_some()
    }

    /// Readable when the process has ended. `None` if that is known, or the kernel has no such descriptors.
    pub fn descriptor(&self) -> Option<RawFd> {
        let descriptor = self.process.descriptor().filter(|_| !self.has_ended())?;
        Some(descriptor.as_raw_fd())
    }

    /// Gives up the descriptor.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.process.take_descriptor()
    }

    /// Asks whether the process has ended, or waits until it has. Whether that is new.
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

    /// Sends the signals of that action.
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

    /// It says why it ends. The first reason counts: what is dropped after a panic may panic, too.
    pub fn on_words(&mut self, words: TaskStatus) {
        self.words.get_or_insert(words);
    }

    /// How it ended, with what is known from the channel.
    pub fn exit(&self, is_truncated: bool, protocol_error: Option<ProtocolError>) -> TaskExit {
        let status = match (self.life.ended(), &self.words) {
            // A panic ends with SIGABRT where it does not unwind.
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

    /// Whether the exit event has been received.
    pub fn is_reported(&self) -> bool {
        self.is_reported
    }

    /// The exit event is received now.
    pub fn mark_reported(&mut self) {
        self.is_reported = true;
    }

    /// In a child of this process: it is the parent's task, and nothing is to be said of it here.
    pub fn disown(&mut self) {
        self.take_descriptor();
        self.life.on_ended(Ended::Unknown);
        self.is_reported = true;
    }
}
