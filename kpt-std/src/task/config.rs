//! What a task is given when it starts.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use super::error::StartError;
use super::frame::{LARGEST_MESSAGE, cut};

/// The longest name that is kept, in bytes.
const LONGEST_NAME: usize = 64;

/// What a task is given when it starts: `TaskConfig::new("worker").max_message(1 << 20)`.
#[derive(Clone, Debug)]
#[must_use = "a task is started by a spawner"]
pub struct TaskConfig {
    pub(super) name: String,
    pub(super) max_message: usize,
    pub(super) queue: usize,
    pub(super) threads: usize,
    pub(super) grace: Duration,
    pub(super) kept: Option<Vec<RawFd>>,
}

impl TaskConfig {
    /// A task of that name: messages of up to 64 KiB, queues of 256 KiB, room for 64 threads.
    ///
    /// Control characters and the like in the name are escaped, and it is cut to 64 bytes, so that it is harmless in a
    /// log.
    pub fn new(name: impl AsRef<str>) -> Self {
        // An escape makes a character longer, never shorter.
        let name = cut(name.as_ref(), LONGEST_NAME).escape_debug().to_string();
        Self {
            name: cut(&name, LONGEST_NAME).to_owned(),
            max_message: 64 << 10,
            queue: 256 << 10,
            threads: 64,
            grace: Duration::from_secs(5),
            kept: None,
        }
    }

    /// The longest message in bytes, both ways: up to 16 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// How many bytes may be queued in each direction, on each side: at least two messages of the largest size.
    /// What has been received and what one read brings (64 KiB) come on top of it, and what the kernel holds.
    pub fn queue(mut self, bytes: usize) -> Self {
        self.queue = bytes;
        self
    }

    /// How many threads the child's loop has room for.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The time that the task has to end when its handle is dropped, or when it breaks the protocol: 5 s unless said.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The child keeps only 0, 1, 2, its channel and `descriptors`. Without this it has all that the parent has open, but
    /// for what belongs to other tasks: clients of the parent, say, which then don't notice when the parent hangs up.
    ///
    /// The others are closed for good, but their numbers are not given out again while an object of the parent's that
    /// owns them may still be there: using one is `EBADF`.
    pub fn keep_only<F: AsFd>(mut self, descriptors: impl IntoIterator<Item = F>) -> Self {
        let numbers = descriptors.into_iter().map(|descriptor| descriptor.as_fd().as_raw_fd());
        self.kept = Some(numbers.collect());
        self
    }

    pub(super) fn check(&self) -> Result<(), StartError> {
        if self.max_message > LARGEST_MESSAGE {
            return Err(StartError::MessagesTooLong);
        }
        Ok(())
    }
}
