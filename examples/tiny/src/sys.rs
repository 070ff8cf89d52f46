//! Every call to the C library, and all the unsafe code.

use libc::{CLOCK_MONOTONIC, STDOUT_FILENO, c_int, nfds_t, pollfd, timespec};

/// Why a call has failed: one of the `E...` constants.
pub type Errno = c_int;

/// Waits until one of the descriptors is ready, or for this number of milliseconds (for ever if it is negative).
pub fn poll(watched: &mut [pollfd], timeout: c_int) -> Result<(), Errno> {
    // SAFETY: the pointer and the length are those of a slice that is borrowed until the call returns.
    let found = unsafe { libc::poll(watched.as_mut_ptr(), watched.len() as nfds_t, timeout) };
    if found < 0 { Err(errno()) } else { Ok(()) }
}

/// The time on the monotonic clock; u64 is enough for 584 years.
pub fn monotonic_nanos() -> u64 {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for a timespec, borrowed until the call returns.
    unsafe { libc::clock_gettime(CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Reads what is there, and returns it; nothing at the end.
pub fn read(fd: c_int, buffer: &mut [u8]) -> Result<&[u8], Errno> {
    // SAFETY: the pointer and the length are those of a slice that is borrowed until the call returns.
    let count = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).ok().and_then(|count| buffer.get(..count)).ok_or_else(errno)
}

/// Writes to standard output. Errors are ignored: there is no other place to report them.
pub fn print(mut text: &[u8]) {
    while !text.is_empty() {
        // SAFETY: the pointer and the length are those of a slice that is borrowed until the call returns.
        let count = unsafe { libc::write(STDOUT_FILENO, text.as_ptr().cast(), text.len()) };
        let Some(rest) = usize::try_from(count).ok().and_then(|count| text.get(count..)) else {
            return;
        };
        text = rest;
    }
}

/// Ends the program at once.
pub fn abort() -> ! {
    // SAFETY: it has no preconditions.
    unsafe { libc::abort() }
}

fn errno() -> Errno {
    // SAFETY: the C library returns the address of this thread's errno, which is always valid.
    unsafe { *libc::__errno_location() }
}
