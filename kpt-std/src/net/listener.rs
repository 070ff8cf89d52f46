//! A listener that does not hold up others, and pauses where it can't accept.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use super::{Address, Stream};
#[cfg(feature = "sim")]
use crate::sim::{self, SimListener};
use crate::tape::{self, Opens, Replayed};
use crate::{When, source, sys};

/// How many connections wait to be accepted, unless another number is set. The standard library's 128 are too few for a
/// daemon whose clients all come back at the same time.
const BACKLOG: u32 = 1024;

/// How many connections are accepted before others get their turn.
const PER_TURN: u32 = 64;

/// The pause where none can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// A TCP or Unix socket that clients connect to. It never blocks, and its connections don't. Where there is a simulation
/// in this OS thread (feature `sim`), it is a simulated one.
///
/// When the process has no descriptor or memory left for a connection, that connection stays there, and the listener
/// readable: a hook that just waits once more is called again and again. So [`when`](Self::when) says what to wait for,
/// which then is the end of a short pause. A hook has the same lines for all cases:
///
/// ```
/// use kpt_std::{EventLoop, Listener, Stream, Thread};
/// # use std::net::TcpStream;
///
/// struct Server {
///     listener: Listener,
///     clients: Vec<Stream>,
/// }
///
/// impl Server {
///     fn on_connection(&mut self, mut thread: Thread<Self>) {
///         loop {
///             match self.listener.accept() {
///                 Ok(Some(stream)) => self.clients.push(stream),
///                 Ok(None) => break,
///                 Err(error) => eprintln!("no more clients for now: {error}"), // Once, not after each pause.
///             }
///         }
/// #       thread.threads().stop();
///         let _ = thread.again_when(self.listener.when());
///     }
/// }
///
/// let listener = Listener::bind(([127, 0, 0, 1], 0))?;
/// println!("listening on {}", listener.local());
/// # let _client = TcpStream::connect(listener.local().ip().unwrap())?;
/// let mut kpt = EventLoop::new()?;
/// kpt.threads().add("accept", listener.when(), Server::on_connection, ())?;
/// let mut server = Server { listener, clients: Vec::new() };
/// kpt.run(&mut server)?;
/// # assert_eq!(server.clients.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// How many calls of the system are left in this turn.
    left: u32,
    state: State,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
    #[cfg(feature = "sim")]
    Simulated(SimListener),
    Replayed(Replayed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The application wants none before the end of a pause.
    Paused,
    /// Accepting fails, which has been told.
    Failing,
}

impl Listener {
    /// Listens at an IP address and port; port 0 takes one that is free. Up to 1,024 connections wait to be accepted,
    /// see [`set_backlog`](Self::set_backlog). `SO_REUSEADDR` is set, so that a daemon can be restarted at once.
    ///
    /// # Errors
    /// Returns the system's error: the port is taken, for example.
    pub fn bind(address: impl Into<SocketAddr>) -> io::Result<Self> {
        let address = address.into();
        #[cfg(feature = "sim")]
        if let Some(listener) = sim::listen(address) {
            return listener;
        }
        let bind = || {
            let listener = Self::tcp(TcpListener::bind(address)?)?;
            sys::listen(&listener, BACKLOG)?;
            Ok(listener)
        };
        tape::opening(Opens::Bind, || address.into(), bind, Self::local, Self::replayed)
    }

