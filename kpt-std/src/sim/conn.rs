//! Simulated connections, which do what the kernel does, and as deviations what it rarely does.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::time::Duration;

use kpt_core::{Instant, Readiness};

use super::Sim;
use super::net::{Arrival, Name};
use super::trace::Shown;

/// The number of bytes that each end accepts and that were not read, unless another number is set.
const ROOM: usize = 64 * 1024;

/// The ways to decide about a read or write.
const WAYS: &[&str] = &["all", "one-byte", "not-yet", "reset"];
/// The ways to decide about a read or write of a single byte.
const WAYS_OF_ONE: &[&str] = &["all", "not-yet", "reset"];

/// Which kind of socket its ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Unix,
}

/// A connection. Its first end has connected, its second one has been accepted.
#[derive(Debug)]
pub struct Conn {
    key: u32,
    who: u32,
    kind: Kind,
    pub ends: [End; 2],
}

/// An end of a connection.
#[derive(Debug, Default)]
pub struct End {
    /// The bytes that have arrived and were not read.
    input: VecDeque<u8>,
    /// The number of bytes under way to it.
    flying: usize,
    /// The number of arrivals under way to it.
    flights: u32,
    /// When the last one of them arrives.
    last: Instant,
    /// The largest number of bytes in the input and under way.
    room: usize,
    pub is_connecting: bool,
    is_closed: bool,
    /// Whether nothing but the input can be read any more, and whether nothing can be written.
    is_read_shut: bool,
    is_write_shut: bool,
    /// Whether the other side has shut down its sending direction.
    has_ended: bool,
    /// Whether the connection is broken, or was never made.
    is_broken: bool,
    error: Option<i32>,
    /// Whether its calls may deviate: it is an end of the application.
    pub is_tried: bool,
    /// Whether something has happened to it since its client last looked.
    pub has_changed: bool,
    pub name: Option<Name>,
}

/// What one side sends to the other.
#[derive(Debug)]
pub enum Sent {
    Bytes(Vec<u8>),
    /// No more will come.
    End,
    Reset,
    Accepted,
    Refused,
    /// There was no answer.
    Unanswered,
}

