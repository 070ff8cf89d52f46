//! The parent's handle of a task.

use std::time::Duration;

use kpt_core::{Instant, Source};

use super::ends::{self, SharedEnds};
use super::error::{SendError, SignalError};
use super::exit::{Message, TaskEvent, TaskExit, TaskStatus};
use super::task_end::TaskEnd;
use crate::clock;
use crate::tape::{self, ReplayedTask};

/// The parent's handle of a task: sends messages to it, receives its events, and ends it.
///
/// With a loop, add a read thread for [`source`](Self::source), which is readable when [`receive`](Self::receive) has
/// an event. Without a loop, [`wait`](Self::wait) and [`receive_blocking`](Self::receive_blocking) drive all tasks of
/// the spawner while they block.
///
/// Dropping the handle stops the task, with the grace of its configuration; it is reaped in a later wait of the loop.
/// Its further messages are lost, and threads that are left on its [`source`](Self::source) are never called. In a
/// process that other code has forked, dropping the handle does nothing: the task belongs to the process that started
/// it.
#[must_use = "dropping the handle stops the task"]
pub struct TaskHandle {
    ends: SharedEnds,
    source: Source,
    id: i32,
    name: String,
    #[cfg(feature = "sim")]
    pub(super) simulated: Option<crate::sim::SimTask>,
    pub(super) replayed: Option<ReplayedTask>,
}

impl TaskHandle {
    pub(super) fn new(ends: SharedEnds, source: Source, id: i32, name: String) -> Self {
        Self {
            ends,
            source,
            id,
            name,
            #[cfg(feature = "sim")]
            simulated: None,
            replayed: None,
        }
    }

    pub(super) fn replayed(task: ReplayedTask, name: String) -> Self {
        let (source, id) = (task.source(), task.id());
        let mut handle = Self::new(ends::shared(), source, id, name);
        handle.replayed = Some(task);
        handle
    }

    #[cfg(feature = "sim")]
    pub(crate) fn simulated(end: crate::sim::SimTask, name: String) -> Self {
        let (source, id) = (end.source(), end.id());
        let mut handle = Self::new(ends::shared(), source, id, name);
        handle.simulated = Some(end);
        handle
    }

    /// Returns the source of the task: readable when there is an event to receive, writable when a message of any
    /// allowed length fits into the queue. It ends with this handle, so cancel its threads first. A thread that is left
    /// is never called, and keeps the loop from being empty.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Returns the number of its process. After the task has ended, the number may refer to another process.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Returns the name from its configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Queues a message for the task, and sends what the channel accepts. Never blocks. Costs a system call. At most as
    /// many bytes as the queue holds are sent between two waits, so that a hook that sends until the queue is full
    /// comes to an end.
    ///
    /// # Errors
    /// Returns a [`SendError`] if the message is not queued.
    pub fn send(&self, message: &[u8]) -> Result<(), SendError> {
        #[cfg(feature = "sim")]
        if let Some(end) = &self.simulated {
            return end.send_down(message, &mut None);
        }
        if let Some(task) = &self.replayed {
            return task.send(message);
        }
        let result = self.with(|task| task.channel_mut().send(message));
        let result = result.unwrap_or(Err(SendError::Closed));
        tape::note_message(self.source, message, result);
        result
    }

    /// Returns the next event of the task: its messages in the order of sending, and then once how it ended. Returns
    /// `None` if there is none yet, and after the exit event. Never blocks. A descriptor that was sent with a message is
    /// closed.
    pub fn receive(&self) -> Option<TaskEvent> {
        self.receive_with().map(TaskEvent::without_descriptor)
    }

    /// Blocks until there is an event of the task, and returns it. Returns `None` after the exit event. For a program
    /// without a loop.
    pub fn receive_blocking(&self) -> Option<TaskEvent> {
        self.receive_with_blocking().map(TaskEvent::without_descriptor)
    }

    /// Blocks until there is an event of the task, at most for `timeout`, and returns it. Returns `None` if there is
    /// none by then, and after the exit event. With [`Duration::ZERO`], it does not block, but does the work of one
    /// wait of a loop. For a program without a loop.
    pub fn receive_timeout(&self, timeout: Duration) -> Option<TaskEvent> {
        self.receive_with_timeout(timeout).map(TaskEvent::without_descriptor)
    }

