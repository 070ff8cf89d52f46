//! Simulated listeners.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use kpt_core::Readiness;

use super::conn::{Conn, Kind, Sent, errno};
use super::net::{Arrival, File, Handle, Name, Net};
use super::streams::SimStream;
use super::{Sim, world};
use crate::{Address, Listener, Stream};

/// The time after which a client connects again if the listener's queue was full.
const AGAIN: Duration = Duration::from_secs(1);
/// The time after which a client gives up that gets no answer.
const UNANSWERED: Duration = Duration::from_secs(127);

/// A listener as the system sees it.
#[derive(Debug)]
pub struct Listening {
    /// The connections that wait to be accepted.
    queue: VecDeque<u32>,
    backlog: usize,
    is_tried: bool,
}

impl Listening {
    pub fn readiness(&self) -> Readiness {
        if self.queue.is_empty() { Readiness::NONE } else { Readiness::READABLE }
    }
}

impl Net {
    fn listen(&mut self, sim: &Sim, name: Name) -> io::Result<SimListener> {
        if self.listeners.contains_key(&name) {
            return Err(errno(libc::EADDRINUSE));
        }
        let is_tried = sim.world().is_application();
        let listening = Listening { queue: VecDeque::new(), backlog: 128, is_tried };
        let handle = self.open(File::Listener(name.clone()))?;
        self.listeners.insert(name, listening);
        Ok(SimListener(handle))
    }

    /// Sends the request of a new connection to its listener. It arrives at once for a Unix socket, and later for TCP.
    pub fn start_connect(&mut self, sim: &Sim, key: u32, to: Name) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(&key) else { return Err(errno(libc::ENOTCONN)) };
        let who = conn.who();
        if conn.kind() == Kind::Unix {
            let error = match self.listeners.get(&to) {
                None if self.has_been(&to) => libc::ECONNREFUSED,
                None => libc::ENOENT,
                Some(found) if found.queue.len() > found.backlog => libc::EAGAIN,
                Some(_) => {
                    self.arrive_at_listener(sim, key, &to);
                    return Ok(());
                }
            };
            return Err(errno(error));
        }
        let is_tried = conn.ends[0].is_tried;
        let ways = &["ok", "refused", "unanswered"];
        match if is_tried { sim.choose("connect", who, ways) } else { 0 } {
            1 => {
                conn.abandon(1);
                conn.send(sim, 0, Sent::Refused);
            }
            2 => {
                conn.abandon(1);
                conn.send_within(sim, 0, Sent::Unanswered, UNANSWERED);
            }
            _ => {
                let at = sim.now() + sim.world().latency.get();
                sim.arrive_at(at, Arrival::Connect(key, to));
            }
        }
        Ok(())
    }

    /// Handles the request of a connection that has arrived at its listener.
    pub fn arrive_at_listener(&mut self, sim: &Sim, key: u32, to: &Name) {
        let Some(conn) = self.conns.get_mut(&key) else { return };
        let found = Self::reached(self.listeners.keys(), to).cloned();
        let Some(listening) = found.and_then(|name| self.listeners.get_mut(&name)) else {
            conn.abandon(1);
            return conn.send(sim, 0, Sent::Refused);
        };
        if conn.ends[0].is_closed() {
            return conn.abandon(1);
        }
        if listening.queue.len() > listening.backlog {
            return sim.arrive_at(sim.now() + AGAIN, Arrival::Connect(key, to.clone()));
        }
        listening.queue.push_back(key);
        conn.ends[1].is_tried = listening.is_tried;
        conn.send(sim, 0, Sent::Accepted);
    }

    fn accept(&mut self, sim: &Sim, name: &Name) -> io::Result<SimStream> {
        let listening = self.listeners.get_mut(name).ok_or_else(|| errno(libc::EINVAL))?;
        let Some(&key) = listening.queue.front() else { return Err(errno(libc::EAGAIN)) };
        let ways = &["ok", "EMFILE", "aborted"];
        let way = if listening.is_tried { sim.choose("accept", name.who(), ways) } else { 0 };
        if way == 1 {
            return Err(errno(libc::EMFILE));
        }
        let Some(conn) = self.conns.get_mut(&key) else {
            listening.queue.pop_front();
            return Err(errno(libc::ECONNABORTED));
        };
        if way == 2 {
            listening.queue.pop_front();
            conn.reject(sim);
            return Err(errno(libc::ECONNABORTED));
        }
        let (who, is_tried) = (conn.who(), conn.ends[1].is_tried);
        // If this process has no descriptor left, the connection stays in the queue, as with the system.
        let handle = self.open(File::Stream(key, 1))?;
        if let Some(listening) = self.listeners.get_mut(name) {
            listening.queue.pop_front();
        }
        if is_tried {
            sim.run().mix_number(u64::from(who));
            sim.note(|| format!("accepts {who}"));
        }
        Ok(SimStream::new(handle))
    }

    pub fn close_listener(&mut self, sim: &Sim, name: &Name) {
        let Some(listening) = self.listeners.remove(name) else { return };
        for key in listening.queue {
            if let Some(conn) = self.conns.get_mut(&key) {
                conn.reject(sim);
            }
            self.forget_if_over(key);
        }
    }
}

impl Conn {
    /// Resets a connection that was not accepted.
    fn reject(&mut self, sim: &Sim) {
        self.break_off(sim, 1);
        self.abandon(1);
    }
}

/// A simulated listener, as [`Listener`] has it.
#[derive(Debug)]
pub struct SimListener(Handle);

impl SimListener {
    pub fn accept(&self) -> io::Result<Stream> {
        let stream = self.0.with(|sim, net, file| match file {
            File::Listener(name) => net.accept(sim, name),
            _ => Err(errno(libc::EINVAL)),
        })??;
        Ok(Stream::simulated(stream))
    }

    pub fn set_backlog(&self, connections: u32) -> io::Result<()> {
        self.0.with(|_, net, file| {
            if let File::Listener(name) = file
                && let Some(listening) = net.listeners.get_mut(name)
            {
                listening.backlog = connections as usize;
            }
        })
    }

    pub fn local(&self) -> Address {
        let local = self.0.with(|_, _, file| match file {
            File::Listener(name) => name.address(),
            _ => Address::UNKNOWN,
        });
        local.unwrap_or(Address::UNKNOWN)
    }
}

impl AsFd for SimListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Listens in the current simulation; `None` if there is none.
pub fn listen(address: SocketAddr) -> Option<io::Result<Listener>> {
    world::current().map(|sim| {
        let mut net = sim.world().net.borrow_mut();
        let address = net.bound(address);
        net.listen(&sim, Name::Ip(address)).map(Listener::simulated)
    })
}

/// Listens at a path in the current simulation; `None` if there is none.
pub fn listen_unix(path: &Path) -> Option<io::Result<Listener>> {
    world::current().map(|sim| {
        let mut net = sim.world().net.borrow_mut();
        net.paths.insert(path.to_owned());
        net.listen(&sim, Name::unix(path)).map(Listener::simulated)
    })
}

impl Sim {
    /// Listens at this port of the simulated machine, as [`Listener::bind`] with [`address`](Self::address) does.
    ///
    /// # Errors
    /// Returns an error if the port is taken.
    pub fn listen(&self, port: u16) -> io::Result<Listener> {
        let mut net = self.world().net.borrow_mut();
        let listener = net.listen(self, Name::Ip(self.address(port)))?;
        Ok(Listener::simulated(listener))
    }
}
