//! Starting tasks.

use std::os::unix::net::UnixStream;

use super::child::{Child, Parent};
use super::config::TaskConfig;
use super::end::End;
use super::ends::{self, SharedEnds};
use super::error::StartError;
use super::handle::TaskHandle;
use super::last_words::{self, Keeper};
use super::net;
use super::parent_end::ParentEnd;
use super::process::Process;
use super::run::{self, Start};
use super::task_end::TaskEnd;
use super::tasks::Tasks;
use crate::sys::{self, Forked, SignalsBlocked};
use crate::tape;

/// Starts tasks: forked processes with a loop of their own and a channel to this one.
///
/// [`EventLoop::spawner`](crate::EventLoop::spawner) and [`Tasks::spawner`](crate::Tasks::spawner) return one for tasks
/// that a loop drives. [`new`](Self::new) creates one for a program without a loop, which drives its tasks with
/// [`TaskHandle::wait`] and [`TaskHandle::receive_blocking`].
///
/// When the last of a loop, its spawners and its handles is dropped, the remaining tasks are killed, and waited for at most
/// a second. Those that could not be ended are left to the guard.
#[derive(Clone)]
pub struct Spawner {
    ends: SharedEnds,
}

impl Spawner {
    /// Creates a spawner of tasks that no loop drives.
    pub fn new() -> Self {
        Self { ends: ends::shared() }
    }

    /// Forks a task. In the new process, `build` creates the task's state, and a loop runs with it until the task ends.
    /// Nothing of the parent is dropped there, and its loop is not touched. May be called in a hook. Does not wait for
    /// the task.
    ///
    /// The task has a copy of the parent's memory, and of its descriptors except those of other tasks; see
    /// [`TaskConfig::keep_only`]. It is in the parent's process group, so Ctrl-C reaches it, too. Signal handlers are
    /// removed, and all signals unblocked. Buffered standard output is flushed before the fork, so that it is written
    /// once; what can't be written then stays in the parent's buffer.
    ///
    /// Every generator of random numbers is copied as well, and so are the keys of hash maps: tasks that draw from one
    /// that the parent has made draw the same numbers. Make or reseed generators in `build`, from the system's
    /// (`/dev/urandom`, or the crate `getrandom`).
    ///
    /// The task closes its copies of other tasks' descriptors one by one, since descriptors of the application may lie
    /// between them: a start takes about 0.6 µs longer for each task that is alive, 0.6 ms with 1,000 tasks. In a
    /// program without a loop, each wait asks the system about all tasks, which takes about twice as long.
    ///
    /// The first start makes a guard: a small process, `kpt-guard`, that kills the tasks which are still there a second
    /// after this process has ended, however it ended and whatever they have done. It needs five descriptors here,
    /// and one more for each loop while that has tasks. It ends when the last loop, spawner and handle is dropped. A wait
    /// for any child does not find it. After `unshare` with `CLONE_NEWPID`, the guard is PID 1 of the new namespace unless
    /// a task was started before.
    ///
    /// These processes are not ended: those that a task has forked by hand; a task that has become root by a setuid
    /// program, if this process is not root; a task that a tracer holds at its end; and where the guard was killed or
    /// stopped, by a task of the same user for example, a task that is stopped, blocks signals or has another user.
    /// `docs/NET.md` in the repository has the list, and a command that shows each.
    ///
    /// # Needs
    /// A start needs sockets and a free process ID, and the first start another one for the guard, which `RLIMIT_NPROC`
    /// counts as well. `/proc` is needed where the system call `unshare` is forbidden, as in
    /// some containers, and where the task closes inherited descriptors: with [`TaskConfig::keep_only`],
    /// [`user`](TaskConfig::user) or [`root`](TaskConfig::root). Without `/dev/null`, closed numbers refer to the program's
    /// file. A process that is PID 1 may start tasks, and a task may be PID 1; as with each PID 1, signals without a
    /// handler other than `SIGKILL` don't end it.
    ///
    /// # Errors
    /// Returns a [`StartError`], and leaves no process behind. A process with several OS threads is refused after 100 ms,
    /// since the system lists a thread for a moment after it was joined.
    pub fn start<C: Child>(
        &self,
        config: TaskConfig,
        build: impl FnOnce(Parent) -> C,
    ) -> Result<TaskHandle, StartError> {
        config.check()?;
        #[cfg(feature = "sim")]
        if crate::sim::current().is_some() {
            return Err(StartError::InSimulation);
        }
        if let Some(replayed) = tape::starting(&config.name) {
            return Ok(TaskHandle::replayed(replayed?, config.name));
        }
        let name = config.name.clone();
        let result = self.fork(config, build);
        tape::note_start(&name, &result);
        result
    }

    fn fork<C: Child>(
        &self,
        config: TaskConfig,
        build: impl FnOnce(Parent) -> C,
    ) -> Result<TaskHandle, StartError> {
        if std::thread::panicking() {
            return Err(StartError::Unwinding);
        }
        let (ours, theirs) = UnixStream::pair()?;
        let (ours, theirs) = (sys::above_standard(ours)?, sys::above_standard(theirs)?);
        if config.descriptors == 0 {
            // A received one can block the receiver when it is closed. Before Linux 6.16, they are received and closed.
            let _ = sys::refuse_descriptors(&ours);
        }
        last_words::prepare();
        let has_text = sys::flush_output().is_err();
        let parent = sys::process_id();
        // Before the fork, since each page that a new process writes to is copied.
        let (ends, source) = ends::of_task(ParentEnd::new(&config, theirs));
        let channel = Box::new(Parent::new(ends, source));
        let keeper = Keeper::new();
        let ticket = self.ends.borrow_mut().before_start();
        let signals = SignalsBlocked::new();
        let alone = sys::alone()?.ok_or(StartError::MultiThreaded)?;
        // Not earlier: another OS thread may change them.
        let actions = net::signal_actions();
        match sys::fork(alone)? {
            Forked::Parent { child } => {
                drop(signals);
                drop(channel);
                let end = End::Task(TaskEnd::new(&config, ours, Process::new(child, ticket)));
                let source = self.ends.borrow_mut().insert(end);
                crate::log::trace!("task {} (process {}) has started", config.name, child);
                Ok(TaskHandle::new(self.ends.clone(), source, child, config.name))
            }
            Forked::Child => {
                drop(ours);
                let config = &config;
                let start = Start { parent, ticket, config, channel, keeper, has_text, actions };
                run::run_and_exit(start, build)
            }
        }
    }

    /// Starts a task whose state borrows nothing, as [`start`](Self::start) does. In a simulation (feature `sim`), the
    /// task is a loop of the simulation, and no process: it has no user, root directory or limits of its own, and keeps no
    /// descriptors. A program that is to be simulated starts its tasks by this.
    ///
    /// # Errors
    /// Returns a [`StartError`], and leaves no process behind.
    pub fn start_owned<C: Child + 'static>(
        &self,
        config: TaskConfig,
        build: impl FnOnce(Parent) -> C,
    ) -> Result<TaskHandle, StartError> {
        #[cfg(feature = "sim")]
        if let Some(sim) = crate::sim::current() {
            config.check()?;
            return sim.start_task(config, build);
        }
        self.start(config, build)
    }
}

impl<P> Tasks<P> {
    /// Returns a spawner of tasks that this poller drives. It may be cloned, and kept in the application's state.
    pub fn spawner(&self) -> Spawner {
        Spawner { ends: self.ends().clone() }
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
