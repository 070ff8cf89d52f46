//! The child's end of a task: the trait that it implements, and its channel to its parent.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;

use kpt_core::{Source, Threads};

use super::ends::SharedEnds;
use super::error::SendError;
use super::exit::Message;
use super::frame::Kind;
use super::parent_end::ParentEnd;

/// The application's part of a task: its state, on which the hooks of its own loop work.
///
/// The task ends with exit code 0 when its parent stops it or has ended (after `pre_stop`), when one of its hooks calls
/// `stop`, and when it has hung up and no thread is left.
pub trait Child: Sized {
    /// The type of the arguments of its threads.
    type Arg;

    /// Called before its loop runs. Adds its threads.
    ///
    /// # Errors
    /// An error ends the task. Its parent receives the text in [`TaskStatus::Failed`](super::TaskStatus::Failed).
    fn pre_run(&mut self, threads: Threads<'_, Self, Self::Arg>) -> Result<(), Box<dyn Error>> {
        let _ = threads;
        Ok(())
    }

    /// Called for each message of the parent, in the order of sending, between turns of its loop.
    fn on_message(&mut self, message: Vec<u8>, threads: Threads<'_, Self, Self::Arg>) {
        let _ = (message, threads);
    }

    /// Called for each message of the parent, with its descriptor if it has one. By default, closes the descriptor and
    /// calls [`on_message`](Self::on_message). If you implement this, `on_message` is not called.
    fn on_message_with(&mut self, message: Message, threads: Threads<'_, Self, Self::Arg>) {
        self.on_message(message.bytes, threads);
    }

    /// Called when the parent stops the task or has ended. The task exits when this returns and all its messages have
    /// been sent; its threads do not run any more. A task that has something to finish is told so by a message before it
    /// is stopped.
    fn pre_stop(&mut self, threads: Threads<'_, Self, Self::Arg>) {
        let _ = threads;
    }
}

/// A task's end of the channel to its parent.
#[derive(Clone)]
pub struct Parent {
    ends: SharedEnds,
    source: Source,
    has_hung_up: Rc<Cell<bool>>,
    #[cfg(feature = "sim")]
    pub(super) simulated: Option<Rc<crate::sim::SimTask>>,
}

impl Parent {
    pub(super) fn new(ends: SharedEnds, source: Source) -> Self {
        Self {
            ends,
            source,
            has_hung_up: Rc::default(),
            #[cfg(feature = "sim")]
            simulated: None,
        }
    }

    #[cfg(feature = "sim")]
    pub(crate) fn simulated(end: crate::sim::SimTask) -> Self {
        let (source, simulated) = (end.source(), Some(Rc::new(end)));
        Self { ends: super::ends::shared(), source, has_hung_up: Default::default(), simulated }
    }

    /// Returns the source of this channel. It is writable when a message of any allowed length fits into the queue: for
    /// a write thread that sends what was refused. Messages of the parent are passed to [`Child::on_message`].
    pub fn source(&self) -> Source {
        self.source
    }

    /// Queues a message for the parent, and sends what the channel accepts. Never blocks. At most as many bytes as the
    /// queue holds are sent between two waits, so that a hook that sends until the queue is full comes to an end.
    /// Messages that are queued when the task ends are sent before it exits, also after a panic or
    /// `std::process::exit`. If another OS thread of the task calls `exit`, or a signal ends the task, only messages
    /// that the channel has accepted are certain to arrive: join the other OS threads first, or let the first one call
    /// `exit`.
    ///
    /// # Errors
    /// Returns a [`SendError`] if the message is not queued.
    pub fn send(&self, message: &[u8]) -> Result<(), SendError> {
        #[cfg(feature = "sim")]
        if let Some(end) = &self.simulated {
            return end.send_up(message, &mut None);
        }
        self.with(|parent| parent.channel_mut().send(message)).unwrap_or(Err(SendError::Closed))
    }

    /// Refuses further messages: the parent's `send` fails with `Closed`, and messages under way are dropped. From then
    /// on, the task ends when it has no threads left. Its parent can still stop it, and it still ends when its parent has
    /// ended.
    pub fn hang_up(&self) {
        #[cfg(feature = "sim")]
        if let Some(end) = &self.simulated {
            return end.hang_up();
        }
        if !self.has_hung_up.replace(true) {
            self.with(ParentEnd::hang_up);
        }
    }

    pub(super) fn has_hung_up(&self) -> bool {
        self.has_hung_up.get()
    }

    pub(super) fn ends(&self) -> &SharedEnds {
        &self.ends
    }

    pub(super) fn with<R>(&self, work: impl FnOnce(&mut ParentEnd) -> R) -> Option<R> {
        self.ends.borrow_mut().with_parent(self.source, work)
    }

    /// Sends all queued messages. Blocks until the parent has read them or has ended.
    pub(super) fn flush(&self) {
        // `exit` may have been called while the channels were borrowed; nothing can be sent then.
        if let Ok(mut ends) = self.ends.try_borrow_mut() {
            ends.with_parent(self.source, |parent| parent.flush());
        }
    }

    /// Queues the reason for the end of the task.
    pub(super) fn say_last(&self, kind: Kind, text: &str) {
        if let Ok(mut ends) = self.ends.try_borrow_mut() {
            ends.with_parent(self.source, |parent| parent.channel_mut().queue_control(kind, text));
        }
    }
}

impl std::fmt::Debug for Parent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parent").field("source", &self.source).finish_non_exhaustive()
    }
}
