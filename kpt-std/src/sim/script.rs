//! What a scripted client does, step by step.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::Duration;

use kpt_core::Instant;

use super::Sim;
use super::conn::Conn;
use super::net::Name;
use super::trace::{SHOWN, Shown};

/// What a test has a client do.
pub type Action = Box<dyn FnOnce(&Sim)>;

pub enum Step {
    Wait(Duration),
    WaitUntil(Instant),
    Connect,
    Send(Vec<u8>),
    Expect(Vec<u8>),
    SkipTo(Vec<u8>),
    ExpectEnd,
    Read(bool),
    Room(usize),
    Shutdown,
    HangUp,
    Reset,
    Call(Action),
}

pub struct Script {
    pub port: u16,
    who: u32,
    pub steps: VecDeque<Step>,
    /// Its connection, of which it has the first end.
    pub conn: Option<u32>,
    has_connected: bool,
    pub unsent: VecDeque<u8>,
    pub received: Vec<u8>,
    /// The number of received bytes that were expected or skipped.
    matched: usize,
    /// The moment until which it only receives; zero for none.
    pub until: Instant,
    reads: bool,
    /// The number of unread bytes that it accepts, if that was set.
    room: Option<usize>,
    pub closed_at: Option<Instant>,
    pub is_broken: bool,
    /// Whether steps were added since its last turn.
    pub has_news: bool,
}

impl Script {
    pub fn new(port: u16, who: u32) -> Self {
        Self {
            port,
            who,
            steps: VecDeque::new(),
            conn: None,
            has_connected: false,
            unsent: VecDeque::new(),
            received: Vec::new(),
            matched: 0,
            until: Instant::ZERO,
            reads: true,
            room: None,
            closed_at: None,
            is_broken: false,
            has_news: true,
        }
    }

    /// Does what can be done now, up to a call, which it returns.
    pub fn go_on(&mut self, sim: &Sim) -> Option<Action> {
        self.pump(sim);
        while self.until == Instant::ZERO && self.unsent.is_empty() {
            match self.steps.pop_front()? {
                Step::Wait(time) => self.until = sim.now() + time,
                Step::WaitUntil(at) if at > sim.now() => self.until = at,
                Step::WaitUntil(_) => {}
                Step::Call(call) => return Some(call),
                Step::Read(reads) => self.reads = reads,
                Step::Room(bytes) => {
                    self.room = Some(bytes);
                    self.with(sim, |_, conn| conn.ends[0].set_room(bytes));
                }
                step => {
                    self.connect(sim);
                    if self.conn.is_none() && !matches!(step, Step::HangUp | Step::Reset) {
                        sim.fail("a client has further steps after it has hung up", self.who);
                        return None;
                    }
                    let step = self.take(sim, step);
                    if let Some(step) = step {
                        self.steps.push_front(step);
                        break;
                    }
                }
            }
            self.pump(sim);
        }
        None
    }

    /// Takes a step. Returns it if it is not done yet.
    fn take(&mut self, sim: &Sim, step: Step) -> Option<Step> {
        match step {
            Step::Send(bytes) => self.unsent.extend(bytes),
            Step::Expect(bytes) => return self.compare(sim, &bytes).then_some(Step::Expect(bytes)),
            Step::ExpectEnd => {
                let more = &self.received[self.matched..];
                if !more.is_empty() {
                    let what = format_args!(
                        "client {}: \"{}\" instead of the end",
                        self.who,
                        more.escape_ascii()
                    );
                    sim.fail("a client gets what it does not expect", what);
                }
                return self.closed_at.is_none().then_some(step);
            }
            Step::SkipTo(bytes) => return (!self.skip_to(&bytes)).then_some(Step::SkipTo(bytes)),
            Step::Shutdown => {
                self.with(sim, |sim, conn| conn.shutdown(sim, 0, Shutdown::Write));
            }
            Step::Reset => {
                self.with(sim, |sim, conn| conn.break_off(sim, 0));
                self.hang_up(sim);
            }
            Step::HangUp => self.hang_up(sim),
            // The other steps need no connection, and are done by the caller.
            _ => {}
        }
        None
    }