/// The system's part.
impl Conn {
    pub fn new(key: u32, who: u32, kind: Kind) -> Self {
        let end = || End { room: ROOM, ..End::default() };
        Self { key, who, kind, ends: [end(), end()] }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn who(&self) -> u32 {
        self.who
    }

    /// Returns whether both ends are closed, and nothing is under way.
    pub fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.is_closed && end.flights == 0)
    }

    /// Returns what `EpollPoller` finds on an end.
    pub fn readiness(&self, side: usize) -> Readiness {
        let (end, other) = (&self.ends[side], &self.ends[1 - side]);
        if end.is_connecting {
            return Readiness::NONE;
        }
        let mut found = Readiness::NONE;
        if !end.input.is_empty() || end.is_read_shut {
            found = found | Readiness::READABLE;
        }
        // As with the system: writable only when a third (TCP) or three quarters (Unix) of the room is free.
        let used = other.input.len() + other.flying;
        let is_writable = match self.kind {
            Kind::Tcp => {
                end.is_write_shut || used.saturating_mul(3) <= other.room.saturating_mul(2)
            }
            Kind::Unix => used.saturating_mul(4) <= other.room,
        };
        if is_writable {
            found = found | Readiness::WRITABLE;
        }
        if end.is_read_shut && end.is_write_shut {
            found = found | Readiness::READABLE | Readiness::HANGUP;
        }
        if end.error.is_some() {
            found = found | Readiness::READABLE | Readiness::WRITABLE | Readiness::ERROR;
        }
        found
    }

    pub fn take_error(&mut self, side: usize) -> Option<i32> {
        self.ends[side].error.take()
    }

    /// Returns whether the address of the other end is known.
    pub fn is_connected(&self, side: usize) -> bool {
        let end = &self.ends[side];
        let is_over =
            self.kind == Kind::Tcp && (end.is_broken || (end.has_ended && end.is_write_shut));
        !end.is_connecting && !is_over
    }

    pub fn read(&mut self, sim: &Sim, side: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let who = self.who;
        let end = &mut self.ends[side];
        if end.input.is_empty() {
            return end.read_nothing();
        }
        let mut count = buffer.len().min(end.input.len());
        if count == 0 {
            return Ok(0);
        }
        match end.decide(sim, "read", who, count) {
            "one-byte" => count = 1,
            "not-yet" => return Err(errno(libc::EAGAIN)),
            "reset" => {
                end.input.clear();
                self.break_off(sim, side);
                return Err(errno(libc::ECONNRESET));
            }
            _ => {}
        }
        let end = &mut self.ends[side];
        for (to, from) in buffer.iter_mut().zip(end.input.drain(..count)) {
            *to = from;
        }
        let is_tried = end.is_tried;
        self.ends[1 - side].has_changed = true;
        if is_tried {
            told(sim, "reads from", who, &buffer[..count]);
        }
        Ok(count)
    }

    pub fn write(&mut self, sim: &Sim, side: usize, bytes: &[u8]) -> io::Result<usize> {
        let who = self.who;
        let (used, room, is_gone) = {
            let other = &self.ends[1 - side];
            let is_gone = other.is_closed || other.is_read_shut;
            (other.input.len() + other.flying, other.room, is_gone)
        };
        let end = &mut self.ends[side];
        end.check_write(self.kind)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.kind == Kind::Unix && is_gone {
            return Err(errno(libc::EPIPE));
        }
        let mut count = bytes.len().min(room.saturating_sub(used));
        if count == 0 {
            return Err(errno(libc::EAGAIN));
        }
        match end.decide(sim, "write", who, count) {
            "one-byte" => count = 1,
            "not-yet" => return Err(errno(libc::EAGAIN)),
            "reset" => {
                self.break_off(sim, side);
                return Err(errno(libc::ECONNRESET));
            }
            _ => {}
        }
        if self.ends[side].is_tried {
            told(sim, "writes to", who, &bytes[..count]);
        }
        self.ends[1 - side].flying += count;
        self.send(sim, 1 - side, Sent::Bytes(bytes[..count].to_vec()));
        Ok(count)
    }

    pub fn shutdown(&mut self, sim: &Sim, side: usize, how: Shutdown) -> io::Result<()> {
        if self.kind == Kind::Tcp && !self.is_connected(side) {
            return Err(errno(libc::ENOTCONN));
        }
        let (reads, writes) = (how != Shutdown::Write, how != Shutdown::Read);
        let was_shut = self.ends[side].is_write_shut;
        self.ends[side].is_read_shut |= reads;
        self.ends[side].is_write_shut |= writes;
        if reads && self.kind == Kind::Unix {
            self.ends[1 - side].is_write_shut = true;
            self.ends[1 - side].has_changed = true;
        }
        if writes && !was_shut {
            self.send(sim, 1 - side, Sent::End);
        }
        Ok(())
    }

    pub fn close(&mut self, sim: &Sim, side: usize) {
        let end = &mut self.ends[side];
        if std::mem::replace(&mut end.is_closed, true) {
            return;
        }
        let (has_unread, was_shut) = (!end.input.is_empty(), end.is_write_shut);
        let is_broken = end.is_broken || end.is_connecting;
        end.input.clear();
        (end.is_read_shut, end.is_write_shut) = (true, true);
        match self.kind {
            Kind::Tcp if is_broken => {}
            Kind::Tcp if has_unread => self.send(sim, 1 - side, Sent::Reset),
            Kind::Tcp if !was_shut => self.send(sim, 1 - side, Sent::End),
            Kind::Tcp => {}
            Kind::Unix => {
                let other = &mut self.ends[1 - side];
                other.is_write_shut = true;
                other.has_changed = true;
                if has_unread {
                    other.error = Some(libc::ECONNRESET);
                }
                if !was_shut {
                    self.send(sim, 1 - side, Sent::End);
                }
            }
        }
    }

    /// Breaks the connection: at once on this side, and by a reset on the other one.
    pub fn break_off(&mut self, sim: &Sim, side: usize) {
        self.ends[side].break_now(None);
        if !self.ends[1 - side].is_closed {
            self.send(sim, 1 - side, Sent::Reset);
        }
    }

    /// Closes an end that has no owner.
    pub fn abandon(&mut self, side: usize) {
        self.ends[side].is_closed = true;
        self.ends[side].input.clear();
    }

    /// Sends something to an end. It arrives after what was sent to it before.
    pub fn send(&mut self, sim: &Sim, to: usize, sent: Sent) {
        let world = sim.world();
        let mut delay = if self.kind == Kind::Tcp { world.latency.get() } else { Duration::ZERO };
        let is_asked = self.ends[to].is_tried && matches!(sent, Sent::Bytes(_) | Sent::End);
        if is_asked && sim.choose("arrives", self.who, &["on-time", "late"]) == 1 {
            delay += world.late.get();
        }
        self.send_within(sim, to, sent, delay);
    }

    pub fn send_within(&mut self, sim: &Sim, to: usize, sent: Sent, delay: Duration) {
        let end = &mut self.ends[to];
        let at = (sim.now() + delay).max(end.last);
        end.last = at;
        end.flights += 1;
        if at <= sim.now() && end.flights == 1 {
            return self.arrive(sim, to, sent);
        }
        sim.arrive_at(at, Arrival::Sent(self.key, to, sent));
    }

    pub fn arrive(&mut self, sim: &Sim, side: usize, sent: Sent) {
        let kind = self.kind;
        let end = &mut self.ends[side];
        end.flights -= 1;
        end.has_changed = true;
        match sent {
            Sent::Bytes(bytes) => {
                end.flying -= bytes.len();
                if end.is_deaf(kind) {
                    if !end.is_closed {
                        end.break_now(Some(libc::ECONNRESET));
                    }
                    self.send(sim, 1 - side, Sent::Reset);
                } else if !end.is_closed && !end.is_broken {
                    end.input.extend(bytes);
                }
            }
            Sent::End => (end.has_ended, end.is_read_shut) = (true, true),
            Sent::Reset if kind == Kind::Tcp && end.has_ended && end.is_write_shut => {}
            Sent::Reset => {
                let error = if end.has_ended { libc::EPIPE } else { libc::ECONNRESET };
                end.break_now(Some(error));
            }
            Sent::Accepted if end.is_closed => self.send(sim, 1 - side, Sent::Reset),
            Sent::Accepted => end.is_connecting = false,
            Sent::Refused => end.break_now(Some(libc::ECONNREFUSED)),
            Sent::Unanswered => end.break_now(Some(libc::ETIMEDOUT)),
        }
    }
}

