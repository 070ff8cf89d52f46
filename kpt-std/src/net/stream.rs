//! A stream of bytes between this process and another.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::Address;
#[cfg(feature = "sim")]
use crate::sim::{self, SimStream};
use crate::sys;
use crate::tape::{self, Opens, Replayed};

/// A TCP or Unix connection that never blocks: where it would have to wait, [`Read`] and [`Write`] return an error of
/// the kind [`WouldBlock`](ErrorKind::WouldBlock).
///
/// The file is closed when the stream is dropped, and in a program that this process becomes (close-on-exec). For what
/// the loop has to do with it, see [`source`](crate::source); for one with buffers,
/// [`BufferedStream`](crate::BufferedStream).
///
/// ```
/// use kpt_std::{EventLoop, Stream, Thread, source};
/// use std::io::Read;
/// use std::os::unix::net::UnixStream;
///
/// fn on_readable(text: &mut String, mut thread: Thread<String, Stream>) {
///     let mut buffer = [0; 100];
///     match thread.arg.read(&mut buffer) {
///         Ok(0) => println!("{} has gone", thread.arg.peer()),
///         Ok(count) => {
///             text.push_str(&String::from_utf8_lossy(&buffer[..count]));
///             thread.again();
///         }
///         Err(error) => println!("{}: {error}", thread.arg.peer()),
///     }
/// }
///
/// let (mut here, there) = UnixStream::pair()?;
/// let stream = Stream::try_from(there)?;
/// let mut kpt = EventLoop::new()?;
/// kpt.threads().add_read("reader", source(&stream), on_readable, stream)?;
/// std::io::Write::write_all(&mut here, b"hello")?;
/// drop(here);
/// let mut text = String::new();
/// kpt.run(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// Of TCP. The system forgets it when the connection breaks, which is when it is wanted for a log.
    peer: Option<SocketAddr>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "sim")]
    Simulated(SimStream),
    Replayed(Replayed),
}

/// Calls the same method of whichever socket it is.
macro_rules! of_either {
    ($stream:expr, $socket:ident => $call:expr) => {
        match &$stream.socket {
            Socket::Tcp($socket) => $call,
            Socket::Unix($socket) => $call,
            #[cfg(feature = "sim")]
            Socket::Simulated($socket) => $call,
            Socket::Replayed($socket) => $call,
        }
    };
}

impl Stream {
    /// Starts a TCP connection, and does not wait for it. The stream becomes writable when it is made or has failed; ask
    /// [`is_connected`](Self::is_connected) then.
    ///
    /// Until then a read or write would block, so that a [`BufferedStream`](crate::BufferedStream) may be used at once.
    ///
    /// ```no_run
    /// # use kpt_std::{EventLoop, Stream, Thread, source};
    /// fn on_writable(_: &mut (), thread: Thread<(), Stream>) {
    ///     match thread.arg.is_connected() {
    ///         Ok(true) => println!("connected to {}", thread.arg.peer()),
    ///         Ok(false) => thread.again(),
    ///         Err(error) => println!("no connection to {}: {error}", thread.arg.peer()),
    ///     }
    /// }
    /// # let mut kpt = EventLoop::new()?;
    /// let stream = Stream::connect(([192, 0, 2, 7], 4711))?;
    /// kpt.threads().add_write("connect", source(&stream), on_writable, stream)?;
    /// # kpt.run(&mut ())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Where there is a simulation in this OS thread (feature `sim`), the connection is a simulated one. It is the same
    /// for all other functions that open a socket.
    ///
    /// How long the system goes on trying, up to two minutes, is not for a daemon to wait: have a timer that gives up.
    ///
    /// # Errors
    /// Returns what is known at once: no route, no descriptor left, or a port of this machine that refuses.
    pub fn connect(address: impl Into<SocketAddr>) -> io::Result<Self> {
        let address = address.into();
        #[cfg(feature = "sim")]
        if let Some(stream) = sim::connect_tcp(address) {
            return stream;
        }
        let connect =
            || Ok(Self { socket: Socket::Tcp(sys::connect_tcp(address)?), peer: Some(address) });
        tape::opening(Opens::Connect, || address.into(), connect, Self::peer, Self::replayed)
    }

