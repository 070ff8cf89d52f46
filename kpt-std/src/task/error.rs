//! What can go wrong with tasks.

use std::error::Error;
use std::fmt;
use std::io;

use super::frame::LARGEST_MESSAGE;

/// A task can't be started. Nothing is left of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The process has more than one OS thread. A fork takes only one of them along, and whatever the others had locked
    /// stays locked in the child. Start tasks before threads, or from a process that has none.
    MultiThreaded,
    /// The largest message is 16 MiB.
    MessagesTooLong,
    /// What the system says: too many processes, descriptors, or not enough memory.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MultiThreaded => {
                f.write_str("a process with more than one OS thread can't start a task")
            }
            Self::MessagesTooLong => {
                write!(f, "a task's messages can't be longer than {LARGEST_MESSAGE} bytes")
            }
            Self::System(error) => write!(f, "the task can't be started: {error}"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::System(error) = self { Some(error) } else { None }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// A message was not sent. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// So much has been queued already that it does not fit. The source is writable when any message does.
    Full,
    /// It is longer than the configuration allows, and will never fit.
    TooLong,
    /// Nobody will read it: the other side has ended, or is to end, or has hung up.
    Closed,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the queue to the other side is full",
            Self::TooLong => "the message is longer than the task's configuration allows",
            Self::Closed => "the other side reads no more messages",
        })
    }
}

impl Error for SendError {}
