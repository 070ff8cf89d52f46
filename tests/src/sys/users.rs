//! Users and their rights.

use std::io;

use libc::c_int;

use super::check;

/// Makes this process one of the user `nobody`, and limits the number of that user's processes. No such limit binds root.
///
/// # Errors
/// What the system says: only root may do that.
pub fn become_nobody_with_processes(limit: u64) -> io::Result<()> {
    const NOBODY: libc::uid_t = 65_534;
    let both = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: `both` is a valid rlimit, borrowed until the call returns; the other call takes numbers.
    unsafe {
        check(libc::setrlimit(libc::RLIMIT_NPROC, &both))?;
        check(libc::setresuid(NOBODY, NOBODY, NOBODY)).map(drop)
    }
}

/// Makes this process less important.
///
/// # Errors
/// What the system says.
pub fn set_nice(nice: c_int) -> io::Result<()> {
    // SAFETY: the call takes numbers and no pointer.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// Makes this process one of another user and group, for ever.
///
/// # Errors
/// What the system says: only root may do that.
pub fn become_user(user: u32) -> io::Result<()> {
    // SAFETY: the calls take numbers.
    unsafe {
        check(libc::setresgid(user, user, user))?;
        check(libc::setresuid(user, user, user)).map(drop)
    }
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::getuid() == 0 }
}
