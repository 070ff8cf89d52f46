//! Processes: forking, ending this one, and child processes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, pid_t};

use super::{Alone, check};

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

/// Forks. MUST be called before code of the application runs that may start an OS thread.
pub fn fork(_: Alone) -> io::Result<Forked> {
    // SAFETY: the child is a copy of a process with one thread, this one, as `Alone` says: no lock is held by a thread
    // that the child lacks, so all code may run in it.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            super::ancestry::mark_new_process();
            Ok(Forked::Child)
        }
        child => Ok(Forked::Parent { child }),
    }
}

/// Returns the number of this process.
pub fn process_id() -> pid_t {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::getpid() }
}

/// Returns the number of the parent of this process; 0 if it is in another PID namespace.
pub fn parent_id() -> pid_t {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::getppid() }
}

/// Returns the real user of this process.
pub fn real_user() -> u32 {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::getuid() }
}

/// Returns whether this process has rights that its real user does not have, as that of a setuid program, or of one with
/// capabilities of its file.
pub fn has_rights_of_others() -> bool {
    let user = real_user();
    // SAFETY: the call has no arguments and can't fail.
    let effective = unsafe { libc::geteuid() };
    user != 0 && (effective != user || super::has_capabilities().unwrap_or(true))
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
/// Fails with `ECHILD` if it is no child of this process, or other code has already waited for it. With any other error,
/// nothing is known.
pub fn reap(pid: pid_t, descriptor: Option<BorrowedFd<'_>>) -> io::Result<Option<Ended>> {
    let asked = match descriptor {
        // Linux 5.3 has descriptors for processes, but can't wait for them.
        Some(descriptor) => match ask_for_child(libc::P_PIDFD, descriptor.as_raw_fd(), 0) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                ask_for_child(libc::P_PID, pid, 0)
            }
            asked => asked,
        },
        None => ask_for_child(libc::P_PID, pid, 0),
    };
    match asked {
        Err(error) if error.raw_os_error() != Some(libc::ECHILD) => reap_by_older_call(pid),
        asked => asked,
    }
}

/// Returns whether a child of this process has this number and has not ended. One that has ended is left to be reaped.
///
/// With an error, nothing is known.
pub fn is_living_child(pid: pid_t) -> io::Result<bool> {
    match ask_for_child(libc::P_PID, pid, libc::WNOWAIT) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(false),
        Err(error) => is_living_child_otherwise(pid).ok_or(error),
        Ok(ended) => Ok(ended.is_none()),
    }
}

/// `is_living_child` where a sandbox forbids `waitid`. `None` if the system does not tell.
fn is_living_child_otherwise(pid: pid_t) -> Option<bool> {
    // Where `SIGCHLD` is ignored, no process has the number any more.
    if signal_number(pid, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH)) {
        return Some(false);
    }
    // The `/proc` of another PID namespace has other numbers.
    if std::fs::read_link("/proc/self").ok()?.to_str()?.parse() != Ok(process_id()) {
        return None;
    }
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    is_living_child_of(process_id(), &String::from_utf8_lossy(&stat))
}

/// Reads a line of `/proc/PID/stat`.
fn is_living_child_of(parent: pid_t, stat: &str) -> Option<bool> {
    // The name, which is in parentheses, may have any of them itself.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<_> = fields.split(' ').collect();
    let (state, its_parent, threads) = (fields.first()?, fields.get(1)?, fields.get(17)?);
    // The main thread may end before the others, and is a zombie until they have ended, too.
    let has_ended = matches!(*state, "Z" | "X") && matches!(*threads, "0" | "1");
    Some(its_parent.parse() == Ok(parent) && !has_ended)
}

fn ask_for_child(what: libc::idtype_t, number: c_int, options: c_int) -> io::Result<Option<Ended>> {
    // SAFETY: all zero bytes are a valid siginfo, and the answer "nothing has ended".
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | options;
    // SAFETY: `info` is a valid place for a siginfo, borrowed until the call returns.
    let ask = |info: &mut _| unsafe { libc::waitid(what, number as libc::id_t, info, options) };
    while let Err(error) = check(ask(&mut info)) {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: waitid has filled in these two, or they are the zeros from above.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let is_code = info.si_code == libc::CLD_EXITED;
    Ok((pid != 0).then_some(if is_code { Ended::Code(status) } else { Ended::Signal(status) }))
}

/// `reap` where a sandbox forbids `waitid`.
fn reap_by_older_call(pid: pid_t) -> io::Result<Option<Ended>> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int, borrowed until the call returns.
    let reaped = check(unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) })?;
    let is_code = libc::WIFEXITED(status);
    let ended = if is_code {
        Ended::Code(libc::WEXITSTATUS(status))
    } else {
        Ended::Signal(libc::WTERMSIG(status))
    };
    Ok((reaped != 0).then_some(ended))
}

/// Sends a signal to the process of a descriptor. Fails with `ESRCH` if it has been reaped.
pub fn signal_descriptor(descriptor: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    let (descriptor, no_info) = (descriptor.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: a null pointer means a signal as `kill` sends it; the other arguments are numbers.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, descriptor, signal, no_info, 0) };
    check(c_int::try_from(result).unwrap_or(-1)).map(drop)
}

/// Sends a signal to the process with this number; 0 is not sent, and asks whether there is such a process. Any other
/// MUST NOT be sent to the number of a process that may have been reaped.
pub fn signal_number(pid: pid_t, signal: c_int) -> io::Result<()> {
    if pid <= 0 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: kill touches no memory of this process.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_lives_while_a_thread_of_it_does() {
        let stat = |name, state, parent, threads| {
            let line = format!(
                "12 ({name}) {state} {parent} 1 1 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 {threads} 0 777"
            );
            is_living_child_of(7, &line)
        };
        for name in ["a", "a) Z 8 (b", ") Z 8 ", "\u{FFFD}", ""] {
            for (state, threads) in [("R", 1), ("S", 2), ("D", 1), ("T", 1), ("Z", 2)] {
                assert_eq!(stat(name, state, 7, threads), Some(true), "{name} {state}");
                assert_eq!(stat(name, state, 8, threads), Some(false), "{name} {state}: another's");
            }
            for (state, threads) in [("Z", 1), ("X", 0), ("Z", 0)] {
                assert_eq!(stat(name, state, 7, threads), Some(false), "{name} {state}");
            }
        }
        assert_eq!(is_living_child_of(7, ""), None);
        assert_eq!(is_living_child_of(7, "12 (cut) S 7"), None);
    }
}
