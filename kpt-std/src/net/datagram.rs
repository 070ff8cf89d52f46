//! A socket for datagrams.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::Address;
#[cfg(feature = "sim")]
use crate::sim::{self, SimDatagram};
use crate::tape::{self, Opens, Replayed};

/// A UDP or Unix datagram socket that never blocks: where it would have to wait, its methods return an error of the kind
/// [`WouldBlock`](ErrorKind::WouldBlock).
///
/// Where there is a simulation in this OS thread (feature `sim`), the socket is a simulated one.
///
/// Options of the socket (broadcast, multicast, a connected peer) are set on the standard library's type before it is
/// converted.
///
/// ```
/// use kpt_std::{Datagram, EventLoop, Thread, source};
/// use std::io::ErrorKind;
///
/// fn on_readable(socket: &mut Datagram, thread: Thread<Datagram>) {
///     let mut buffer = [0; 1500];
///     match socket.recv_from(&mut buffer) {
///         Ok((count, from)) => println!("{count} bytes from {from}"),
///         Err(error) if error.kind() == ErrorKind::WouldBlock => {}
///         Err(error) => eprintln!("{error}"), // Of one datagram. The socket goes on.
///     }
///     # if true { return }
///     thread.again();
/// }
///
/// let mut socket = Datagram::bind(([127, 0, 0, 1], 0))?;
/// let mut kpt = EventLoop::new()?;
/// kpt.threads().add_read("datagrams", source(&socket), on_readable, ())?;
/// socket.send_to(b"to itself", &socket.local())?;
/// kpt.run(&mut socket)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors that are pending
/// That a datagram could not be delivered may come back as an error. A socket that is connected has it pending: the hook
/// is called with [`Readiness::ERROR`](crate::Readiness::ERROR) by [`EpollPoller`](crate::EpollPoller), and as readable
/// by [`SelectPoller`](crate::SelectPoller), and the next call of the socket returns the error, or
/// [`take_error`](Self::take_error) does. With `IP_RECVERR` set, errors are also kept in a queue, and as long as one is
/// there the hook is called after each wait, though reading "would block": `recvmsg` with `MSG_ERRQUEUE` empties it.
#[derive(Debug)]
pub struct Datagram {
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    #[cfg(feature = "sim")]
    Simulated(SimDatagram),
    Replayed(Replayed),
}

impl Datagram {
    /// Opens a UDP socket at an IP address and port; port 0 takes one that is free.
    ///
    /// # Errors
    /// Returns the system's error: the port is taken, for example.
    pub fn bind(address: impl Into<SocketAddr>) -> io::Result<Self> {
        let address = address.into();
        #[cfg(feature = "sim")]
        if let Some(socket) = sim::bind_datagram(address) {
            return socket;
        }
        let bind = || Self::udp(UdpSocket::bind(address)?);
        tape::opening(Opens::Bind, || address.into(), bind, Self::local, Self::replayed)
    }

