//! The configuration of a task.

use std::error::Error;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use std::time::Duration;

use super::error::StartError;
use super::frame::{LARGEST_MESSAGE, cut};
use super::privileges::{Limit, Privileges};

/// The longest name, in bytes.
const LONGEST_NAME: usize = 64;

/// The configuration of a task: `TaskConfig::new("worker").max_message(1 << 20)`.
///
/// # Privileges
/// A task has the rights of its parent unless the configuration takes them away:
///
/// ```
/// # use std::time::Duration;
/// # use kpt_std::{Limit, TaskConfig};
/// let config = TaskConfig::new("parser")
///     .limits([Limit::OpenFiles(32), Limit::Processes(0), Limit::CpuTime(Duration::from_secs(60))])
///     .root("/var/empty")
///     .user(65_534, 65_534, [])
///     .no_new_privs();
/// ```
///
/// Whatever the order of these calls, the task applies them in the only order that works, after its descriptors have
/// been closed and its loop has been made, and before its state is built: limits, root directory, supplementary groups,
/// group, user, `no_new_privs`. Then it checks that there is no way back: that it can't become the old user or root,
/// that it can't leave its root directory, and that no descriptor is open that was not to be kept. Then it calls the
/// closures of [`before_run`](Self::before_run). What fails ends it with
/// [`TaskStatus::Failed`](super::TaskStatus::Failed), whose text names it.
///
/// With [`user`](Self::user) or [`root`](Self::root), a task keeps no descriptor of its parent's besides 0, 1 and 2,
/// unless [`keep_only`](Self::keep_only) names it.
///
/// What remains: the task has a copy of its parent's memory with all the secrets in it, of its environment, and of its
/// terminal. It may send any signal to processes of its user, such as other tasks, unless each has a user of its own, and `SIGCONT`
/// to those of its session. A file that is passed to it later may be a way out.
#[derive(Clone, Debug)]
#[must_use = "`Spawner::start` starts the task"]
pub struct TaskConfig {
    pub(crate) name: String,
    pub(crate) max_message: usize,
    pub(crate) queue: usize,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    pub(crate) grace: Duration,
    pub(super) kept: Option<Vec<RawFd>>,
    pub(crate) tells_ready: bool,
    pub(super) privileges: Privileges,
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
            descriptors: 0,
            threads: 64,
            grace: Duration::from_secs(5),
            kept: None,
            tells_ready: false,
            privileges: Privileges::default(),
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

    /// Lets messages carry descriptors, one each, in both directions: see
    /// [`TaskHandle::send_with`](super::TaskHandle::send_with) and [`Parent::send_with`](super::Parent::send_with). Each
    /// side holds at most this number of descriptors that have been received and not taken by the application, and at most
    /// this number that wait to be sent. At the first bound, it reads nothing more until a message is taken; at the second
    /// one, sending fails with [`Full`](super::SendError::Full), and the source is writable when another one fits. Between
    /// the two, the system's socket holds some 280 more. 0 by default: no message carries a descriptor.
    ///
    /// # Cost
    /// A message with a descriptor costs a system call for sending it and one for receiving it, since it is never read
    /// together with another one, and one each for closing the two copies: 64 bytes with one, there and back, take 1.4
    /// times as long as without. Of two messages with descriptors, the second arrives one wait after the first at the
    /// earliest. Other messages are sent and read together, as before.
    ///
    /// # Limits of the system
    /// A received descriptor counts towards the receiver's limit of open files (`RLIMIT_NOFILE`). At the limit, it is
    /// [`Lost`](super::Passed::Lost). The system also counts, for each user, the descriptors that have been sent and that
    /// no process has received. If they are more than that limit, a sender that is not root tries again every 20 ms, and
    /// all that is queued after the descriptor waits.
    ///
    /// # A hostile task
    /// The bounds hold whatever the other side does: a descriptor without a message, or several with one message, are
    /// closed at once, and are a [`ProtocolError`](super::ProtocolError). But the last close of a file can block: that of a
    /// TCP socket with `SO_LINGER` and unsent data for as long as it lingers, that of a file on FUSE for as long as its
    /// server wants. So a task whose descriptors are accepted can hold up its parent, and neither kpt nor the application
    /// can prevent that. A task whose descriptors are not accepted can't: since Linux 6.16, the system passes none to its
    /// parent (`SO_PASSRIGHTS`). **Before Linux 6.16**, the parent receives and closes what such a task sends, and may block
    /// in the close.
    pub fn accept_descriptors(mut self, descriptors: usize) -> Self {
        self.descriptors = descriptors;
        self
    }

    /// Sets the number of threads that the task's loop can hold: 64 by default.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the time that the task has to end when its handle is dropped, or when it has broken the protocol of its
    /// channel: 5 s by default.
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

