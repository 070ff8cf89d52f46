//! A client: its connection, the received bytes that are not a whole request yet, and the replies that are unsent.

use std::io::{self, ErrorKind, Read, Write};

use kpt_std::{Address, Instant, Interest, Source, Stream, ThreadId, source};

use crate::planted::{self, Fault};
use crate::request::Parser;

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Never used twice, other than its number among the clients.
    pub id: u64,
    pub address: Address,
    pub name: Box<[u8]>,
    pub since: Instant,
    pub last_active: Instant,
    pub last_command: &'static str,
    /// Its thread, what that waits for, and the timer of its idle time, if there is a limit.
    pub thread: Option<ThreadId>,
    pub waits_for: Interest,
    pub idle: Option<ThreadId>,
    /// Whether nothing that it sends is read any more. It leaves when it has all replies.
    pub is_leaving: bool,
    pub parser: Parser,
    /// The beginning of a request.
    pub unread: Vec<u8>,
    /// Replies that it has not taken, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    stream: Stream,
    /// What `memory` returned when it was last counted.
    pub counted: usize,
}

/// Why a client leaves.
#[derive(Debug)]
pub enum Leaving {
    HungUp,
    Asked,
    Killed,
    Idle,
    /// It has more than this number of bytes of unsent replies.
    TooSlow(usize),
    /// It sends a request of more than this number of bytes.
    TooLong(usize),
    Broken(io::Error),
}

impl Client {
    pub fn new(id: u64, stream: Stream, now: Instant) -> Self {
        Self {
            id,
            address: stream.peer(),
            name: Box::default(),
            since: now,
            last_active: now,
            last_command: "NULL",
            thread: None,
            waits_for: Interest::READABLE,
            idle: None,
            is_leaving: false,
            parser: Parser::default(),
            unread: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
            stream,
            counted: 0,
        }
    }

    pub fn source(&self) -> Source {
        source(&self.stream)
    }

    /// Reads once. Returns the number of bytes, or `None` if there are none now. A client that sends no more leaves when it
    /// has all replies.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Leaving> {
        match unless_blocked(self.stream.read(buffer)) {
            Ok(Some(0)) if self.unsent.is_empty() => Err(Leaving::HungUp),
            Ok(Some(0)) if self.sent > 0 && planted::has(Fault::HalfCloseIsEnd) => {
                Err(Leaving::HungUp)
            }
            Ok(Some(0)) => {
                self.is_leaving = true;
                Ok(None)
            }
            Ok(count) => Ok(count),
            Err(error) => Err(Leaving::Broken(error)),
        }
    }

    /// Sends replies after those that are unsent, and keeps what the system does not accept.
    pub fn send(&mut self, replies: &[u8]) -> Result<(), Leaving> {
        let mut rest = replies;
        let is_next = self.unsent.is_empty() || planted::has(Fault::Reordered);
        if is_next && !rest.is_empty() {
            let taken = unless_blocked(self.stream.write(rest)).map_err(Leaving::Broken)?;
            rest = &rest[taken.unwrap_or(0)..];
        }
        self.unsent.extend_from_slice(rest);
        Ok(())
    }

    /// Sends as much of the unsent replies as the system accepts.
    pub fn send_rest(&mut self) -> Result<(), Leaving> {
        let rest = &self.unsent[self.sent..];
        let taken = unless_blocked(self.stream.write(rest)).map_err(Leaving::Broken)?;
        self.sent += taken.unwrap_or(0);
        if self.sent == self.unsent.len() {
            (self.unsent, self.sent) = (Vec::new(), 0);
        } else if self.sent > self.unsent.len() / 2 {
            self.unsent.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    /// Returns an error if the client is leaving and has all replies.
    pub fn check_leaving(&self) -> Result<(), Leaving> {
        if self.is_leaving && self.unsent.is_empty() { Err(Leaving::Asked) } else { Ok(()) }
    }

    /// Returns what to wait for.
    pub fn wants(&self) -> Interest {
        match (self.is_leaving, self.unsent.is_empty()) {
            (true, _) => Interest::WRITABLE,
            (false, false) if planted::has(Fault::LostWakeUp) => Interest::READABLE,
            (false, false) => Interest::BOTH,
            (false, true) => Interest::READABLE,
        }
    }

    /// Returns how many bytes of replies it may get, of which `limit` may be unsent.
    pub fn room(&self, limit: usize) -> usize {
        if planted::has(Fault::OutputUnbounded) {
            return usize::MAX;
        }
        limit.saturating_sub(self.unsent_bytes())
    }

    pub fn unsent_bytes(&self) -> usize {
        self.unsent.len() - self.sent
    }

    pub fn unread_bytes(&self) -> usize {
        self.unread.len()
    }

    /// Returns the memory of its buffers, in bytes.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.unread.capacity()
            + self.unsent.capacity()
            + self.parser.memory()
            + self.name.len()
    }
}

/// Returns `None` if the call would have blocked, or was interrupted.
pub fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

/// All clients, each with a number that its threads have as their argument.
#[derive(Debug, Default)]
pub struct Clients {
    places: Vec<Option<Client>>,
    vacant: Vec<u32>,
}

impl Clients {
    pub fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    pub fn insert(&mut self, client: Client) -> u32 {
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.places.push(None);
            (self.places.len() - 1) as u32
        });
        self.places[number as usize] = Some(client);
        number
    }

    /// Returns the client of a thread, or of a command that it has sent.
    ///
    /// # Panics
    /// If it has left: its threads end before it does.
    pub fn get_mut(&mut self, number: u32) -> &mut Client {
        self.places[number as usize].as_mut().expect("a client that has threads")
    }

    pub fn remove(&mut self, number: u32) -> Option<Client> {
        let client = self.places.get_mut(number as usize)?.take()?;
        self.give_back(number);
        Some(client)
    }

    pub fn give_back(&mut self, number: u32) {
        self.vacant.push(number);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.places.iter().flatten()
    }

    /// Returns the numbers of those for whom `is_meant` holds.
    pub fn numbers(&self, is_meant: impl Fn(&Client) -> bool) -> Vec<u32> {
        let all = self.places.iter().enumerate();
        let meant = all.filter(|(_, client)| client.as_ref().is_some_and(&is_meant));
        meant.map(|(number, _)| number as u32).collect()
    }
}
