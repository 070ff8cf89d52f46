//! The files that are open in a simulation, by number, and what arrives at them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr as UnixAddress;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kpt_core::{Instant, Readiness, Source};

use super::channels::Channel;
use super::conn::{Conn, Kind, Sent};
use super::datagrams::{Packet, Socket};
use super::listeners::Listening;
#[cfg(feature = "signals")]
use super::signals::Waiting;
use super::world::{self, Event};
use super::{Sim, events, files};
use crate::Address;

/// The first port of those that are given to sockets that ask for port 0.
const FIRST_PORT: u16 = 49_152;
/// One less than the number of the first connection that is not of a client.
const FIRST_NAMELESS: u32 = 1_000;

/// The network, and what is open.
#[derive(Debug, Default)]
pub struct Net {
    /// The number of the simulation, which its handles have.
    pub simulation: u64,
    /// By number. The lowest free one is taken next, as in a process.
    files: Vec<Option<File>>,
    pub conns: BTreeMap<u32, Conn>,
    pub listeners: BTreeMap<Name, Listening>,
    pub sockets: BTreeMap<Name, Socket>,
    pub tasks: BTreeMap<u32, Rc<Channel>>,
    /// The paths at which there have been sockets.
    pub paths: BTreeSet<PathBuf>,
    /// The signals that the application has waited for so far. Signal n is bit n - 1.
    #[cfg(feature = "signals")]
    pub handled: u64,
    /// The number of connections so far, and of those that are not of a client.
    conns_made: u32,
    nameless: u32,
    ports_given: u16,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// An end of a connection.
    Stream(u32, usize),
    Listener(Name),
    Datagram(Name),
    /// The end of a task's parent, or that of the task.
    Task(u32, bool),
    /// Of a waker: whether it is set.
    Event(Rc<Cell<bool>>),
    #[cfg(feature = "signals")]
    Signals(Rc<Waiting>),
}

/// The address of a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    Ip(SocketAddr),
    Unix(PathBuf),
}

impl Name {
    pub fn unix(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }

    /// Returns the number by which decisions about it are known.
    pub fn who(&self) -> u32 {
        if let Self::Ip(address) = self { u32::from(address.port()) } else { 0 }
    }

    pub fn address(&self) -> Address {
        match self {
            Self::Ip(address) => (*address).into(),
            Self::Unix(path) => {
                UnixAddress::from_pathname(path).map_or(Address::UNKNOWN, Address::from)
            }
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

/// What arrives, and where.
#[derive(Debug)]
pub enum Arrival {
    /// At an end of a connection.
    Sent(u32, usize, Sent),
    /// The first end of this connection wants to be accepted.
    Connect(u32, Name),
    Packet(Packet),
}

impl Net {
    /// Returns what a poller finds on a source. What is not open is an error, as it is with `SelectPoller`.
    pub fn readiness(&self, source: Source) -> Readiness {
        let file =
            files::number_of(source).and_then(|number| self.files.get(number as usize)?.as_ref());
        let found = match file {
            Some(File::Stream(conn, side)) => {
                self.conns.get(conn).map(|conn| conn.readiness(*side))
            }
            Some(File::Listener(name)) => self.listeners.get(name).map(Listening::readiness),
            Some(File::Datagram(name)) => self.datagram_readiness(name),
            Some(File::Task(who, of_task)) => {
                self.tasks.get(who).map(|task| task.readiness(*of_task))
            }
            Some(File::Event(is_set)) => Some(events::readiness(is_set)),
            #[cfg(feature = "signals")]
            Some(File::Signals(waiting)) => Some(events::readiness(&waiting.is_set)),
            None => None,
        };
        found.unwrap_or(Readiness::ERROR)
    }

    /// Opens a file, and returns its handle.
    pub fn open(&mut self, file: File) -> io::Result<Handle> {
        let number = self.files.iter().position(Option::is_none).unwrap_or(self.files.len());
        let descriptor = files::descriptor(number as u32)?;
        if number == self.files.len() {
            self.files.push(None);
        }
        self.files[number] = Some(file);
        Ok(Handle { simulation: self.simulation, number: number as u32, descriptor })
    }

    /// Makes a connection whose ends have no owner yet. Decisions about it have the number of its client, if it has one.
    pub fn new_conn(&mut self, kind: Kind, client: Option<u32>) -> u32 {
        self.conns_made += 1;
        let key = self.conns_made;
        let who = client.unwrap_or_else(|| {
            self.nameless += 1;
            FIRST_NAMELESS + self.nameless
        });
        self.conns.insert(key, Conn::new(key, who, kind));
        key
    }

    /// Returns those who wait for signals.
    #[cfg(feature = "signals")]
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.files.iter().flatten().filter_map(|file| match file {
            File::Signals(waiting) => Some(&**waiting),
            _ => None,
        })
    }

    /// Returns the listener at this port.
    pub fn at_port(&self, port: u16) -> Option<&Name> {
        self.listeners.keys().find(|name| matches!(name, Name::Ip(ip) if ip.port() == port))
    }

    /// Returns whether there has been a socket at this path.
    pub fn has_been(&self, name: &Name) -> bool {
        matches!(name, Name::Unix(path) if self.paths.contains(path))
    }

    pub fn new_port(&mut self) -> u16 {
        let port = FIRST_PORT.wrapping_add(self.ports_given).max(FIRST_PORT);
        self.ports_given = self.ports_given.wrapping_add(1);
        port
    }

    /// Returns the address that `bind` gives for the one that was asked for.
    pub fn bound(&mut self, mut address: SocketAddr) -> SocketAddr {
        if address.port() == 0 {
            address.set_port(self.new_port());
        }
        address
    }

    /// Returns which of the sockets with these names an address reaches.
    pub fn reached<'n>(
        mut names: impl Iterator<Item = &'n Name>,
        address: &Name,
    ) -> Option<&'n Name> {
        names.find(|name| match (name, address) {
            (Name::Ip(bound), Name::Ip(address)) => {
                bound.port() == address.port()
                    && (bound.ip() == address.ip() || bound.ip().is_unspecified())
            }
            (name, address) => *name == address,
        })
    }

