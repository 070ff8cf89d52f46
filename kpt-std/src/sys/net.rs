//! What the standard library lacks for sockets: a choice of backlog, and connecting without waiting.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use libc::{c_int, sa_family_t, socklen_t};

use super::check;

/// Sets the number of connections that may wait to be accepted. The system may have a lower limit.
pub fn listen(socket: &impl AsFd, backlog: u32) -> io::Result<()> {
    let backlog = c_int::try_from(backlog).unwrap_or(c_int::MAX);
    // SAFETY: the call takes numbers and no pointer.
    check(unsafe { libc::listen(socket.as_fd().as_raw_fd(), backlog) }).map(drop)
}

/// The kernel takes no more parts at once.
const MOST_PARTS: usize = 1_024;

/// Sends what the socket takes now of these parts, one after the other. Never raises `SIGPIPE`, as `writev` does where a
/// program has it do what it does by default.
pub fn send_parts(socket: &impl AsFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: all zero bytes are a valid msghdr: no address, no parts, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len().min(MOST_PARTS) as _;
    // SAFETY: an `IoSlice` is laid out as an iovec. There are as many as `message` says, which the kernel only reads, and
    // the bytes that they name; all of them are borrowed until the call returns.
    let sent = unsafe { libc::sendmsg(socket, &message, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Returns whether an error of `accept` concerns a connection, which has left the queue with it, and not this process.
///
/// Returns `false` in doubt: a pause too many is better than a loop that spins.
pub fn is_of_connection(error: &io::Error) -> bool {
    use libc::{ECONNABORTED, ECONNRESET, EINTR, ENOPROTOOPT, EPROTO, ETIMEDOUT};
    use libc::{EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH, ENONET};
    matches!(
        error.raw_os_error(),
        Some(
            EINTR | ECONNABORTED | ECONNRESET | EPROTO | ENOPROTOOPT | ETIMEDOUT // of the connection
                | ENETDOWN | ENETUNREACH | EHOSTDOWN | EHOSTUNREACH | ENONET // of its network
        )
    )
}

/// Starts to connect. The stream is non-blocking.
pub fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(v4) => {
            let address = libc::sockaddr_in {
                sin_family: libc::AF_INET as sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            connect(libc::AF_INET, &address)?
        }
        SocketAddr::V6(v6) => {
            let address = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            connect(libc::AF_INET6, &address)?
        }
    };
    Ok(TcpStream::from(socket))
}

/// Connects, without waiting for room in the backlog. The stream is non-blocking.
pub fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let mut address =
        libc::sockaddr_un { sun_family: libc::AF_UNIX as sa_family_t, sun_path: [0; 108] };
    let bytes = path.as_os_str().as_bytes();
    // The last byte stays 0. A first byte of 0 would mean an abstract name.
    if bytes.is_empty() || bytes.contains(&0) || bytes.len() >= address.sun_path.len() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "the path of a Unix socket has 1 to 107 bytes, and no NUL",
        ));
    }
    for (place, &byte) in address.sun_path.iter_mut().zip(bytes) {
        *place = byte as libc::c_char;
    }
    connect(libc::AF_UNIX, &address).map(UnixStream::from)
}

/// A socket address of the kernel. Each begins with its family, and has no uninitialized part.
trait KernelAddress {}

impl KernelAddress for libc::sockaddr_in {}
impl KernelAddress for libc::sockaddr_in6 {}
impl KernelAddress for libc::sockaddr_un {}

fn connect<A: KernelAddress>(family: c_int, address: &A) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the call takes numbers and no pointer. What it returns, unless it fails, is a new descriptor, which has no
    // other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(check(libc::socket(family, kind, 0))?) };
    // SAFETY: the kernel reads as many bytes as an `A` has, all of them initialized, and borrowed until the call returns.
    let result = check(unsafe {
        libc::connect(
            socket.as_raw_fd(),
            std::ptr::from_ref(address).cast(),
            size_of::<A>() as socklen_t,
        )
    });
    match result {
        Ok(_) => Ok(socket),
        // The connection is made in the background, also after a signal.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => {
            Ok(socket)
        }
        Err(error) => Err(error),
    }
}
