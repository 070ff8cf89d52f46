//! The descriptors that a new process has from its parent.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::{check, is_open};

/// Files that any process may look up, to take the places of those that are closed.
const NOTHING: [&CStr; 2] = [c"/dev/null", c"/proc/self/exe"];

/// Closes all descriptors except 0, 1, 2 and `kept`, and keeps their numbers in use: each refers to a file that can't
/// be read, written or waited for, so that an object that still owns the number can't affect another file. MUST only be
/// called in a new task, before it has opened anything of its own.
///
/// # Errors
/// Fails without `/proc`, which lists what is open, and with the system's errors.
pub fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    // First, since the process may have room for one descriptor only.
    let mut numbers = listed()?;
    numbers.retain(|&number| number > 2 && !kept.contains(&number) && has_file(number));
    let nothing = open_nothing()?;
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

/// Returns the descriptors that are open for more than their path.
///
/// # Errors
/// Fails without `/proc`.
pub fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let mut numbers = listed()?;
    numbers.retain(|&number| is_open(number));
    Ok(numbers)
}

/// Returns whether the descriptor is a directory.
pub fn is_directory(descriptor: RawFd) -> bool {
    // SAFETY: all zero bytes are a valid stat.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is a valid place for a stat, borrowed until the call returns.
    let result = unsafe { libc::fstat(descriptor, &mut stat) };
    result == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFDIR
}

/// Returns the numbers of all descriptors, and one by which they were listed, and which is closed by now.
fn listed() -> io::Result<Vec<RawFd>> {
    let cannot = |error: io::Error| {
        let text = format!("can't list the open descriptors in /proc/self/fd: {error}");
        io::Error::new(error.kind(), text)
    };
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    Ok(numbers)
}

/// Opens a file in a way in which it can't be read, written or waited for.
///
/// Not by the standard library: with musl, it takes `O_PATH` for a part of the access mode, and ignores it.
fn open_nothing() -> io::Result<OwnedFd> {
    let mut failed = None;
    for path in NOTHING {
        // SAFETY: the path ends with a zero byte, and is borrowed until the call returns.
        match check(unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) }) {
            // SAFETY: the descriptor is new, so it has no other owner.
            Ok(descriptor) => return Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
            Err(error) => failed = failed.or(Some((path, error))),
        }
    }
    let (path, error) = failed.expect("there are several");
    let text = format!("can't open {}: {error}", path.to_string_lossy());
    Err(io::Error::new(error.kind(), text))
}

/// Returns whether the descriptor is open, in any mode.
fn has_file(descriptor: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer and changes nothing.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) != -1 }
}