    /// Listens at a path, which must not exist, and stays there until it is removed: a daemon removes the
    /// one that its predecessor has left. Up to 1,024 connections wait to be accepted.
    ///
    /// # Errors
    /// Returns the system's error: the path exists or is too long, for example.
    pub fn bind_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if let Some(listener) = sim::listen_unix(path.as_ref()) {
            return listener;
        }
        let path = path.as_ref();
        let bind = || {
            let listener = Self::unix(UnixListener::bind(path)?)?;
            sys::listen(&listener, BACKLOG)?;
            Ok(listener)
        };
        let wanted = || Address::of_path(path);
        tape::opening(Opens::Bind, wanted, bind, Self::local, Self::replayed)
    }

    fn tcp(socket: TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::new(Socket::Tcp(socket)))
    }

    fn unix(socket: UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::new(Socket::Unix(socket)))
    }

    fn replayed(socket: Replayed) -> Self {
        Self::new(Socket::Replayed(socket))
    }

    fn new(socket: Socket) -> Self {
        Self { socket, left: PER_TURN, state: State::Open }
    }

    #[cfg(feature = "sim")]
    pub(crate) fn simulated(socket: SimListener) -> Self {
        Self { socket: Socket::Simulated(socket), left: PER_TURN, state: State::Open }
    }

    /// Sets how many connections wait to be accepted before others are refused or have to try again. The system does
    /// not take more than `/proc/sys/net/core/somaxconn` says (4,096 in most).
    ///
    /// # Errors
    /// Returns the system's error.
    pub fn set_backlog(&self, connections: u32) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Socket::Simulated(socket) = &self.socket {
            return socket.set_backlog(connections);
        }
        let result = match &self.socket {
            Socket::Replayed(socket) => socket.set_backlog(),
            _ => sys::listen(self, connections),
        };
        tape::note_backlog(self, &result);
        result
    }

    /// Accepts the next connection. `None` means that there is none, or that others shall get their turn: after 64
    /// connections in a row. [`when`](Self::when) says what to wait for then.
    ///
    /// Connections that have broken already are left out.
    ///
    /// # Errors
    /// Returns why no connection can be accepted for a while, as a rule since there are no descriptors left. It is told
    /// once: if it still fails after the pause, `accept` returns `None`.
    pub fn accept(&mut self) -> io::Result<Option<Stream>> {
        while self.left > 0 {
            self.left -= 1;
            match self.try_accept() {
                Ok(stream) => {
                    self.state = State::Open;
                    return Ok(Some(stream));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.state = State::Open;
                    break;
                }
                Err(error) if sys::is_of_connection(&error) => {}
                Err(error) => {
                    let is_told = self.state == State::Failing;
                    self.pause();
                    self.state = State::Failing;
                    return if is_told { Ok(None) } else { Err(error) };
                }
            }
        }
        self.left = PER_TURN;
        Ok(None)
    }

    fn try_accept(&self) -> io::Result<Stream> {
        let result = match &self.socket {
            Socket::Tcp(tcp) => tcp.accept().and_then(|(tcp, peer)| Stream::accepted(tcp, peer)),
            #[cfg(feature = "sim")]
            Socket::Simulated(socket) => socket.accept(),
            Socket::Unix(unix) => unix.accept().and_then(|(unix, _)| Stream::accepted_unix(unix)),
            Socket::Replayed(socket) => socket.accept().map(Stream::replayed),
        };
        tape::note_accepted(self, &result, Stream::peer);
        result
    }

    /// Lets [`when`](Self::when) be the end of a pause of 100 ms, for an application that has room for no more
    /// connections. The next [`accept`](Self::accept) ends it: `reschedule(id, When::Now)` has the accept thread call it.
    /// During a pause that thread is a timer, which `cancel_source` does not find.
    pub fn pause(&mut self) {
        (self.left, self.state) = (PER_TURN, State::Paused);
    }

    /// Returns what to wait for before the next [`accept`](Self::accept): a connection, or the end of a pause.
    pub fn when(&self) -> When {
        match self.state {
            State::Open => When::Readable(source(self)),
            State::Paused | State::Failing => When::After(PAUSE),
        }
    }

    /// Returns where it listens, also for logs.
    pub fn local(&self) -> Address {
        match &self.socket {
            Socket::Tcp(tcp) => tcp.local_addr().map_or(Address::UNKNOWN, Address::from),
            Socket::Unix(unix) => unix.local_addr().map_or(Address::UNKNOWN, Address::from),
            #[cfg(feature = "sim")]
            Socket::Simulated(socket) => socket.local(),
            Socket::Replayed(socket) => socket.address(),
        }
    }
}

/// Makes it non-blocking, also for everybody else who has the same file open, and leaves its backlog as it is.
impl TryFrom<TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(socket: TcpListener) -> io::Result<Self> {
        let take = || Self::tcp(socket);
        tape::opening(Opens::Bind, || Address::UNKNOWN, take, Self::local, Self::replayed)
    }
}

/// Makes it non-blocking, also for everybody else who has the same file open, and leaves its backlog as it is.
impl TryFrom<UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(socket: UnixListener) -> io::Result<Self> {
        let take = || Self::unix(socket);
        tape::opening(Opens::Bind, || Address::UNKNOWN, take, Self::local, Self::replayed)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(tcp) => tcp.as_fd(),
            Socket::Unix(unix) => unix.as_fd(),
            #[cfg(feature = "sim")]
            Socket::Simulated(socket) => socket.as_fd(),
            Socket::Replayed(socket) => socket.as_fd(),
        }
    }
}
