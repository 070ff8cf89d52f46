//! Descriptors in messages: the operations of both sides.

use std::os::fd::OwnedFd;
use std::time::Duration;

use super::child::Parent;
use super::error::{SendError, SendWithError};
use super::exit::{Message, TaskEvent};
use super::handle::TaskHandle;

impl TaskHandle {
    /// Queues a message with a descriptor, as [`send`](Self::send) queues one without. The task receives a copy of the
    /// descriptor; this one is closed as soon as it has been sent. The configuration must have
    /// [`accept_descriptors`](super::TaskConfig::accept_descriptors).
    ///
    /// ```no_run
    /// # use std::error::Error;
    /// # use std::fs::File;
    /// # use kpt_std::{Child, Message, Passed, Spawner, TaskConfig, Threads};
    /// struct Reader;
    ///
    /// impl Child for Reader {
    ///     type Arg = ();
    ///
    ///     fn on_message_with(&mut self, message: Message, _: Threads<Self>) {
    ///         match message.descriptor {
    ///             Passed::Descriptor(file) => println!("{:?}", std::io::read_to_string(File::from(file))),
    ///             Passed::Lost => eprintln!("a file was lost"), // This process has too many open, for example.
    ///             Passed::Nothing => {}
    ///         }
    ///     }
    /// }
    ///
    /// let config = TaskConfig::new("reader").accept_descriptors(4).user(65_534, 65_534, []);
    /// let reader = Spawner::new().start(config, |_| Reader)?;
    /// reader.send_with(b"a file that the task can't open", File::open("/etc/shadow")?)?;
    /// # Ok::<(), Box<dyn Error>>(())
    /// ```
    ///
    /// Both descriptors refer to the same open file, so they share its position and `O_NONBLOCK`. Through the descriptor
    /// of a directory, a task can leave its root directory.
    ///
    /// A simulated task (feature `sim`) gets the descriptor itself, and a schedule can lose it: `descriptor/1#0=lost`. What
    /// is simulated itself, a [`Stream`](crate::Stream) for example, can't be passed.
    ///
    /// # Errors
    /// Returns a [`SendWithError`], which has the descriptor, if the message is not queued.
    pub fn send_with(
        &self,
        message: &[u8],
        descriptor: impl Into<OwnedFd>,
    ) -> Result<(), SendWithError> {
        let mut descriptor = Some(descriptor.into());
        let sent = self.send_any(message, &mut descriptor);
        result(sent, descriptor)
    }

    /// Returns the next event of the task as [`receive`](Self::receive) does, with the descriptor of a message.
    pub fn receive_with(&self) -> Option<TaskEvent<Message>> {
        self.receive_any()
    }

    /// Blocks until there is an event of the task, as [`receive_blocking`](Self::receive_blocking) does, and returns it
    /// with the descriptor of a message.
    pub fn receive_with_blocking(&self) -> Option<TaskEvent<Message>> {
        self.receive_within(None)
    }

    /// Blocks until there is an event of the task or the time is over, as [`receive_timeout`](Self::receive_timeout)
    /// does, and returns it with the descriptor of a message.
    pub fn receive_with_timeout(&self, timeout: Duration) -> Option<TaskEvent<Message>> {
        self.receive_within(Some(timeout))
    }
}

impl Parent {
    /// Queues a message with a descriptor for the parent, as [`send`](Self::send) queues one without; see
    /// [`TaskHandle::send_with`]. [`TaskHandle::receive_with`] receives it.
    ///
    /// # Errors
    /// Returns a [`SendWithError`], which has the descriptor, if the message is not queued.
    pub fn send_with(
        &self,
        message: &[u8],
        descriptor: impl Into<OwnedFd>,
    ) -> Result<(), SendWithError> {
        let mut descriptor = Some(descriptor.into());
        #[cfg(feature = "sim")]
        if let Some(end) = &self.simulated {
            let sent = end.send_up(message, &mut descriptor);
            return result(sent, descriptor);
        }
        let sent = self.with(|parent| parent.channel_mut().send_with(message, &mut descriptor));
        result(sent.unwrap_or(Err(SendError::Closed)), descriptor)
    }
}

/// Returns the result of sending, with the descriptor if it was not taken.
fn result(sent: Result<(), SendError>, descriptor: Option<OwnedFd>) -> Result<(), SendWithError> {
    match (sent, descriptor) {
        (Err(error), Some(descriptor)) => Err(SendWithError { error, descriptor }),
        _ => Ok(()),
    }
}
