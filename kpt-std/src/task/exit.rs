//! The events of a task: its messages, and its end.

use std::fmt::{self, Write};

use super::error::SignalError;
use super::frame::{Passed, ProtocolError};
use super::life::StopStep;

/// An event of a task. Events are received in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEvent<M = Vec<u8>> {
    /// A message that the task has sent.
    Message(M),
    /// The loop of the task runs. Received once, if [`TaskConfig::tell_ready`](super::TaskConfig::tell_ready) asks for it,
    /// after the messages that were sent in `pre_run`.
    Ready,
    /// The task has ended. Received once, after its last message.
    Exit(TaskExit),
}

impl TaskEvent<Message> {
    /// Drops the descriptor of a message.
    pub(super) fn without_descriptor(self) -> TaskEvent {
        match self {
            Self::Message(message) => TaskEvent::Message(message.bytes),
            Self::Ready => TaskEvent::Ready,
            Self::Exit(exit) => TaskEvent::Exit(exit),
        }
    }
}

/// A message with its descriptor, from [`TaskHandle::receive_with`](super::TaskHandle::receive_with) or
/// [`Child::on_message_with`](super::Child::on_message_with).
#[derive(Debug)]
pub struct Message {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The descriptor that was sent with it, if there was one.
    pub descriptor: Passed,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskExit {
    /// The reason why it ended.
    pub status: TaskStatus,
    /// The last step that the parent took to end it; `None` if the parent did not stop it.
    pub stopped: Option<StopStep>,
    /// Whether its loop has run. If not, the task ended while its state was built, or in `pre_run`.
    pub has_started: bool,
    /// Whether it ended in the middle of a message. That message is lost; those before it are not.
    pub is_truncated: bool,
    /// The first violation of the protocol, if there was one. Nothing was read from the task after it.
    pub protocol_error: Option<ProtocolError>,
    /// The first signal that the parent could not send to it, if there was one.
    pub signal_error: Option<SignalError>,
}

impl TaskExit {
    /// Returns whether the task ended with exit code 0, and without breaking the protocol: of its own accord, or because
    /// it was asked to.
    pub fn is_normal(&self) -> bool {
        let is_whole = self.protocol_error.is_none() && !self.is_truncated;
        self.status == TaskStatus::Code(0) && is_whole
    }
}

/// The reason why a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskStatus {
    /// It returned (0), or called `std::process::exit` with this code.
    Code(i32),
    /// This signal ended it. The parent, the system, or another process may have sent it.
    Signal(i32),
    /// It panicked. The text has the message and the location, cut to 4 KiB.
    Panicked(String),
    /// It could not start, or could not give up its rights, or its `pre_run` or its loop has returned this error. The text is
    /// cut to 4 KiB.
    Failed(String),
    /// It has ended, but other code has collected its status: `SIGCHLD` is ignored, or something waits for all
    /// children.
    Unknown,
}

impl fmt::Display for TaskExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.status {
            TaskStatus::Code(code) => write!(f, "exit code {code}")?,
            TaskStatus::Signal(signal) => write!(f, "signal {signal}")?,
            TaskStatus::Panicked(text) => write!(f, "panicked: {}", OneLine(text))?,
            TaskStatus::Failed(text) => write!(f, "failed: {}", OneLine(text))?,
            TaskStatus::Unknown => {
                f.write_str("status unknown, collected by other code of this process")?
            }
        }
        match self.stopped {
            Some(StopStep::Asked) => f.write_str(", as asked")?,
            Some(StopStep::Terminated) => f.write_str(", after SIGTERM")?,
            Some(StopStep::Killed) => f.write_str(", after SIGKILL")?,
            None => {}
        }
        if !self.has_started {
            f.write_str(", before its loop ran")?;
        }
        if self.is_truncated {
            f.write_str(", in the middle of a message")?;
        }
        if let Some(error) = self.protocol_error {
            write!(f, ", protocol error: {error}")?;
        }
        if let Some(error) = self.signal_error {
            write!(f, ", {error}")?;
        }
        Ok(())
    }
}

/// Text that a task has sent, escaped so that it is harmless in a log: it can neither begin a line nor control a
/// terminal.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\'' | '"' => f.write_char(letter)?,
                _ => write!(f, "{}", letter.escape_debug())?,
            }
        }
        Ok(())
    }
}