    /// Removes a connection if both ends are closed and nothing is under way.
    pub fn forget_if_over(&mut self, key: u32) {
        if self.conns.get(&key).is_some_and(Conn::is_over) {
            self.conns.remove(&key);
        }
    }

    pub fn arrive(sim: &Sim, arrival: Arrival) {
        let mut net = sim.world().net.borrow_mut();
        match arrival {
            Arrival::Sent(key, side, sent) => {
                if let Some(conn) = net.conns.get_mut(&key) {
                    conn.arrive(sim, side, sent);
                }
                net.forget_if_over(key);
            }
            Arrival::Connect(key, to) => {
                net.arrive_at_listener(sim, key, &to);
                net.forget_if_over(key);
            }
            Arrival::Packet(packet) => net.deliver(packet),
        }
    }
}

/// What the owner of a simulated socket has. It holds only numbers, so that the feature `sim` does not change which types
/// are `Send`; in another OS thread, all operations fail.
#[derive(Debug)]
pub struct Handle {
    simulation: u64,
    number: u32,
    descriptor: &'static OwnedFd,
}

impl Handle {
    /// Returns the number of the simulation.
    pub fn simulation(&self) -> u64 {
        self.simulation
    }

    /// Calls `work` with what is open there.
    pub fn with<R>(&self, work: impl FnOnce(&Sim, &mut Net, &File) -> R) -> io::Result<R> {
        let ended = || {
            io::Error::other(
                "the simulation of this socket has ended, or belongs to another OS thread",
            )
        };
        let sim = world::find(self.simulation).ok_or_else(ended)?;
        let mut net = sim.world().net.borrow_mut();
        let file = net.files.get(self.number as usize).cloned().flatten().ok_or_else(ended)?;
        Ok(work(&sim, &mut net, &file))
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Closes the file.
impl Drop for Handle {
    fn drop(&mut self) {
        let Some(sim) = world::find(self.simulation) else { return };
        // It is borrowed while it is cleared.
        let Ok(mut net) = sim.world().net.try_borrow_mut() else { return };
        match net.files.get_mut(self.number as usize).and_then(Option::take) {
            Some(File::Stream(key, side)) => net.close_stream(&sim, key, side),
            Some(File::Listener(name)) => net.close_listener(&sim, &name),
            Some(File::Datagram(name)) => drop(net.sockets.remove(&name)),
            Some(_) | None => {}
        }
    }
}

impl Sim {
    /// Returns the address of this port of the simulated machine, 10.0.0.1. A client reaches a listener of the application
    /// by its port alone, whatever its address.
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), port)
    }

    /// Schedules an arrival.
    pub(super) fn arrive_at(&self, at: Instant, arrival: Arrival) {
        self.world().push(at, Event::Arrival(arrival));
    }
}