    /// Returns whether some of the expected bytes have not come yet.
    fn compare(&mut self, sim: &Sim, bytes: &[u8]) -> bool {
        let found = &self.received[self.matched..];
        let found = &found[..found.len().min(bytes.len())];
        if !bytes.starts_with(found) {
            let (found, bytes) = (found.escape_ascii(), bytes.escape_ascii());
            let what = format_args!("client {}: \"{found}\" instead of \"{bytes}\"", self.who);
            sim.fail("a client gets what it does not expect", what);
        }
        let is_short = found.len() < bytes.len();
        self.matched += if is_short { 0 } else { bytes.len() };
        is_short
    }

    /// Returns whether the bytes have come, and if so skips to their end.
    fn skip_to(&mut self, bytes: &[u8]) -> bool {
        let more = &self.received[self.matched..];
        let found = match bytes.len() {
            0 => Some(0),
            len => more.windows(len).position(|part| part == bytes),
        };
        self.matched += found.map_or(0, |at| at + bytes.len());
        found.is_some()
    }

    fn connect(&mut self, sim: &Sim) {
        if std::mem::replace(&mut self.has_connected, true) {
            return;
        }
        let mut net = sim.world().net.borrow_mut();
        let to = net.at_port(self.port).cloned();
        let is_heard = to.is_some();
        let to = to.unwrap_or(Name::Ip(sim.address(self.port)));
        let key = net.connect(sim, to.clone(), false, Some(self.who));
        if net.start_connect(sim, key, to).is_ok() {
            self.conn = Some(key);
        }
        if let (Some(room), Some(conn)) = (self.room, net.conns.get_mut(&key)) {
            conn.ends[0].set_room(room);
        }
        sim.note(|| {
            let missing = if is_heard { "" } else { ", where no listener is" };
            format!("client {} connects to port {}{missing}", self.who, self.port)
        });
    }

    /// Calls `work` with its connection, if it has one.
    fn with<R>(&self, sim: &Sim, work: impl FnOnce(&Sim, &mut Conn) -> R) -> Option<R> {
        let mut net = sim.world().net.borrow_mut();
        let conn = net.conns.get_mut(&self.conn?)?;
        Some(work(sim, conn))
    }

    /// Sends and receives as much as is possible now.
    fn pump(&mut self, sim: &Sim) {
        let Some(key) = self.conn else { return };
        let mut net = sim.world().net.borrow_mut();
        let Some(conn) = net.conns.get_mut(&key) else { return };
        conn.ends[0].has_changed = false;
        self.is_broken |= conn.ends[0].is_reset(); // Also if it does not read.
        while !self.unsent.is_empty() {
            match conn.write(sim, 0, self.unsent.make_contiguous()) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.is_broken |= error.kind() != ErrorKind::BrokenPipe;
                    self.unsent.clear();
                }
            }
        }
        let mut buffer = [0; 4096];
        while self.reads && self.closed_at.is_none() {
            match conn.read(sim, 0, &mut buffer) {
                Ok(count) if count > 0 => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                result => {
                    self.closed_at = Some(sim.now());
                    self.is_broken |= result.is_err();
                    sim.note(|| match result {
                        Ok(_) => format!("client {} finds the end", self.who),
                        Err(error) => format!("client {}: {error}", self.who),
                    });
                }
            }
        }
    }

    /// Returns what it has not done, unless it has done all.
    pub fn standing(&self) -> Option<String> {
        let step = match self.steps.front() {
            _ if !self.unsent.is_empty() => format!("has not sent {} bytes", self.unsent.len()),
            Some(Step::Expect(bytes)) => format!("expects {:?}", Shown(bytes)),
            Some(Step::SkipTo(bytes)) => format!("skips to {:?}", Shown(bytes)),
            Some(Step::ExpectEnd) => "expects the end".to_owned(),
            Some(_) if self.until > Instant::ZERO => "waits".to_owned(),
            Some(_) => "has not begun".to_owned(),
            None => return None,
        };
        let got = &self.received[self.matched..];
        let last = &got[got.len().saturating_sub(SHOWN)..];
        let more = if last.len() < got.len() { ".." } else { "" };
        Some(format!("client {} {step}, after {more}{:?}", self.who, Shown(last)))
    }

    fn hang_up(&mut self, sim: &Sim) {
        if let Some(key) = self.conn.take() {
            sim.world().net.borrow_mut().close_stream(sim, key, 0);
        }
    }
}
