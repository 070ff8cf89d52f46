//! Simulated datagrams, which may be lost, come twice, or come late.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use kpt_core::Readiness;

use super::conn::errno;
use super::net::{Arrival, File, Handle, Name, Net};
use super::{Sim, world};
use crate::{Address, Datagram};

/// The longest datagram of UDP in IPv4.
const LONGEST: usize = 65_507;
/// How many bytes of datagrams wait to be received before others are lost, as on Linux (`net.core.rmem_default`). A Unix
/// socket may have sent as many bytes that were not received (`net.core.wmem_default`).
const ROOM: usize = 212_992;
/// How many bytes of that a datagram takes besides its own, which lie in pages if they are more than fit beside that.
const OVERHEAD: usize = 832;
const PAGE: usize = 4_096;
/// So much shorter than [`ROOM`] is the longest datagram of a Unix socket.
const UNIX_MARGIN: usize = 32;
/// The number of datagrams that may wait at a Unix socket before its senders have to (`net.unix.max_dgram_qlen`).
const MOST_UNIX: usize = 10;

/// A socket for datagrams, as the system sees it.
#[derive(Debug, Default)]
pub struct Socket {
    queue: VecDeque<(Vec<u8>, Name)>,
    memory: usize,
    is_tried: bool,
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct Packet {
    from: Name,
    to: Name,
    bytes: Vec<u8>,
}

impl Socket {
    /// Returns how many bytes of memory its datagrams take that `from` has sent.
    fn used_by(&self, from: &Name) -> usize {
        let queued = self.queue.iter().filter(|(_, sender)| sender == from);
        queued.map(|(bytes, _)| memory(bytes.len())).sum()
    }
}

/// Returns how many bytes of memory a datagram takes.
fn memory(length: usize) -> usize {
    OVERHEAD + if length < OVERHEAD / 2 { 0 } else { length.next_multiple_of(PAGE) }
}

impl Net {
    pub fn datagram_readiness(&self, name: &Name) -> Option<Readiness> {
        let socket = self.sockets.get(name)?;
        let is_writable = self.unreceived(name).saturating_mul(4) <= ROOM;
        let readable = if socket.queue.is_empty() { Readiness::NONE } else { Readiness::READABLE };
        Some(if is_writable { readable | Readiness::WRITABLE } else { readable })
    }

    /// Returns how many bytes of memory those datagrams take that this Unix socket has sent and nobody has received.
    fn unreceived(&self, name: &Name) -> usize {
        match name {
            Name::Ip(_) => 0, // Those of the network are no matter of the sender's.
            Name::Unix(_) => self.sockets.values().map(|socket| socket.used_by(name)).sum(),
        }
    }

    fn bind_socket(&mut self, sim: &Sim, name: Name) -> io::Result<SimDatagram> {
        if self.sockets.contains_key(&name) {
            return Err(errno(libc::EADDRINUSE));
        }
        let socket = Socket { is_tried: sim.world().is_application(), ..Socket::default() };
        let handle = self.open(File::Datagram(name.clone()))?;
        self.sockets.insert(name, socket);
        Ok(SimDatagram(handle))
    }

    fn send_packet(&mut self, sim: &Sim, from: &Name, to: Name, bytes: &[u8]) -> io::Result<usize> {
        match (from, &to) {
            (Name::Ip(_), Name::Ip(to)) if to.port() == 0 => return Err(errno(libc::EINVAL)),
            (Name::Ip(_), Name::Ip(_)) if bytes.len() > LONGEST => {
                return Err(errno(libc::EMSGSIZE));
            }
            (Name::Ip(_), Name::Ip(_)) => {}
            _ => return self.send_unix(from, to, bytes),
        }
        let from = seen(sim, from, &to);
        sim.run().mix(bytes);
        let (usual, late) = (sim.world().latency.get(), sim.world().late.get());
        let after = [usual, usual + Duration::from_micros(1), usual + late];
        let delays: &[Duration] =
            match sim.choose("packet", from.who(), &["on-time", "lost", "twice", "late"]) {
                0 => &after[..1],
                1 => &[],
                2 => &after[..2],
                _ => &after[2..],
            };
        sim.note(|| format!("{from} sends {} bytes to {to}", bytes.len()));
        let packet = Packet { from, to, bytes: bytes.to_vec() };
        for &delay in delays {
            sim.arrive_at(sim.now() + delay, Arrival::Packet(packet.clone()));
        }
        Ok(bytes.len())
    }

