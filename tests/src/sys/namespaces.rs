//! Systems that lack something, for one process and those that it starts.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::check;

/// Has an empty folder in the place of a folder, or of a file an empty one, in a mount namespace of this process's own.
///
/// # Errors
/// Returns the system's error: only root may do that.
pub fn hide(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let (root, tmpfs): (&CStr, &CStr) = (c"/", c"tmpfs");
    let (none, no_data) = (c"none".as_ptr(), std::ptr::null());
    // SAFETY: the strings end with a zero byte, and are borrowed until the calls return; the system takes a null pointer for
    // no data.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(none, root.as_ptr(), none, private, no_data))?;
        check(libc::mount(tmpfs.as_ptr(), path.as_ptr(), tmpfs.as_ptr(), 0, no_data)).map(drop)
    }
}

/// Sets the soft and the hard limit of signals that may be pending for this user.
///
/// # Errors
/// Returns the system's error: only root may raise the hard one.
pub fn set_pending_signals_limit(limit: u64) -> io::Result<()> {
    let both = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: `both` is a valid rlimit, borrowed until the call returns.
    check(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &both) }).map(drop)
}

/// Has this process and its groups be those of the user `nobody`.
///
/// # Errors
/// Returns the system's error: only root may do that.
pub fn become_nobody() -> io::Result<()> {
    const NOBODY: u32 = 65_534;
    // SAFETY: the calls take numbers, and a pointer that is not read for a count of 0.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(NOBODY, NOBODY, NOBODY))?;
        check(libc::setresuid(NOBODY, NOBODY, NOBODY)).map(drop)
    }
}

/// Returns whether this process is root.
pub fn is_root() -> bool {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::geteuid() == 0 }
}
