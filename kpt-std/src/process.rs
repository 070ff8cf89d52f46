//! An ordinary child process as a source: readable when it has ended.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command};

use crate::sys;

/// A program that was started, and a source that is readable when it has ended.
///
/// It is a [`std::process::Child`] in everything else: with its pipes, [`try_wait`](Child::try_wait), `kill` and `id`.
/// A child that runs code of this program, and says more than how it ended, is a [task](crate::Tasks).
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
/// It stays readable after its end, so a thread on it ends when it has the status.
///
/// Dropping it neither ends the process nor waits for it, as in the standard library: one that has ended and was not
/// waited for stays a zombie until this process ends.
#[derive(Debug)]
pub struct ChildProcess {
    child: Child,
    end: OwnedFd,
}

impl ChildProcess {
    /// Starts the program, as [`Command::spawn`] does.
    ///
    /// # Errors
    /// `Unsupported`: the kernel has no descriptors for processes (`pidfd_open`; before Linux 5.3). The program has not
    /// been started. Otherwise the system's error: when it is for want of a descriptor, the program may have been started,
    /// and has been killed.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        check_support()?;
        let mut child = command.spawn()?;
        // Nobody but this function can have waited for it, unless other code does so for all children: the number is its.
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

/// No process has the number 0: a kernel that knows the call says so.
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
