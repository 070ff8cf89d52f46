//! The configuration of a task.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use super::error::StartError;
use super::frame::{LARGEST_MESSAGE, cut};

/// The longest name, in bytes.
const LONGEST_NAME: usize = 64;

/// The configuration of a task: `TaskConfig::new("worker").max_message(1 << 20)`.
#[derive(Clone, Debug)]
#[must_use = "`Spawner::start` starts the task"]
pub struct TaskConfig {
    pub(super) name: String,
    pub(super) max_message: usize,
    pub(super) queue: usize,
    pub(super) threads: usize,
    pub(super) grace: Duration,
    pub(super) kept: Option<Vec<RawFd>>,
    pub(super) tells_ready: bool,
}

impl TaskConfig {
    /// Creates the configuration of a task with this name: messages of up to 64 KiB, queues of 256 KiB, 64 threads, and
    /// a grace of 5 s.
    ///
    /// The name appears in logs: control characters in it are escaped, and it is cut to 64 bytes.
    pub fn new(name: impl AsRef<str>) -> Self {
        // An escaped character is longer, never shorter.
        let name = cut(name.as_ref(), LONGEST_NAME).escape_debug().to_string();
        Self {
            name: cut(&name, LONGEST_NAME).to_owned(),
            max_message: 64 << 10,
            queue: 256 << 10,
            threads: 64,
            grace: Duration::from_secs(5),
            kept: None,
            tells_ready: false,
        }
    }

    /// Sets the length of the longest message in bytes, in both directions: 64 KiB by default, at most 16 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sets the number of bytes that may be queued in each direction, on each side: 256 KiB by default, and at least
    /// two messages of the largest size. The kernel's buffers, and up to 64 KiB that one read brings, come on top of
    /// it.
    pub fn queue(mut self, bytes: usize) -> Self {
        self.queue = bytes;
        self
    }

    /// Sets the number of threads that the task's loop can hold: 64 by default.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the time that the task has to end when its handle is dropped, or when it breaks the protocol: 5 s by
    /// default.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Has the parent receive [`TaskEvent::Ready`](super::TaskEvent::Ready) when the task's loop runs: its `pre_run` has
    /// returned. By default, only the exit event says whether that was the case.
    pub fn tell_ready(mut self) -> Self {
        self.tells_ready = true;
        self
    }

    /// Closes all inherited descriptors in the task, except 0, 1, 2, its channel and `descriptors`. By default, it
    /// keeps all that the parent has open, except those of other tasks. A client of the parent, for example, then does
    /// not notice when the parent closes the connection.
    ///
    /// The files are closed, but their numbers stay in use, since inherited objects may still own them: using one fails
    /// with `EBADF`.
    pub fn keep_only<F: AsFd>(mut self, descriptors: impl IntoIterator<Item = F>) -> Self {
        let numbers = descriptors.into_iter().map(|descriptor| descriptor.as_fd().as_raw_fd());
        self.kept = Some(numbers.collect());
        self
    }

    #[cfg(feature = "sim")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the length of the longest message, and how many bytes may be queued.
    #[cfg(feature = "sim")]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.max_message, self.queue)
    }

    /// Returns how many threads its loop can hold, and its grace.
    #[cfg(feature = "sim")]
    pub(crate) fn loop_and_grace(&self) -> (usize, Duration) {
        (self.threads, self.grace)
    }

    pub(super) fn check(&self) -> Result<(), StartError> {
        if self.max_message > LARGEST_MESSAGE {
            return Err(StartError::MessagesTooLong);
        }
        Ok(())
    }
}
