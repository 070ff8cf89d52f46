//! The errors of starting a task, and of sending to one.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use super::frame::{LARGEST_MESSAGE, Refused};

/// A task can't be started. No process and no descriptor is left behind.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The process has more than one OS thread. A fork copies only one of them, and locks that others held stay locked
    /// in the child. Start tasks before OS threads, or from a process that has none.
    MultiThreaded,
    /// The OS thread has a simulation (feature `sim`), in which only [`start_owned`](super::Spawner::start_owned) starts
    /// tasks.
    InSimulation,
    /// The OS thread unwinds after a panic: a destructor has called `start`. The task would unwind, too.
    Unwinding,
    /// The configured [`max_message`](super::TaskConfig::max_message) is larger than 16 MiB.
    MessagesTooLong,
    /// The system's error: too many processes or descriptors, or not enough memory.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MultiThreaded => f.write_str(
                "can't start a task: the process has more than one OS thread; start tasks before OS threads",
            ),
            Self::InSimulation => f.write_str(
                "can't start a task: this is a simulation; start it by `Spawner::start_owned`",
            ),
            Self::Unwinding => f.write_str("can't start a task while a panic unwinds"),
            Self::MessagesTooLong => {
                write!(f, "can't start a task: its max_message is larger than {LARGEST_MESSAGE} bytes")
            }
            Self::System(error) => write!(f, "can't start a task: {error}"),
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

/// A signal can't be sent to a task: the system or a sandbox forbids it, or the task has another user than its parent,
/// which has given up root. The parent goes on trying to kill a task that it has to stop, once a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalError {
    /// The number of the signal.
    pub signal: i32,
    /// The number of the system's error.
    pub error: i32,
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signal, error } = self;
        write!(f, "can't send signal {signal}: {}", io::Error::from_raw_os_error(*error))
    }
}

impl Error for SignalError {}

/// A message was not queued. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The queue has no room for it now. The source is writable when a message of any allowed length fits.
    Full,
    /// The message is longer than [`max_message`](super::TaskConfig::max_message), and never fits.
    TooLong,
    /// The other side has ended, is being stopped, or has hung up.
    Closed,
    /// The message has a descriptor, and [`accept_descriptors`](super::TaskConfig::accept_descriptors) is 0.
    NoDescriptors,
}

impl From<Refused> for SendError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::TooLong => Self::TooLong,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the send queue is full; send again when the source is writable",
            Self::TooLong => "the message is longer than the task's max_message",
            Self::Closed => "the other side has ended, is being stopped, or has hung up",
            Self::NoDescriptors => {
                "the message has a descriptor, and the task's accept_descriptors is 0"
            }
        })
    }
}

impl Error for SendError {}

/// A message with a descriptor was not queued. Nothing has changed, and the descriptor comes back.
#[derive(Debug)]
pub struct SendWithError {
    /// The reason.
    pub error: SendError,
    /// The descriptor.
    pub descriptor: OwnedFd,
}

impl fmt::Display for SendWithError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

// `Display` already prints the reason: there is no further source.
impl Error for SendWithError {}

impl From<SendWithError> for SendError {
    fn from(error: SendWithError) -> Self {
        error.error
    }
}
