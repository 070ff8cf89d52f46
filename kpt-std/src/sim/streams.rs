//! Simulated streams: the ends of connections that the application and its peers have.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::conn::{Conn, Kind, errno};
use super::net::{File, Handle, Name, Net};
use super::{Sim, world};
use crate::{Address, Stream};

/// Connections of the network.
impl Net {
    pub fn close_stream(&mut self, sim: &Sim, key: u32, side: usize) {
        if let Some(conn) = self.conns.get_mut(&key) {
            if conn.ends[side].is_tried {
                let who = conn.who();
                sim.run().mix_number(u64::from(who));
                sim.note(|| format!("closes {who}"));
            }
            conn.close(sim, side);
        }
        self.forget_if_over(key);
    }

    /// Makes a connection, whose first end belongs to the caller. Its number is that of its client, or the next one.
    pub fn connect(&mut self, sim: &Sim, to: Name, is_tried: bool, client: Option<u32>) -> u32 {
        let port = self.new_port();
        let kind = if matches!(to, Name::Ip(_)) { Kind::Tcp } else { Kind::Unix };
        let key = self.new_conn(kind, client);
        let Some(conn) = self.conns.get_mut(&key) else { return key };
        let [here, there] = &mut conn.ends;
        here.is_tried = is_tried;
        here.is_connecting = true;
        if kind == Kind::Tcp {
            here.name = Some(Name::Ip(sim.address(port)));
        }
        there.name = Some(to.clone());
        key
    }
}

/// A simulated stream, as [`Stream`] has it.
#[derive(Debug)]
pub struct SimStream(Handle);

impl SimStream {
    pub fn new(handle: Handle) -> Self {
        Self(handle)
    }

    fn with<R>(&self, work: impl FnOnce(&Sim, &mut Conn, usize) -> io::Result<R>) -> io::Result<R> {
        self.0.with(|sim, net, file| match *file {
            File::Stream(key, side) => match net.conns.get_mut(&key) {
                Some(conn) => work(sim, conn, side),
                None => Err(errno(libc::ENOTCONN)),
            },
            _ => Err(errno(libc::ENOTSOCK)),
        })?
    }

    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.with(|_, conn, side| Ok(conn.take_error(side).map(errno)))
    }

    /// Fails if it is not connected, as the system call of this name does.
    pub fn peer_addr(&self) -> io::Result<Address> {
        self.with(|_, conn, side| {
            if !conn.is_connected(side) {
                return Err(errno(libc::ENOTCONN));
            }
            Ok(conn.ends[1 - side].name.as_ref().map_or(Address::UNKNOWN, Name::address))
        })
    }

    /// Returns who is at the other end, also when the connection has broken.
    pub fn peer(&self) -> Address {
        let found = self.with(|_, conn, side| {
            let nameless = || Name::unix(Path::new("")).address();
            Ok(conn.ends[1 - side].name.as_ref().map_or_else(nameless, Name::address))
        });
        found.unwrap_or(Address::UNKNOWN)
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.with(|sim, conn, side| conn.shutdown(sim, side, how))
    }

    pub fn send_parts(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        (&*self).write(&bytes)
    }
}

impl Read for &SimStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|sim, conn, side| conn.read(sim, side, buffer))
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let room: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if room == 0 {
            return Ok(0); // Other than a read into one buffer, this does not look.
        }
        let mut bytes = vec![0; room];
        let count = self.read(&mut bytes)?;
        let mut rest = &bytes[..count];
        for buffer in buffers {
            let (part, more) = rest.split_at(rest.len().min(buffer.len()));
            buffer[..part.len()].copy_from_slice(part);
            rest = more;
        }
        Ok(count)
    }
}

impl Write for &SimStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|sim, conn, side| conn.write(sim, side, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for SimStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Starts a TCP connection in the current simulation; `None` if there is none.
pub fn connect_tcp(address: SocketAddr) -> Option<io::Result<Stream>> {
    world::current().map(|sim| sim.connect_to(Name::Ip(address)))
}

/// Connects to a Unix socket in the current simulation; `None` if there is none.
pub fn connect_unix(path: &Path) -> Option<io::Result<Stream>> {
    world::current().map(|sim| sim.connect_to(Name::unix(path)))
}

impl Sim {
    fn connect_to(&self, to: Name) -> io::Result<Stream> {
        let is_tried = self.world().is_application();
        let mut net = self.world().net.borrow_mut();
        let key = net.connect(self, to.clone(), is_tried, None);
        let handle = net.open(File::Stream(key, 0))?;
        let result = net.start_connect(self, key, to);
        drop(net); // What has failed is closed.
        result.map(|()| Stream::simulated(SimStream::new(handle)))
    }

    /// Returns the two ends of a TCP connection: that of a peer, and that of the application, whose calls may go wrong.
    ///
    /// # Panics
    /// If no descriptor is left for them.
    pub fn streams(&self) -> (Stream, Stream) {
        let mut net = self.world().net.borrow_mut();
        let key = net.new_conn(Kind::Tcp, None);
        let (here, there) = (net.new_port(), net.new_port());
        if let Some(conn) = net.conns.get_mut(&key) {
            conn.ends[1].is_tried = true;
            conn.ends[0].name = Some(Name::Ip(self.address(here)));
            conn.ends[1].name = Some(Name::Ip(self.address(there)));
        }
        let mut open = |side| {
            let handle = net.open(File::Stream(key, side));
            Stream::simulated(SimStream::new(handle.expect("a descriptor for a simulated stream")))
        };
        (open(0), open(1))
    }
}