    /// Opens a Unix socket at a path, which must not exist, and stays until it is removed.
    ///
    /// # Errors
    /// Returns the system's error: the path exists or is too long, for example.
    pub fn bind_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if let Some(socket) = sim::bind_datagram_unix(path.as_ref()) {
            return socket;
        }
        let path = path.as_ref();
        let bind = || Self::unix(UnixDatagram::bind(path)?);
        let wanted = || Address::of_path(path);
        tape::opening(Opens::Bind, wanted, bind, Self::local, Self::replayed)
    }

    fn udp(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Socket::Udp(socket) })
    }

    fn unix(socket: UnixDatagram) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Socket::Unix(socket) })
    }

    fn replayed(socket: Replayed) -> Self {
        Self { socket: Socket::Replayed(socket) }
    }

    #[cfg(feature = "sim")]
    pub(crate) fn simulated(socket: SimDatagram) -> Self {
        Self { socket: Socket::Simulated(socket) }
    }

    /// Receives a datagram, and returns its length and who has sent it. What `buffer` has no room for is lost.
    ///
    /// # Errors
    /// The error is of the kind [`WouldBlock`](ErrorKind::WouldBlock) if none is there. Others are pending ones: the
    /// socket can be used after them.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
        let result = match &self.socket {
            Socket::Udp(udp) => udp.recv_from(buffer).map(|(count, from)| (count, from.into())),
            Socket::Unix(unix) => unix.recv_from(buffer).map(|(count, from)| (count, from.into())),
            #[cfg(feature = "sim")]
            Socket::Simulated(socket) => socket.recv_from(buffer),
            Socket::Replayed(socket) => socket.recv_from(buffer),
        };
        tape::note_received(self, buffer, &result);
        result
    }

    /// Sends a datagram, as a whole, and returns its length.
    ///
    /// # Errors
    /// The error is of the kind [`WouldBlock`](ErrorKind::WouldBlock) if the socket takes none now, and of the kind
    /// [`InvalidInput`](ErrorKind::InvalidInput) if `to` is an address of another kind than the socket. Others are
    /// those of the system: too long, for example, or pending ones.
    pub fn send_to(&self, bytes: &[u8], to: &Address) -> io::Result<usize> {
        let result = match (&self.socket, to.ip(), to.unix()) {
            (Socket::Udp(udp), Some(to), _) => udp.send_to(bytes, to),
            (Socket::Unix(unix), _, Some(to)) => unix.send_to_addr(bytes, to),
            #[cfg(feature = "sim")]
            (Socket::Simulated(socket), ..) => socket.send_to(bytes, to),
            (Socket::Replayed(socket), ..) => socket.send_to(bytes, to),
            _ => {
                Err(io::Error::new(ErrorKind::InvalidInput, "an address of another kind of socket"))
            }
        };
        tape::note_sent(self, bytes, to, &result);
        result
    }

    /// Takes the error that is pending, which the next call would return otherwise.
    ///
    /// # Errors
    /// Returns the error of the system call itself.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let result = match &self.socket {
            Socket::Udp(udp) => udp.take_error(),
            Socket::Unix(unix) => unix.take_error(),
            #[cfg(feature = "sim")]
            Socket::Simulated(_) => Ok(None),
            Socket::Replayed(socket) => socket.take_error(),
        };
        tape::note_error(self, &result);
        result
    }

    /// Returns the address of this socket, also for logs.
    pub fn local(&self) -> Address {
        match &self.socket {
            Socket::Udp(udp) => udp.local_addr().map_or(Address::UNKNOWN, Address::from),
            Socket::Unix(unix) => unix.local_addr().map_or(Address::UNKNOWN, Address::from),
            #[cfg(feature = "sim")]
            Socket::Simulated(socket) => socket.local(),
            Socket::Replayed(socket) => socket.address(),
        }
    }
}

/// Makes it non-blocking, also for everybody else who has the same file open.
impl TryFrom<UdpSocket> for Datagram {
    type Error = io::Error;

    fn try_from(socket: UdpSocket) -> io::Result<Self> {
        let take = || Self::udp(socket);
        tape::opening(Opens::Bind, || Address::UNKNOWN, take, Self::local, Self::replayed)
    }
}

/// Makes it non-blocking, also for everybody else who has the same file open.
impl TryFrom<UnixDatagram> for Datagram {
    type Error = io::Error;

    fn try_from(socket: UnixDatagram) -> io::Result<Self> {
        let take = || Self::unix(socket);
        tape::opening(Opens::Bind, || Address::UNKNOWN, take, Self::local, Self::replayed)
    }
}

impl AsFd for Datagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Udp(udp) => udp.as_fd(),
            Socket::Unix(unix) => unix.as_fd(),
            #[cfg(feature = "sim")]
            Socket::Simulated(socket) => socket.as_fd(),
            Socket::Replayed(socket) => socket.as_fd(),
        }
    }
}