    /// Sends a datagram of a Unix socket, which is never lost or late.
    fn send_unix(&mut self, from: &Name, to: Name, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > ROOM - UNIX_MARGIN {
            return Err(errno(libc::EMSGSIZE));
        }
        let (has_been, used) = (self.has_been(&to), self.unreceived(from));
        let Some(socket) = self.sockets.get_mut(&to) else {
            return Err(errno(if has_been { libc::ECONNREFUSED } else { libc::ENOENT }));
        };
        // The sender waits when there is one more than that.
        if socket.queue.len() > MOST_UNIX || used >= ROOM {
            return Err(errno(libc::EAGAIN));
        }
        socket.memory += memory(bytes.len());
        socket.queue.push_back((bytes.to_vec(), from.clone()));
        Ok(bytes.len())
    }

    pub fn deliver(&mut self, packet: Packet) {
        let Packet { from, to, bytes } = packet;
        let Some(name) = Self::reached(self.sockets.keys(), &to).cloned() else { return };
        let Some(socket) = self.sockets.get_mut(&name) else { return };
        if socket.memory + memory(bytes.len()) <= ROOM {
            socket.memory += memory(bytes.len());
            socket.queue.push_back((bytes, from));
        }
    }

    fn receive(&mut self, sim: &Sim, name: &Name, buffer: &mut [u8]) -> io::Result<(usize, Name)> {
        let socket = self.sockets.get_mut(name).ok_or_else(|| errno(libc::EBADF))?;
        let (bytes, from) = socket.queue.pop_front().ok_or_else(|| errno(libc::EAGAIN))?;
        socket.memory -= memory(bytes.len());
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        if socket.is_tried {
            sim.run().mix(&bytes);
            sim.note(|| format!("{name} receives {} bytes from {from}", bytes.len()));
        }
        Ok((count, from))
    }
}

/// Returns the address from which a packet of this socket comes, as its receiver sees it.
fn seen(sim: &Sim, from: &Name, to: &Name) -> Name {
    match (from, to) {
        (Name::Ip(from), Name::Ip(to)) if from.ip().is_unspecified() => {
            let own = if to.ip().is_loopback() { to.ip() } else { sim.address(0).ip() };
            Name::Ip(SocketAddr::new(own, from.port()))
        }
        _ => from.clone(),
    }
}

/// A simulated socket for datagrams, as [`Datagram`] has it.
#[derive(Debug)]
pub struct SimDatagram(Handle);

impl SimDatagram {
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
        let (count, from) = self.0.with(|sim, net, file| match file {
            File::Datagram(name) => net.receive(sim, name, buffer),
            _ => Err(errno(libc::EBADF)),
        })??;
        Ok((count, from.address()))
    }

    pub fn send_to(&self, bytes: &[u8], to: &Address) -> io::Result<usize> {
        let to = to.ip().map(Name::Ip).or_else(|| to.path().map(Name::unix));
        self.0.with(|sim, net, file| match (file, to) {
            (File::Datagram(from @ Name::Ip(_)), Some(to @ Name::Ip(_)))
            | (File::Datagram(from @ Name::Unix(_)), Some(to @ Name::Unix(_))) => {
                net.send_packet(sim, from, to, bytes)
            }
            _ => {
                let why = "an address of another kind of socket";
                Err(io::Error::new(io::ErrorKind::InvalidInput, why))
            }
        })?
    }

    pub fn local(&self) -> Address {
        let local = self.0.with(|_, _, file| match file {
            File::Datagram(name) => name.address(),
            _ => Address::UNKNOWN,
        });
        local.unwrap_or(Address::UNKNOWN)
    }
}

impl AsFd for SimDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens a socket in the current simulation; `None` if there is none.
pub fn bind_datagram(address: SocketAddr) -> Option<io::Result<Datagram>> {
    world::current().map(|sim| {
        let mut net = sim.world().net.borrow_mut();
        let address = net.bound(address);
        net.bind_socket(&sim, Name::Ip(address)).map(Datagram::simulated)
    })
}

/// Opens a socket at a path in the current simulation; `None` if there is none.
pub fn bind_datagram_unix(path: &Path) -> Option<io::Result<Datagram>> {
    world::current().map(|sim| {
        let mut net = sim.world().net.borrow_mut();
        net.paths.insert(path.to_owned());
        net.bind_socket(&sim, Name::unix(path)).map(Datagram::simulated)
    })
}

impl Sim {
    /// Opens a socket for datagrams at this port of the simulated machine, as [`Datagram::bind`] with
    /// [`address`](Self::address) does.
    ///
    /// # Errors
    /// Returns an error if the port is taken.
    pub fn datagram(&self, port: u16) -> io::Result<Datagram> {
        let mut net = self.world().net.borrow_mut();
        let socket = net.bind_socket(self, Name::Ip(self.address(port)))?;
        Ok(Datagram::simulated(socket))
    }
}
