//! The bytes of a task's channel.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::c_int;

use super::check;

/// Sends as many bytes as the socket accepts now, and returns their number. Never blocks, and never raises `SIGPIPE`.
pub fn send(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `bytes`, which are borrowed until the call returns.
    let sent = unsafe {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        libc::send(socket, bytes.as_ptr().cast(), bytes.len(), flags)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives the bytes that are there now, at most `most` and the capacity of `bytes`, and replaces the contents of `bytes`
/// by them. `bytes` is empty at the end of the stream. Never blocks. Does not touch memory that it does not write to.
pub fn receive(socket: &impl AsFd, bytes: &mut Vec<u8>, most: usize) -> io::Result<()> {
    bytes.clear();
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `capacity` bytes to the memory of `bytes`, which is borrowed until the call
    // returns. Its result is the number of bytes that it has written, so that many bytes of the vector are valid.
    let received = unsafe {
        let room = bytes.capacity().min(most);
        let count = libc::recv(socket, bytes.as_mut_ptr().cast(), room, libc::MSG_DONTWAIT);
        bytes.set_len(usize::try_from(count).unwrap_or(0));
        count
    };
    if received < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns the number of bytes that lie in the socket.
pub fn count_unread(socket: &impl AsFd) -> io::Result<usize> {
    let mut count: c_int = 0;
    // SAFETY: `count` is a valid place for an int, borrowed until the call returns.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::FIONREAD, &mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}
