//! Starting tasks.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::child::{self, Child, Parent};
use super::config::TaskConfig;
use super::error::StartError;
use super::handle::TaskHandle;
use super::peer::Peer;
use super::peers::{self, SharedPeers};
use crate::sys::{self, Forked, Process, SignalsBlocked};

/// Starts tasks: forked processes with a loop of their own and a channel to this one.
///
/// From [`Tasks::spawner`](crate::Tasks::spawner), for tasks that a loop drives; or from [`new`](Self::new), for a program
/// that has no loop and drives them with [`TaskHandle::wait`] and [`TaskHandle::receive_blocking`].
///
/// When the last of a loop, its spawners and its handles is dropped, tasks that are still there are killed, and waited
/// for.
#[derive(Clone)]
pub struct Spawner {
    peers: SharedPeers,
}

impl Spawner {
    /// For tasks that no loop drives.
    pub fn new() -> Self {
        Self::of(peers::shared())
    }

    pub(super) fn of(peers: SharedPeers) -> Self {
        Self { peers }
    }

    /// Forks a task. In the new process, `build` makes the child's state, whose loop then runs until it ends; nothing of
    /// the parent's is dropped there, nor its loop touched. May be called from inside a hook. Does not wait for the child.
    ///
    /// The child has a copy of the parent's memory, and of its descriptors but those of other tasks; see
    /// [`TaskConfig::keep_only`]. It is in the parent's process group: a Ctrl-C reaches it, too. Handlers of signals are
    /// reset, and none is blocked. What was printed and not written yet is written before the fork, once.
    ///
    /// The child closes its copies of the other tasks' descriptors, one by one, as the application's may lie between them:
    /// a start takes about 0.6 µs longer for each task that lives already, 0.6 ms with 1,000 of them. In a program without
    /// a loop, each wait asks the system about all of them, which takes about twice as long.
    ///
    /// # Errors
    /// [`StartError`]. Nothing is left of the task then.
    pub fn start<C: Child>(
        &self,
        config: TaskConfig,
        build: impl FnOnce(Parent) -> C,
    ) -> Result<TaskHandle, StartError> {
        config.check()?;
        let (ours, theirs) = UnixStream::pair()?;
        let (ours, theirs) = (sys::above_standard(ours)?, sys::above_standard(theirs)?);
        child::prepare_exit();
        flush_output();
        let parent = sys::process_id();
        let signals = SignalsBlocked::new();
        match sys::fork()?.ok_or(StartError::MultiThreaded)? {
            Forked::Parent { child } => {
                drop(signals);
                drop(theirs);
                let peer = Peer::new(&config, ours, Some(Process::new(child)));
                let source = self.peers.borrow_mut().insert(peer, false);
                crate::log::trace!("task {} {}: started", config.name, child);
                Ok(TaskHandle::new(self.peers.clone(), source, child, config.name))
            }
            Forked::Child => child::run_and_exit(parent, config, theirs, ours, build),
        }
    }
}

impl std::fmt::Debug for Spawner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spawner").finish_non_exhaustive()
    }
}

impl Default for Spawner {
    fn default() -> Self {
        Self::new()
    }
}

/// Whatever has been printed and not written would be in both processes. Standard error has no buffer.
pub(super) fn flush_output() {
    let _ = std::io::stdout().flush();
}
