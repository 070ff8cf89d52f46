//! A child process that runs another program, as a source: readable when it has ended.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command};

use crate::sys;

/// A child process that runs another program. It is a source, readable when the process has ended.
///
/// It dereferences to [`std::process::Child`], with its pipes, [`try_wait`](Child::try_wait), `kill` and `id`. For a
/// child process that runs code of this program and exchanges messages with it, use a [task](crate::Tasks).
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
    child: Child,
    end: OwnedFd,
}

impl ChildProcess {
    /// Starts the program, as [`Command::spawn`] does. Uses one descriptor besides those of its pipes.
    ///
    /// # Errors
    /// Returns `Unsupported`, and does not start the program, if the kernel has no descriptors for processes
    /// (`pidfd_open`; before Linux 5.3). Otherwise returns the system's error. If no descriptor is available, the
    /// program may have been started, and has been killed and waited for.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        check_support()?;
        let mut child = command.spawn()?;
        // Unless other code waits for all children, only this function can have waited for it, so the number still
        // refers to it.
        match sys::open_process(child.id() as i32) {
            Ok(end) => Ok(Self { child, end }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }
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

impl Deref for ChildProcess {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for ChildProcess {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl AsFd for ChildProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}
