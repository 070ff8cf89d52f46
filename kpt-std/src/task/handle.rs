//! The parent's handle of a task.

use std::os::fd::OwnedFd;
use std::time::Duration;

use kpt_core::Source;

use super::ends::SharedEnds;
use super::error::{SendError, SignalError};
use super::exit::{Message, TaskEvent, TaskExit};
use super::live::LiveTask;
#[cfg(feature = "sim")]
use crate::sim::SimTask;
use crate::tape::ReplayedTask;

/// The parent's handle of a task: sends messages to it, receives its events, and ends it.
///
/// With a loop, add a read thread for [`source`](Self::source), which is readable when [`receive`](Self::receive) has
/// an event. Without a loop, [`wait`](Self::wait) and [`receive_blocking`](Self::receive_blocking) drive all tasks of
/// the spawner while they block.
///
/// Dropping the handle stops the task, with the grace of its configuration; it is reaped in a later wait of the loop.
/// Its further messages are lost, and threads that still wait for its [`source`](Self::source) are never called. In a
/// process that other code has forked, dropping the handle does nothing: the task belongs to the process that started
/// it.
#[must_use = "dropping the handle stops the task"]
pub struct TaskHandle {
    task: Kind,
    source: Source,
    id: i32,
    name: String,
}

/// What the task is.
enum Kind {
    /// A process.
    Live(LiveTask),
    /// Part of a simulation.
    #[cfg(feature = "sim")]
    Simulated(SimTask),
    /// Part of a replay.
    Replayed(ReplayedTask),
}

impl TaskHandle {
    pub(super) fn new(ends: SharedEnds, source: Source, id: i32, name: String) -> Self {
        let task = Kind::Live(LiveTask::new(ends, source, id, name.clone()));
        Self { task, source, id, name }
    }

    pub(super) fn replayed(task: ReplayedTask, name: String) -> Self {
        Self { source: task.source(), id: task.id(), task: Kind::Replayed(task), name }
    }

    #[cfg(feature = "sim")]
    pub(crate) fn simulated(task: SimTask, name: String) -> Self {
        Self { source: task.source(), id: task.id(), task: Kind::Simulated(task), name }
    }

    /// Returns the source of the task: readable when there is an event to receive, writable when a message of any
    /// allowed length fits into the queue. It ends with this handle, so cancel its threads first. A thread that is left
    /// is never called, and keeps the loop from being empty.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Returns its process ID, as [`std::process::Child::id`] does. After the task has ended, the system may give it to
    /// another process.
    pub fn id(&self) -> u32 {
        self.id.cast_unsigned()
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
        self.send_any(message, &mut None)
    }

    /// Queues a message, with a descriptor if there is one, which is taken unless this fails.
    pub(super) fn send_any(
        &self,
        message: &[u8],
        descriptor: &mut Option<OwnedFd>,
    ) -> Result<(), SendError> {
        match &self.task {
            Kind::Live(task) => task.send(message, descriptor),
            #[cfg(feature = "sim")]
            Kind::Simulated(task) => task.send_down(message, descriptor),
            Kind::Replayed(task) => task.send(message, descriptor),
        }
    }

    /// Returns the next event of the task: its messages in the order of sending, and then once how it ended. Returns
    /// `None` if there is none yet, and after the exit event. Never blocks. A descriptor that was sent with a message is
    /// closed.
    pub fn receive(&self) -> Option<TaskEvent> {
        self.receive_any().map(TaskEvent::without_descriptor)
    }

    pub(super) fn receive_any(&self) -> Option<TaskEvent<Message>> {
        match &self.task {
            Kind::Live(task) => task.receive(),
            #[cfg(feature = "sim")]
            Kind::Simulated(task) => task.receive(),
            Kind::Replayed(task) => task.receive(),
        }
    }

    /// Blocks until there is an event of the task, and returns it. Returns `None` after the exit event. For a program
    /// without a loop.
    pub fn receive_blocking(&self) -> Option<TaskEvent> {
        self.receive_within(None).map(TaskEvent::without_descriptor)
    }

    /// Blocks until there is an event of the task, at most for `timeout`, and returns it. Returns `None` if there is
    /// none by then, and after the exit event. With [`Duration::ZERO`], it does not block, but does the work of one
    /// wait of a loop. For a program without a loop.
    pub fn receive_timeout(&self, timeout: Duration) -> Option<TaskEvent> {
        self.receive_within(Some(timeout)).map(TaskEvent::without_descriptor)
    }

    pub(super) fn receive_within(&self, timeout: Option<Duration>) -> Option<TaskEvent<Message>> {
        match &self.task {
            Kind::Live(task) => task.receive_within(timeout),
            #[cfg(feature = "sim")]
            Kind::Simulated(task) => task.receive_within(timeout),
            Kind::Replayed(task) => task.receive(),
        }
    }

    /// Ends the task within `grace`. Never blocks. The task is sent a stop message now, on which it runs its `pre_stop` and
    /// exits; `SIGTERM` and `SIGCONT` after half of `grace`; and `SIGKILL` at its end. The task receives the messages that
    /// were sent before. If called again, the earlier end counts. Does nothing after the task has ended.
    pub fn stop(&self, grace: Duration) {
        match &self.task {
            Kind::Live(task) => task.stop(grace),
            #[cfg(feature = "sim")]
            Kind::Simulated(task) => task.stop(grace),
            Kind::Replayed(task) => task.stop(grace),
        }
    }

    /// Sends the task `SIGKILL`, unless it has ended.
    ///
    /// # Errors
    /// Returns a [`SignalError`] if that is not possible. The parent tries again once a second.
    pub fn kill(&self) -> Result<(), SignalError> {
        match &self.task {
            Kind::Live(task) => task.kill(),
            #[cfg(feature = "sim")]
            Kind::Simulated(task) => {
                task.kill();
                Ok(())
            }
            Kind::Replayed(task) => task.kill(),
        }
    }

    /// Blocks until the task has ended, and returns how. Messages that have not been received are lost. May be called
    /// any number of times, before and after the exit event. Does not end the task; see [`stop`](Self::stop).
    pub fn wait(&self) -> TaskExit {
        match &self.task {
            Kind::Live(task) => task.wait(),
            #[cfg(feature = "sim")]
            Kind::Simulated(task) => task.wait(),
            Kind::Replayed(task) => task.wait(),
        }
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        match &self.task {
            Kind::Live(task) => task.release(),
            #[cfg(feature = "sim")]
            Kind::Simulated(task) => task.release(),
            Kind::Replayed(_) => {}
        }
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