    /// Closes all inherited descriptors in the task, except 0, 1, 2, its channel and `descriptors`. By default, the task
    /// keeps all that the parent has open, except those of other tasks: a client of the parent, for example, then does not
    /// notice when the parent closes the connection.
    ///
    /// The files are closed, but their numbers stay in use, since inherited objects may still own them: using one fails
    /// with `EBADF`.
    pub fn keep_only<F: AsFd>(mut self, descriptors: impl IntoIterator<Item = F>) -> Self {
        let numbers = descriptors.into_iter().map(|descriptor| descriptor.as_fd().as_raw_fd());
        self.kept = Some(numbers.collect());
        self
    }

    /// Makes the task another user: sets its supplementary groups, and its real, effective and saved group and user. If
    /// the user is not 0, it also gives up all capabilities. A change needs the rights of root; what is set already needs
    /// none. Names are not looked up: the numbers are those of `/etc/passwd` and `/etc/group`. If called again, the last
    /// call counts.
    ///
    /// Other processes of that user can't trace the task, nor read its memory, unless it executes a program. A program
    /// that it executes may get rights by its file, unless there is [`no_new_privs`](Self::no_new_privs).
    pub fn user(mut self, user: u32, group: u32, groups: impl IntoIterator<Item = u32>) -> Self {
        self.privileges.set_user(user, group, groups.into_iter().collect());
        self
    }

    /// Makes a directory the root directory of the task, and its working directory: chroot(2). A relative path begins at
    /// the working directory of the parent. If called again, the last call counts.
    ///
    /// Needs the rights of root, which the task must give up by [`user`](Self::user), since root can leave any root
    /// directory. The directory must be there at each start. A descriptor of a directory that it keeps, also as 0, 1 or 2, is an error for the same reason. The
    /// task finds no `/proc` and no `/dev` there unless they are mounted, and no time zone or name service.
    pub fn root(mut self, directory: impl AsRef<Path>) -> Self {
        self.privileges.set_root(directory.as_ref());
        self
    }

    /// Limits what the task may use, by the soft and the hard limit: a task that is not root can't raise it again. A
    /// limit that is higher than the parent's hard one needs `CAP_SYS_RESOURCE`, which root in a container may lack. If called again, these limits are added,
    /// and the last of several on one resource counts.
    pub fn limits(mut self, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.privileges.add_limits(limits);
        self
    }

    /// Makes sure that no program which the task executes has rights that the task does not have, as a setuid program
    /// would: `PR_SET_NO_NEW_PRIVS`. It holds for all processes that the task starts, and can't be undone. It needs no
    /// rights.
    pub fn no_new_privs(mut self) -> Self {
        self.privileges.set_no_new_privs();
        self
    }

    /// Adds a closure that the task calls when all else has been applied and checked, before its state is built: for
    /// what other crates do, such as landlock or a seccomp filter. It may open what the state needs. Closures are called
    /// in the order in which they were added; the first error ends the task. It runs in the process of the task, so what
    /// it changes in memory is not seen by the parent, nor by another task of the same configuration.
    ///
    /// Clones of the configuration share the closure, which must be `Send` and `Sync` for that.
    ///
    /// A system call filter must allow what the task's loop and channel use: `epoll_wait`, `epoll_ctl`,
    /// `timerfd_settime`, `clock_gettime`, `poll`, `sendto`, `sendmsg`, `recvfrom`, `recvmsg`, `close`, `getpid`,
    /// `getppid`, `exit_group`, `rt_sigreturn`, `timer_create`, `timer_settime`; those of the allocator: `brk`, `mmap`,
    /// `munmap`, `mremap`, `madvise`; and in a program with debug assertions `fcntl`, by which the standard library
    /// checks what it closes. Some machines and C libraries have `epoll_pwait` and `ppoll` in place of `epoll_wait` and
    /// `poll`.
    ///
    /// ```
    /// # use kpt_std::TaskConfig;
    /// let config = TaskConfig::new("reader").before_run(|| {
    ///     std::env::set_current_dir("/var/spool")?;
    ///     Ok(())
    /// });
    /// ```
    pub fn before_run(
        mut self,
        work: impl Fn() -> Result<(), Box<dyn Error>> + Send + Sync + 'static,
    ) -> Self {
        self.privileges.add_before_run(work);
        self
    }

    /// Returns the descriptors besides 0, 1 and 2 that the task keeps; `None` if it keeps all.
    pub(super) fn kept(&self) -> Option<&[RawFd]> {
        let nothing = self.privileges.is_confined().then_some(&[][..]);
        self.kept.as_deref().or(nothing)
    }

    /// Checks what the setters do not: they return no errors.
    pub(super) fn check(&self) -> Result<(), StartError> {
        if self.max_message > LARGEST_MESSAGE {
            return Err(StartError::MessagesTooLong);
        }
        Ok(())
    }
}
