//! Descriptors: their numbers, and those that are not files: an eventfd, and a pidfd.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

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

/// Closes all descriptors except 0, 1, 2 and `kept`, and keeps their numbers in use: each refers to a file that can't
/// be read, written or waited for, so that an object that still owns the number can't affect another file. MUST only be
/// called in a new task, before it has opened anything of its own.
pub fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    // First, since the process may have room for one descriptor only.
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    // One of them was open for reading the directory, and is closed by now.
    numbers.retain(|&number| number > 2 && !kept.contains(&number) && has_file(number));
    let nothing = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open("/dev/null")?;
    for number in numbers {
        // SAFETY: the calls take numbers and no pointer. The file of `number` is closed. All objects that own that
        // number are the parent's, since `become_task` calls this before anything of the task's own is made. They are
        // never dropped, and go on owning an open descriptor, unless the number is beyond the limit.
        unsafe {
            while libc::dup3(nothing.as_raw_fd(), number, libc::O_CLOEXEC) == -1 {
                if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                    libc::close(number);
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Returns whether the descriptor is open, in any mode.
fn has_file(descriptor: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer and changes nothing.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) != -1 }
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
