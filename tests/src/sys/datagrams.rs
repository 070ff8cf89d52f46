//! The queues of errors of UDP sockets.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use libc::c_int;

use super::check;

/// Has errors that a network reports for a UDP socket queued, as `traceroute` does.
///
/// # Errors
/// What the system says.
pub fn queue_errors(socket: &UdpSocket) -> io::Result<()> {
    let on: c_int = 1;
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads one int, which is borrowed until the call returns.
    let result = unsafe {
        let on = std::ptr::from_ref(&on).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_RECVERR, on, length)
    };
    check(result).map(drop)
}

/// Takes one error from the queue of a UDP socket.
///
/// # Errors
/// What the system says: `WouldBlock` if there is none.
pub fn take_queued_error(socket: &UdpSocket) -> io::Result<()> {
    // SAFETY: all zero bytes are a valid message that has room for nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: `message` is valid and borrowed until the call returns.
    let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
