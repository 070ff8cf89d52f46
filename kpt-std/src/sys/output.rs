//! Standard output, whose buffer a fork copies.

use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{check, poll};

/// Writes what standard output has in its buffer. Never waits.
///
/// # Errors
/// Fails with the system's error, as for a full pipe that does not block. The rest stays in the buffer.
pub fn flush_output() -> io::Result<()> {
    io::stdout().flush()
}

/// Writes what standard output has in its buffer, and waits until it is written, or can't be.
pub fn flush_output_fully() {
    while flush_output().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
        let mut output =
            [libc::pollfd { fd: libc::STDOUT_FILENO, events: libc::POLLOUT, revents: 0 }];
        if poll(&mut output, None).is_err_and(|error| error.kind() != ErrorKind::Interrupted) {
            return;
        }
    }
}

/// Empties the buffer of standard output without writing it: in a new process, it is the parent's text.
///
/// The standard library has no way to do so; so it writes to a file that goes nowhere.
pub fn discard_output() -> io::Result<()> {
    // SAFETY: the name ends with a zero byte. What the call returns, unless it fails, is a new descriptor, which has no
    // other owner.
    let nowhere = unsafe {
        OwnedFd::from_raw_fd(check(libc::memfd_create(c"discarded".as_ptr(), libc::MFD_CLOEXEC))?)
    };
    // SAFETY: F_DUPFD_CLOEXEC takes a number and no pointer. Its result is a new descriptor, as above.
    let output = unsafe {
        OwnedFd::from_raw_fd(check(libc::fcntl(libc::STDOUT_FILENO, libc::F_DUPFD_CLOEXEC, 3))?)
    };
    put_under_output(&nowhere)?;
    let result = flush_output();
    put_under_output(&output)?;
    result
}

fn put_under_output(file: &OwnedFd) -> io::Result<()> {
    // SAFETY: both numbers are those of open descriptors. What is said by print goes to `file` from now on.
    check(unsafe { libc::dup2(file.as_raw_fd(), libc::STDOUT_FILENO) }).map(drop)
}
