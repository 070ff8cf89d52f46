//! Descriptors that pass through a Unix socket, one with each call.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::c_int;

use super::{above_standard, check};

/// Room for a header and one number, aligned as a header has to be.
type Control = [u64; 3];

/// The number of bytes of one descriptor.
const NUMBER: u32 = size_of::<c_int>() as u32;

// SAFETY: the call computes a number.
const _: () = assert!(unsafe { libc::CMSG_SPACE(NUMBER) } as usize <= size_of::<Control>());

/// Sends as many bytes as the socket accepts now, at least one, and a descriptor with the first of them. Never blocks,
/// and never raises `SIGPIPE`. The descriptor has been sent unless this fails.
pub fn send_with(
    socket: &impl AsFd,
    bytes: &[u8],
    descriptor: BorrowedFd<'_>,
) -> io::Result<usize> {
    let mut control: Control = [0; 3];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let message = message(&mut part, &mut control);
    // SAFETY: `message` has room for a header and a number, to which the pointers lead. The kernel reads these, and
    // `bytes`; all of them are borrowed until the call returns.
    let sent = unsafe {
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(NUMBER) as _;
        libc::CMSG_DATA(header).cast::<c_int>().write_unaligned(descriptor.as_raw_fd());
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        libc::sendmsg(socket.as_fd().as_raw_fd(), &message, flags)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// What came with the bytes of one call.
#[derive(Debug, Default)]
pub struct Received {
    /// The first descriptor, which is closed when the process executes a program.
    pub descriptor: Option<OwnedFd>,
    /// Whether there were others, which are closed: more than one was sent, or this process could not take it.
    pub is_cut: bool,
}

/// Receives bytes as [`receive`](super::receive) does, and a descriptor if one was sent with them. The bytes end before
/// those that were sent with another descriptor, and before those that were sent after this one in another call.
pub fn receive_with(socket: &impl AsFd, bytes: &mut Vec<u8>, most: usize) -> io::Result<Received> {
    bytes.clear();
    let mut control: Control = [0; 3];
    let room = bytes.capacity().min(most);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: room };
    let mut message = message(&mut part, &mut control);
    // SAFETY: the kernel writes at most `capacity` bytes to the memory of `bytes`, and as much to `control` as `message`
    // says; both are borrowed until the call returns. Its result is the number of bytes that it has written, so that many
    // bytes of the vector are valid.
    let count = unsafe {
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let count = libc::recvmsg(socket.as_fd().as_raw_fd(), &mut message, flags);
        bytes.set_len(usize::try_from(count).unwrap_or(0));
        count
    };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    let is_cut = message.msg_flags & libc::MSG_CTRUNC != 0;
    let Some(descriptor) = received(&message) else {
        return Ok(Received { descriptor: None, is_cut });
    };
    let descriptor = above_standard(descriptor).ok();
    Ok(Received { is_cut: is_cut || descriptor.is_none(), descriptor })
}

/// Returns a message of one part, with room for one descriptor.
fn message(part: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: all zero bytes are a valid msghdr: no address, no parts, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // Not CMSG_SPACE: with its padding, a second number would fit.
    // SAFETY: the call computes a number.
    message.msg_controllen = unsafe { libc::CMSG_LEN(NUMBER) } as _;
    message
}

/// Returns the descriptor that the kernel has put into a received message.
fn received(message: &libc::msghdr) -> Option<OwnedFd> {
    // SAFETY: the kernel has set the length of the control data, which is that of a whole header or 0, and has written it.
    // If it holds a number, this is a new descriptor, which has no other owner.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message).as_ref()?;
        let is_one = header.cmsg_level == libc::SOL_SOCKET
            && header.cmsg_type == libc::SCM_RIGHTS
            && header.cmsg_len as usize >= libc::CMSG_LEN(NUMBER) as usize;
        is_one
            .then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<c_int>().read_unaligned()))
    }
}

/// Since Linux 6.16; not in libc yet.
const SO_PASSRIGHTS: c_int = 83;

/// Makes the system refuse descriptors that the other side of a Unix socket passes.
///
/// # Errors
/// Fails before Linux 6.16. Descriptors are closed in the next `receive` then.
pub fn refuse_descriptors(socket: &impl AsFd) -> io::Result<()> {
    let no: c_int = 0;
    // SAFETY: the kernel reads as many bytes as an int has, which is borrowed until the call returns.
    check(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            std::ptr::from_ref(&no).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    })
    .map(drop)
}
