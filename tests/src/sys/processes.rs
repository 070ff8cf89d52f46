//! Processes and OS threads: forks, and the ends of children.

use std::io;

use libc::c_int;

use super::check;

/// How many OS threads this process has.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Forks a process that does `work` and leaves, and nothing else: a rival of tasks in benchmarks. Its number.
///
/// # Errors
/// What the system says; or there is more than one OS thread, of which the child would have one.
pub fn fork_and(work: impl FnOnce()) -> io::Result<u32> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("more than one OS thread"));
    }
    // SAFETY: there is one OS thread, so the child is a whole copy, in which all code may run.
    let child = check(unsafe { libc::fork() })?;
    if child == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // SAFETY: the call does not return, and touches no memory.
        unsafe { libc::_exit(result.is_err().into()) };
    }
    u32::try_from(child).map_err(io::Error::other)
}

/// Has the processes that this one forks from now on be in a namespace of their own, in which their parent has no number.
///
/// # Errors
/// What the system says: only root may do that.
pub fn unshare_processes() -> io::Result<()> {
    // SAFETY: the call takes a number and no pointer.
    check(unsafe { libc::unshare(libc::CLONE_NEWPID) }).map(drop)
}

/// Forks a process that leaves by `std::process::exit`, as other code does; and waits for it.
///
/// # Errors
/// What the system says.
pub fn fork_and_exit() -> io::Result<()> {
    // SAFETY: what a task runs is the whole copy of a process with one OS thread, in which all code may run.
    let child = check(unsafe { libc::fork() })?;
    if child == 0 {
        std::process::exit(0);
    }
    wait_for(u32::try_from(child).map_err(io::Error::other)?)
}

/// Waits for the end of a child of this process.
///
/// # Errors
/// What the system says.
pub fn wait_for(child: u32) -> io::Result<()> {
    let pid = c_int::try_from(child).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int, borrowed until the call returns.
    check(unsafe { libc::waitpid(pid, &mut status, 0) }).map(drop)
}

/// Waits for the end of a child of this process. Its exit code, or `None` if a signal has ended it.
///
/// # Errors
/// What the system says.
pub fn exit_code(child: u32) -> io::Result<Option<i32>> {
    let pid = c_int::try_from(child).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int, borrowed until the call returns.
    check(unsafe { libc::waitpid(pid, &mut status, 0) })?;
    Ok(libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)))
}

/// Ends this OS thread, and not the process if there are others. Nothing is unwound or dropped.
pub fn end_this_thread() {
    // SAFETY: the call ends the thread and touches no memory; what the thread's stack owns is leaked, which is allowed.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Whether a process group has members, zombies included.
pub fn group_exists(group: u32) -> bool {
    let Ok(group) = c_int::try_from(group) else { return false };
    // SAFETY: kill touches no memory of this process; signal 0 only asks.
    group > 1 && unsafe { libc::kill(-group, 0) } == 0
}

/// Whether this process has a child, zombies included.
pub fn has_children() -> bool {
    // SAFETY: all zero bytes are a valid siginfo.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a valid place for a siginfo, borrowed until the call returns.
    unsafe { libc::waitid(libc::P_ALL, 0, &mut info, options) == 0 }
}

/// Blocks until a child of this process has ended, and leaves it to be waited for.
pub fn wait_until_ended(child: u32) {
    // SAFETY: all zero bytes are a valid siginfo.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is a valid place for a siginfo, borrowed until the call returns.
    unsafe { libc::waitid(libc::P_PID, child, &mut info, libc::WEXITED | libc::WNOWAIT) };
}

/// Whether a child of this process is there and has not ended.
pub fn is_running(child: u32) -> bool {
    // SAFETY: all zero bytes are a valid siginfo.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a valid place for a siginfo, borrowed until the call returns, which fills it in or leaves zeros.
    unsafe { libc::waitid(libc::P_PID, child, &mut info, options) == 0 && info.si_pid() == 0 }
}

/// Waits for the end of any child, as code does that thinks it has all of them. Its number.
///
/// # Errors
/// What the system says: no child, say.
pub fn wait_for_any() -> io::Result<u32> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int, borrowed until the call returns.
    let child = check(unsafe { libc::waitpid(-1, &mut status, 0) })?;
    u32::try_from(child).map_err(io::Error::other)
}

/// Waits until a child of this process has stopped; it stays a child to be waited for.
///
/// # Errors
/// If it has ended instead, or what the system says.
pub fn wait_until_stopped(child: u32) -> io::Result<()> {
    let pid = c_int::try_from(child).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int, borrowed until the call returns.
    check(unsafe { libc::waitpid(pid, &mut status, libc::WUNTRACED) })?;
    if libc::WIFSTOPPED(status) { Ok(()) } else { Err(io::Error::other("it has ended")) }
}