    /// Connects to the Unix socket at `path`. This does not take time: the stream that is returned is connected.
    ///
    /// # Errors
    /// The error is of the kind [`WouldBlock`](ErrorKind::WouldBlock) if too many connections wait to be accepted; try
    /// again later. The others are those of the system: no such socket, or one that does not listen.
    pub fn connect_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if let Some(stream) = sim::connect_unix(path.as_ref()) {
            return stream;
        }
        let path = path.as_ref();
        let connect = || sys::connect_unix(path).map(Self::unix);
        let wanted = || Address::of_path(path);
        tape::opening(Opens::Connect, wanted, connect, Self::peer, Self::replayed)
    }

    #[cfg(feature = "sim")]
    pub(crate) fn simulated(socket: SimStream) -> Self {
        Self { socket: Socket::Simulated(socket), peer: None }
    }

    /// Takes over a connection that has been accepted from there.
    pub(super) fn accepted(socket: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Socket::Tcp(socket), peer: Some(peer) })
    }

    /// Takes over a Unix connection that has been accepted.
    pub(super) fn accepted_unix(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::unix(socket))
    }

    fn unix(socket: UnixStream) -> Self {
        Self { socket: Socket::Unix(socket), peer: None }
    }

    pub(super) fn replayed(socket: Replayed) -> Self {
        Self { socket: Socket::Replayed(socket), peer: None }
    }

    /// Returns whether the connection is made: `false` while it is tried. Ask when the stream is writable.
    ///
    /// # Errors
    /// Returns why it has failed. The system tells that once, here or to a read or write.
    pub fn is_connected(&self) -> io::Result<bool> {
        let result = match &self.socket {
            Socket::Tcp(tcp) => is_connected(tcp.take_error(), || tcp.peer_addr().map(drop)),
            Socket::Unix(unix) => is_connected(unix.take_error(), || unix.peer_addr().map(drop)),
            #[cfg(feature = "sim")]
            Socket::Simulated(socket) => {
                is_connected(socket.take_error(), || socket.peer_addr().map(drop))
            }
            Socket::Replayed(socket) => socket.is_connected(),
        };
        tape::note_connected(self, &result);
        result
    }

    /// Takes the error that is pending, which a read or write would return otherwise.
    ///
    /// # Errors
    /// Returns the error of the system call itself.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let result = of_either!(self, socket => socket.take_error());
        tape::note_error(self, &result);
        result
    }

    /// Returns who is at the other end, for logs. For TCP this is also known when the connection has broken, or could
    /// not be made.
    pub fn peer(&self) -> Address {
        match &self.socket {
            Socket::Tcp(_) => self.peer.map_or(Address::UNKNOWN, Address::from),
            Socket::Unix(unix) => unix.peer_addr().map_or(Address::UNKNOWN, Address::from),
            #[cfg(feature = "sim")]
            Socket::Simulated(socket) => socket.peer(),
            Socket::Replayed(socket) => socket.address(),
        }
    }

    /// Ends one or both directions of the connection. After `Write`, the other side finds the end of what it reads, and
    /// may still send.
    ///
    /// # Errors
    /// Returns the system's error: not connected any more, for example.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let result = of_either!(self, socket => socket.shutdown(how));
        tape::note_shutdown(self, how, &result);
        result
    }

    /// Sets whether TCP sends each write at once. By default, a small write waits until what was sent before has been
    /// acknowledged, which may take 40 ms; a server that writes its answers in one piece wants `true`.
    ///
    /// Does nothing for a Unix socket, which never waits.
    ///
    /// # Errors
    /// Returns the system's error.
    pub fn set_nodelay(&self, is_on: bool) -> io::Result<()> {
        let result = match &self.socket {
            Socket::Tcp(tcp) => tcp.set_nodelay(is_on),
            Socket::Unix(_) => Ok(()),
            #[cfg(feature = "sim")]
            Socket::Simulated(_) => Ok(()),
            Socket::Replayed(socket) => socket.set_nodelay(is_on),
        };
        tape::note_nodelay(self, is_on, &result);
        result
    }
}

/// Returns whether a connection is made, from its pending error and whether it has a peer.
fn is_connected(
    error: io::Result<Option<io::Error>>,
    has_peer: impl FnOnce() -> io::Result<()>,
) -> io::Result<bool> {
    if let Some(error) = error? {
        return Err(error);
    }
    match has_peer() {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes it non-blocking, also for everybody else who has the same file open.
impl TryFrom<TcpStream> for Stream {
    type Error = io::Error;

    fn try_from(socket: TcpStream) -> io::Result<Self> {
        let take = || {
            socket.set_nonblocking(true)?;
            let peer = socket.peer_addr().ok();
            Ok(Self { socket: Socket::Tcp(socket), peer })
        };
        tape::opening(Opens::Connect, || Address::UNKNOWN, take, Self::peer, Self::replayed)
    }
}

/// Makes it non-blocking, also for everybody else who has the same file open.
impl TryFrom<UnixStream> for Stream {
    type Error = io::Error;

    fn try_from(socket: UnixStream) -> io::Result<Self> {
        let take = || Self::accepted_unix(socket);
        tape::opening(Opens::Connect, || Address::UNKNOWN, take, Self::peer, Self::replayed)
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = of_either!(self, socket => { let mut socket = socket; socket.read(buffer) });
        tape::note_read(self, buffer, &result);
        result
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let result =
            of_either!(self, socket => { let mut socket = socket; socket.read_vectored(buffers) });
        tape::note_read_parts(self, buffers, &result);
        result
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = of_either!(self, socket => { let mut socket = socket; socket.write(bytes) });
        tape::note_written(self, bytes, &result);
        result
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        #[cfg(feature = "sim")]
        if let Socket::Simulated(socket) = &self.socket {
            return socket.send_parts(parts);
        }
        let result = match &self.socket {
            Socket::Replayed(socket) => socket.write_parts(parts),
            _ => sys::send_parts(self, parts),
        };
        tape::note_written_parts(self, parts, &result);
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        of_either!(self, socket => socket.as_fd())
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> Self {
        match stream.socket {
            Socket::Tcp(tcp) => tcp.into(),
            Socket::Unix(unix) => unix.into(),
            #[cfg(feature = "sim")]
            Socket::Simulated(_) => panic!("a simulated stream has no descriptor to give away"),
            Socket::Replayed(socket) => socket.into(),
        }
    }
}