impl End {
    /// Returns whether what is sent to it is answered with a reset.
    fn is_deaf(&self, kind: Kind) -> bool {
        let is_shut = self.is_read_shut && self.is_write_shut && !self.has_ended;
        kind == Kind::Tcp && !self.is_broken && (self.is_closed || is_shut)
    }

    /// Returns what a read returns when nothing has arrived.
    fn read_nothing(&mut self) -> io::Result<usize> {
        if self.has_ended && self.error != Some(libc::ECONNRESET) {
            return Ok(0);
        }
        if let Some(error) = self.error.take() {
            return Err(errno(error));
        }
        if self.is_read_shut { Ok(0) } else { Err(errno(libc::EAGAIN)) }
    }

    /// Returns why nothing can be written any more, or yet.
    fn check_write(&mut self, kind: Kind) -> io::Result<()> {
        if self.is_connecting {
            return Err(errno(libc::EAGAIN));
        }
        if kind == Kind::Tcp && (self.error.is_some() || self.is_write_shut) {
            return Err(errno(self.error.take().unwrap_or(libc::EPIPE)));
        }
        if self.is_write_shut { Err(errno(libc::EPIPE)) } else { Ok(()) }
    }

    /// Decides about a read or write of `count` bytes.
    fn decide(&self, sim: &Sim, site: &'static str, who: u32, count: usize) -> &'static str {
        if !self.is_tried {
            return WAYS[0];
        }
        let ways = if count > 1 { WAYS } else { WAYS_OF_ONE };
        ways.get(sim.choose(site, who, ways)).copied().unwrap_or(WAYS[0])
    }

    fn break_now(&mut self, error: Option<i32>) {
        self.error = error;
        self.is_connecting = false;
        (self.is_broken, self.is_read_shut, self.is_write_shut) = (true, true, true);
        self.has_changed = true;
    }

    /// Returns whether it was reset or refused, and not ended by the other side before.
    pub fn is_reset(&self) -> bool {
        self.is_broken && !self.has_ended
    }

    pub fn set_room(&mut self, bytes: usize) {
        self.room = bytes;
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed
    }
}

/// Notes what was read or written.
fn told(sim: &Sim, what: &str, who: u32, bytes: &[u8]) {
    sim.run().mix(bytes);
    sim.note(|| format!("{what} {who}: {:?}", Shown(bytes)));
}

pub fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}
