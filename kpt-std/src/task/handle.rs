//! The parent's end of a task.

use std::time::Duration;

use kpt_core::{Instant, Source};

use super::error::SendError;
use super::exit::{TaskEvent, TaskExit, TaskStatus};
use super::peer::{News, Peer};
use super::peers::SharedPeers;
use crate::clock;

/// A task, from its parent's side: to send to it, to receive from it, and to end it.
///
/// With a loop, add a read thread for [`source`](Self::source): it is readable when [`receive`](Self::receive) has
/// something. Without one, [`wait`](Self::wait) and [`receive_blocking`](Self::receive_blocking) drive all tasks of the spawner
/// while they wait.
///
/// When the handle is dropped, the task is stopped, with the grace of its configuration, and reaped in the loop's waits.
/// What it says from then on is lost, and threads that are left on its [`source`](Self::source) are never called.
/// In a process that other code has forked, dropping it does nothing: the task is that of the process that started it.
#[must_use = "dropping the handle stops the task"]
pub struct TaskHandle {
    peers: SharedPeers,
    source: Source,
    id: i32,
    name: String,
}

impl TaskHandle {
    pub(super) fn new(peers: SharedPeers, source: Source, id: i32, name: String) -> Self {
        Self { peers, source, id, name }
    }

    /// Readable when there is something to receive, writable when any message finds room. Ends with this handle: cancel
    /// its threads before. One that is left then is never called, and keeps the loop from being empty.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The number of its process. Once it has ended, it may mean another one.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// As of its configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Queues a message for the task, and sends what the channel takes at once (what goes beyond the size of the
    /// queue is left to the next wait, so that whoever sends until it is full comes to an end). Never blocks. One call of
    /// the system.
    ///
    /// # Errors
    /// [`SendError`]: it is not queued.
    pub fn send(&self, message: &[u8]) -> Result<(), SendError> {
        self.with(|peer| peer.send(message)).unwrap_or(Err(SendError::Closed))
    }

    /// The next thing from the task: its messages in the order of sending, then once how it ended. `None` if there is
    /// nothing yet, and after that end. Never blocks.
    pub fn receive(&self) -> Option<TaskEvent> {
        match self.with(Peer::receive)?? {
            News::Event(event) => {
                // Not while the channels are in use: what logs may send to a task.
                if let TaskEvent::Exit(exit) = &event {
                    self.log(exit);
                }
                Some(event)
            }
            News::Stop | News::Gone => None,
        }
    }

    /// Blocks until there is something from the task, and returns it: for a program without a loop. Returns `None` after
    /// the task's end.
    pub fn receive_blocking(&self) -> Option<TaskEvent> {
        self.receive_until(None)
    }

    /// Blocks until there is something from the task, at most for that long, and returns it: for a program without a
    /// loop. Returns `None` if nothing has come, and after the task's end. With [`Duration::ZERO`] it looks once, and does
    /// what a wait of a loop does, too.
    pub fn receive_timeout(&self, timeout: Duration) -> Option<TaskEvent> {
        self.receive_until(Some(clock::now_or_later() + timeout))
    }

    fn receive_until(&self, until: Option<Instant>) -> Option<TaskEvent> {
        let mut is_late = false;
        loop {
            if let Some(event) = self.receive() {
                return Some(event);
            }
            if is_late || self.exit().is_some() {
                return None;
            }
            is_late = until.is_some_and(|until| until <= clock::now_or_earlier());
            // It fails for want of memory only: then it is tried again.
            let _ = self.peers.borrow_mut().drive(until);
        }
    }

    /// Has the task end within `grace`, without blocking: it is sent a message now, by which it runs its `pre_stop` and
    /// leaves; `SIGTERM` and `SIGCONT` after half of the time; and `SIGKILL` at its end. Messages that were sent before are
    /// received by it before. Said again, the sooner end counts; once it has ended, it does nothing.
    pub fn stop(&self, grace: Duration) {
        self.with(|peer| peer.stop(clock::now_or_later(), grace));
    }

    /// Sends the task `SIGKILL`, unless it has ended.
    pub fn kill(&self) {
        self.with(Peer::kill);
    }

    /// Blocks until the task has ended, and says how; messages that have not been received by then are lost. To be called
    /// any number of times, before or after the exit event. It ends nothing itself; see [`stop`](Self::stop).
    pub fn wait(&self) -> TaskExit {
        loop {
            // Behind messages that nobody has received, there may be what it said last.
            self.with(Peer::discard);
            if let Some(exit) = self.exit() {
                return exit;
            }
            let _ = self.peers.borrow_mut().drive(None); // Tried again, as above.
        }
    }

    fn log(&self, exit: &TaskExit) {
        if exit.stopped.is_some() || exit.status == TaskStatus::Code(0) {
            crate::log::trace!("task {} {}: {}", self.name, self.id, exit);
        } else {
            crate::log::error!("task {} {}: {}", self.name, self.id, exit);
        }
    }

    fn exit(&self) -> Option<TaskExit> {
        self.with(|peer| peer.exit()).flatten()
    }

    fn with<R>(&self, work: impl FnOnce(&mut Peer) -> R) -> Option<R> {
        self.peers.borrow_mut().with(self.source, work)
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        let now = clock::now_or_later();
        let mut peers = self.peers.borrow_mut();
        if !peers.are_own() {
            return;
        }
        peers.with(self.source, |peer| {
            let grace = peer.task.as_ref().map_or(Duration::ZERO, |task| task.grace);
            peer.stop(now, grace);
            peer.discard();
        });
        peers.release(self.source);
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
