//! A child process that runs another program, as a source: readable when it has ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};

use crate::{sys, tape};

/// A child process that runs another program. It is a source, readable when the process has ended.
///
/// It has the pipes and methods of [`std::process::Child`]. For a child process that runs code of this program and exchanges
/// messages with it, use a [task](crate::Tasks).
///
/// ```
/// use kpt_std::{ChildProcess, EventLoop, Thread, source};
/// use std::process::{Command, ExitStatus};
///
/// #[derive(Default)]
/// struct App {
///     status: Option<ExitStatus>,
/// }
///
/// impl App {
///     fn on_exit(&mut self, mut thread: Thread<App, ChildProcess>) {
///         match thread.arg.try_wait() {
///             Ok(None) => thread.again(), // It has not ended yet.
///             Ok(status) => self.status = status,
///             Err(error) => eprintln!("{error}"), // Other code has waited for it.
///         }
///     }
/// }
///
/// let child = ChildProcess::spawn(Command::new("sh").args(["-c", "exit 3"]))?;
/// let mut app = App::default();
/// let mut kpt = EventLoop::new()?;
/// kpt.threads().add_read("child", source(&child), App::on_exit, child)?;
/// kpt.run(&mut app)?;
/// assert_eq!(app.status.unwrap().code(), Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It stays readable after the process has ended, so a thread that waits for it should end when it has the status.
///
/// Dropping it neither ends the process nor waits for it, as in the standard library. A process that has ended and was
/// not waited for remains a zombie until this process ends.
#[derive(Debug)]
pub struct ChildProcess {
    /// There is none in a replay.
    child: Option<Child>,
    id: u32,
    end: OwnedFd,
    /// Where its standard input comes from, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Where its standard output goes, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Where its standard error goes, if that is a pipe.
    pub stderr: Option<ChildStderr>,
}

impl ChildProcess {
    /// Starts the program, as [`Command::spawn`] does. Uses one descriptor besides those of its pipes.
    ///
    /// # Errors
    /// Returns `Unsupported`, and does not start the program, if the kernel has no descriptors for processes
    /// (`pidfd_open`; before Linux 5.3). Otherwise returns the system's error. If no descriptor is available, the
    /// program may have been started, and has been killed and waited for.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        tape::starting_program(command, Self::start)
    }

    fn start(command: &mut Command) -> io::Result<Self> {
        check_support()?;
        let mut child = command.spawn()?;
        // Unless other code waits for all children, only this function can have waited for it, so the number still
        // refers to it.
        match sys::open_process(child.id() as i32) {
            Ok(end) => {
                let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
                let (id, stderr) = (child.id(), child.stderr.take());
                Ok(Self { child: Some(child), id, end, stdin, stdout, stderr })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// One of a replay. Of its pipes, only the numbers are of use.
    #[cfg(feature = "tape")]
    pub(crate) fn replayed(id: u32, end: OwnedFd, pipes: [Option<OwnedFd>; 3]) -> Self {
        let [stdin, stdout, stderr] = pipes;
        let (stdin, stdout) = (stdin.map(Into::into), stdout.map(Into::into));
        Self { child: None, id, end, stdin, stdout, stderr: stderr.map(Into::into) }
    }

    /// Returns the number of the process. After it has ended and was waited for, the number may refer to another process.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns how the process has ended, or `None` if it has not. Never blocks.
    ///
    /// # Errors
    /// Returns the system's error: other code has waited for it.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let Self { child, end, .. } = self;
        tape::asking_for_end(end, || with(child, Child::try_wait))
    }

    /// Blocks until the process has ended, and returns how. Closes the pipe to its standard input before.
    ///
    /// # Errors
    /// Returns the system's error: other code has waited for it.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        let Self { child, end, .. } = self;
        let status = tape::asking_for_end(end, || with(child, Child::wait).map(Some))?;
        status.ok_or_else(|| io::Error::other("the tape has no end of the process"))
    }

    /// Sends the process `SIGKILL`. Returns `Ok` if it has ended and was waited for.
    ///
    /// # Errors
    /// Returns the system's error: the process belongs to another user by now.
    pub fn kill(&mut self) -> io::Result<()> {
        let Self { child, end, .. } = self;
        tape::killing(end, || with(child, Child::kill))
    }
}

fn with<R>(
    child: &mut Option<Child>,
    work: impl FnOnce(&mut Child) -> io::Result<R>,
) -> io::Result<R> {
    work(child.as_mut().ok_or_else(|| io::Error::other("a process of a replay that is over"))?)
}

/// Opens process 0, which does not exist, to learn whether the kernel knows the call.
fn check_support() -> io::Result<()> {
    match sys::open_process(0) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel has no descriptors for processes (pidfd_open, since Linux 5.3)",
        )),
        _ => Ok(()),
    }
}

impl AsFd for ChildProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}
