//! Processes: forking, ending this one, and child processes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, pid_t};

use super::check;

/// The way in which a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Unknown: other code has collected the status, which the system returns only once.
    Unknown,
}

/// The two processes after a fork.
pub enum Forked {
    Parent { child: pid_t },
    Child,
}

/// Forks. Returns `None`, and does not fork, if the process has more than one OS thread.
pub fn fork() -> io::Result<Option<Forked>> {
    if !super::alone::is_single_threaded()? {
        return Ok(None);
    }
    // SAFETY: the child is a copy of a process with one thread, this one, as was just asked: no lock is held by a
    // thread that the child lacks, so all code may run in it.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Some(Forked::Child)),
        child => Ok(Some(Forked::Parent { child })),
    }
}

/// Returns the number of this process.
pub fn process_id() -> pid_t {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::getpid() }
}

/// Ends the process at once: nothing is dropped, flushed or called.
pub fn exit_now(code: c_int) -> ! {
    // SAFETY: the call does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Registers `handler` to be called when the process ends by `exit`. Does nothing if the C library has no room for it.
pub fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the handler is a function, so it exists as long as the process.
    unsafe { libc::atexit(handler) };
}

/// Returns how a child process has ended, or `None` if it has not. `descriptor` refers to it, if there is one. After
/// this has been returned once, the number may refer to another process.
///
/// Fails with `ECHILD` if other code has already waited for the process.
pub fn reap(
    pid: pid_t,
    descriptor: Option<BorrowedFd<'_>>,
    is_blocking: bool,
) -> io::Result<Option<Ended>> {
    let (mut what, mut number) = match descriptor {
        Some(descriptor) => (libc::P_PIDFD, descriptor.as_raw_fd()),
        None => (libc::P_PID, pid),
    };
    let options = libc::WEXITED | if is_blocking { 0 } else { libc::WNOHANG };
    // SAFETY: all zero bytes are a valid siginfo, and the answer "nothing has ended".
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `info` is a valid place for a siginfo, borrowed until the call returns.
        let result = check(unsafe { libc::waitid(what, number as libc::id_t, &mut info, options) });
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Linux 5.3 has descriptors for processes, but can't wait for them.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && what == libc::P_PIDFD => {
                (what, number) = (libc::P_PID, pid);
            }
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    // SAFETY: waitid has filled in these two, or they are the zeros from above.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let is_code = info.si_code == libc::CLD_EXITED;
    Ok((pid != 0).then_some(if is_code { Ended::Code(status) } else { Ended::Signal(status) }))
}

/// Sends a signal to a child process. Has no effect if the process has ended. MUST NOT be called after the process has
/// been reaped, unless there is a descriptor.
pub fn signal(pid: pid_t, descriptor: Option<BorrowedFd<'_>>, signal: c_int) {
    match descriptor {
        Some(descriptor) => {
            let no_info = std::ptr::null::<libc::siginfo_t>();
            let descriptor = descriptor.as_raw_fd();
            // SAFETY: the descriptor is open, as it is borrowed; a null pointer means a signal as `kill` sends it.
            unsafe {
                libc::syscall(libc::SYS_pidfd_send_signal, descriptor, signal, no_info, 0);
            }
        }
        // SAFETY: kill touches no memory of this process. The number is that of a child that has not been reaped, so it
        // is not 0, -1 or that of a group.
        None => unsafe {
            libc::kill(pid, signal);
        },
    }
}