    pub(super) fn receive_until(&self, until: Option<Instant>) -> Option<TaskEvent<Message>> {
        if let Some(task) = &self.replayed {
            return task.receive();
        }
        let event = self.take_until(until);
        tape::note_event(self.source, event.as_ref());
        event
    }

    fn take_until(&self, until: Option<Instant>) -> Option<TaskEvent<Message>> {
        let mut is_late = false;
        loop {
            if let Some(event) = self.take() {
                return Some(event);
            }
            if is_late || self.exit().is_some() {
                return None;
            }
            is_late = until.is_some_and(|until| until <= clock::now_or_earlier());
            // Fails only if there is not enough memory, and is then retried.
            let _ = self.ends.borrow_mut().drive(until);
            ends::log_errors(&self.ends);
        }
    }

    /// Ends the task within `grace`. Never blocks. The task is sent a stop message now, on which it runs its `pre_stop`
    /// and exits; `SIGTERM` and `SIGCONT` after half of the time; and `SIGKILL` at its end. It receives the messages
    /// that were sent before. If called again, the earlier end counts. Does nothing after the task has ended.
    pub fn stop(&self, grace: Duration) {
        #[cfg(feature = "sim")]
        if let Some(end) = &self.simulated {
            return end.stop(grace);
        }
        if let Some(task) = &self.replayed {
            return task.stop(grace);
        }
        tape::note_stop(self.source, grace);
        self.with(|task| task.stop(clock::now_or_later(), grace));
    }

    /// Sends the task `SIGKILL`, unless it has ended.
    ///
    /// # Errors
    /// Returns a [`SignalError`] if that is not possible. It is tried again, once a second.
    pub fn kill(&self) -> Result<(), SignalError> {
        #[cfg(feature = "sim")]
        if let Some(end) = &self.simulated {
            end.kill();
            return Ok(());
        }
        if let Some(task) = &self.replayed {
            return task.kill();
        }
        let result = self.with(|task| task.kill(clock::now_or_later())).unwrap_or(Ok(()));
        tape::note_kill(self.source, result);
        result
    }

    /// Blocks until the task has ended, and returns how. Messages that have not been received are lost. May be called
    /// any number of times, before and after the exit event. Does not end the task; see [`stop`](Self::stop).
    pub fn wait(&self) -> TaskExit {
        #[cfg(feature = "sim")]
        if let Some(end) = &self.simulated {
            return end.wait();
        }
        if let Some(task) = &self.replayed {
            return task.wait();
        }
        loop {
            // The text of an error or panic may be queued behind messages that were not received.
            self.with(TaskEnd::discard);
            if let Some(exit) = self.exit() {
                tape::note_exit(self.source, &exit);
                return exit;
            }
            let _ = self.ends.borrow_mut().drive(None); // Retried, as above.
            ends::log_errors(&self.ends);
        }
    }

    pub(super) fn log(&self, exit: &TaskExit) {
        if exit.stopped.is_some() || exit.status == TaskStatus::Code(0) {
            crate::log::trace!("task {} (process {}) has ended: {}", self.name, self.id, exit);
        } else {
            crate::log::error!("task {} (process {}) has ended: {}", self.name, self.id, exit);
        }
    }

    fn exit(&self) -> Option<TaskExit> {
        self.with(|task| task.exit()).flatten()
    }

    pub(super) fn with<R>(&self, work: impl FnOnce(&mut TaskEnd) -> R) -> Option<R> {
        self.ends.borrow_mut().with_task(self.source, work)
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        #[cfg(feature = "sim")]
        if let Some(end) = &self.simulated {
            return end.release();
        }
        if self.replayed.is_some() {
            return;
        }
        let now = clock::now_or_later();
        let mut ends = self.ends.borrow_mut();
        ends.with_task(self.source, |task| task.release(now));
        ends.release(self.source);
    }
}

impl std::fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskHandle")
            .field("name", &self.name)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
