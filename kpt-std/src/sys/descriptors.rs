//! Descriptors: their numbers, and those that are not files: an eventfd, and a pidfd.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, pid_t};

use super::check;

/// A descriptor that is readable from `set` until `clear`, in all processes that share it.
#[derive(Debug)]
pub struct EventFd(File);

impl EventFd {
    /// Creates one that is not readable.
    pub fn new() -> io::Result<Self> {
        let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
        // SAFETY: the call takes numbers and no pointer. What it returns, unless it fails, is a new descriptor, which has
        // no other owner.
        let event = unsafe { OwnedFd::from_raw_fd(check(libc::eventfd(0, flags))?) };
        Ok(Self(above_standard(event)?.into()))
    }

    /// Makes it readable. Never blocks. Makes one system call and nothing else, so it may be called in a signal
    /// handler.
    pub fn set(&self) {
        // A full counter is readable, too.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    /// Makes it unreadable. Never blocks.
    pub fn clear(&self) {
        let _ = (&self.0).read(&mut [0; 8]);
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens a descriptor that is readable when the process has ended. It refers to the process that has this number now.
pub fn open_process(pid: pid_t) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers and no pointer. What it returns, unless it fails, is a new descriptor, which has
    // no other owner.
    let process = unsafe {
        let descriptor = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        OwnedFd::from_raw_fd(check(c_int::try_from(descriptor).unwrap_or(-1))?)
    };
    above_standard(process)
}

/// Returns the file under a number above those of the standard streams, so that printed text does not get into it.
pub fn above_standard<F: AsFd + From<OwnedFd>>(file: F) -> io::Result<F> {
    let number = file.as_fd().as_raw_fd();
    if number > 2 {
        return Ok(file);
    }
    // SAFETY: F_DUPFD_CLOEXEC takes a number and no pointer.
    let copy = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the descriptor is new, so it has no other owner.
    Ok(F::from(unsafe { OwnedFd::from_raw_fd(copy) }))
}
