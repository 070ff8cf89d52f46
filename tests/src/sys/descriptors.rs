//! Descriptors: their limits, copies, and what owns none of them.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::c_int;

use super::check;

/// Sets the soft limit of open descriptors; the hard one stays.
///
/// # Errors
/// What the system says: above the hard limit, say.
pub fn set_descriptor_limit(limit: u64) -> io::Result<()> {
    let mut both = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `both` is a valid place for an rlimit, borrowed until the call returns.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut both) })?;
    both.rlim_cur = limit;
    // SAFETY: `both` is a valid rlimit, borrowed until the call returns.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &both) }).map(drop)
}

/// Sets the soft limit of open descriptors to the hard one.
///
/// # Errors
/// What the system says.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let mut both = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `both` is a valid place for an rlimit, borrowed until the call returns.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut both) })?;
    set_descriptor_limit(both.rlim_max)
}

/// Sets both limits of open descriptors.
///
/// # Errors
/// What the system says: only root may raise the hard one.
pub fn set_descriptor_limits(limit: u64) -> io::Result<()> {
    let both = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: `both` is a valid rlimit, borrowed until the call returns.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &both) }).map(drop)
}

/// The same file under another number: the first free one that is not below `lowest`.
///
/// # Errors
/// What the system says: no such number free, say.
pub fn duplicate_from(file: &impl AsFd, lowest: RawFd) -> io::Result<OwnedFd> {
    let file = file.as_fd().as_raw_fd();
    // SAFETY: F_DUPFD_CLOEXEC takes a number and no pointer.
    let number = check(unsafe { libc::fcntl(file, libc::F_DUPFD_CLOEXEC, lowest) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The same file once more, of which only the number is known.
///
/// # Errors
/// What the system says: no such number, say.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes a number and no pointer.
    let copy = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// The status flags of an open file: `O_NONBLOCK` is one of them.
///
/// # Errors
/// What the system says.
pub fn status_flags(file: &impl AsFd) -> io::Result<c_int> {
    // SAFETY: F_GETFL takes no pointer and changes nothing.
    check(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_GETFL) })
}

/// Closes 0, 1 and 2 while `work` runs, and opens them again.
///
/// # Errors
/// What the system says.
pub fn without_standard_descriptors<R>(work: impl FnOnce() -> R) -> io::Result<R> {
    let kept = [duplicate_high(0)?, duplicate_high(1)?, duplicate_high(2)?];
    for number in 0..3 {
        // SAFETY: nobody owns the number; whoever prints meanwhile finds it closed, which the standard library bears.
        unsafe { libc::close(number) };
    }
    let result = work();
    for (number, file) in (0..).zip(&kept) {
        // SAFETY: both numbers are plain numbers; what `work` has left under `number` is closed.
        check(unsafe { libc::dup2(file.as_raw_fd(), number) })?;
    }
    Ok(result)
}

fn duplicate_high(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes a number and no pointer.
    let copy = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Opens a file for its path only, which the standard library does not do with musl.
///
/// # Errors
/// What the system says.
pub fn open_path(path: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: the string ends with a zero byte, and is borrowed until the call returns. What that returns, unless it fails,
    // is a new descriptor, which has no other owner.
    unsafe {
        let number = libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
        if number < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(number)) }
    }
}

/// Puts a file under the number of another one, which is closed.
///
/// # Errors
/// What the system says.
pub fn replace(old: &OwnedFd, new: &impl AsFd) -> io::Result<()> {
    // SAFETY: both numbers are borrowed, so that they are open. What owns the old number, owns the new file from now on.
    check(unsafe { libc::dup2(new.as_fd().as_raw_fd(), old.as_raw_fd()) }).map(drop)
}

/// Writes a byte to a descriptor of which only the number is known. Errors are ignored.
pub fn write_byte(number: RawFd, byte: u8) {
    // SAFETY: the kernel reads one byte, which is borrowed until the call returns.
    unsafe { libc::write(number, std::ptr::from_ref(&byte).cast(), 1) };
}

/// Closes all descriptors from a number on, except one. What owns them MUST never be used or dropped.
pub fn close_from(lowest: RawFd, except: RawFd) {
    // SAFETY: the call takes numbers. The owners are neither used nor dropped, as the caller ensures.
    (lowest..1_024).filter(|&number| number != except).for_each(|number| unsafe {
        libc::close(number);
    });
}
