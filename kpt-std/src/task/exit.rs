//! What a task tells its parent: messages, and at last how it ended.

use std::fmt::{self, Write};

use super::frame::ProtocolError;
use super::life::Rung;

/// Something from a task, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEvent<M = Vec<u8>> {
    /// A message that it sent.
    Message(M),
    /// It has ended. Comes once, after its last message.
    Exit(TaskExit),
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskExit {
    /// Why.
    pub status: TaskStatus,
    /// How far the parent had to go, if it wanted this.
    pub stopped: Option<Rung>,
    /// Whether its loop had run: if not, it ended while it was being built, or in `pre_run`.
    pub has_started: bool,
    /// Whether it ended in the middle of a message. That one is lost; those before it are not.
    pub is_truncated: bool,
    /// What came that is no message. Nothing was read from it after that.
    pub protocol_error: Option<ProtocolError>,
}

/// Why a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskStatus {
    /// It returned (0), or called `std::process::exit` with that code.
    Code(i32),
    /// A signal ended it: one that the parent, somebody else, or the system sent.
    Signal(i32),
    /// It panicked: the message and where, cut to 4 KiB.
    Panicked(String),
    /// Its `pre_run`, or its loop, said that; cut to 4 KiB.
    Failed(String),
    /// It has ended, and somebody else was told how: `SIGCHLD` is ignored, or other code waits for all children.
    Unknown,
}

impl fmt::Display for TaskExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.status {
            TaskStatus::Code(code) => write!(f, "exit code {code}")?,
            TaskStatus::Signal(signal) => write!(f, "signal {signal}")?,
            TaskStatus::Panicked(text) => write!(f, "panicked: {}", OneLine(text))?,
            TaskStatus::Failed(text) => write!(f, "failed: {}", OneLine(text))?,
            TaskStatus::Unknown => f.write_str("status unknown, somebody else was told")?,
        }
        match self.stopped {
            Some(Rung::Asked) => f.write_str(", as asked")?,
            Some(Rung::Terminated) => f.write_str(", after SIGTERM")?,
            Some(Rung::Killed) => f.write_str(", after SIGKILL")?,
            None => {}
        }
        if !self.has_started {
            f.write_str(", before its loop ran")?;
        }
        if self.is_truncated {
            f.write_str(", in the middle of a message")?;
        }
        if let Some(error) = self.protocol_error {
            write!(f, ", {error}")?;
        }
        Ok(())
    }
}

/// Text of a task's own, harmless in a log: it can't begin a line there, or steer a terminal.
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
