//! The server: its state, and its hooks.
//!
//! | thread | waits for | does |
//! |---|---|---|
//! | requests | the well-known port | begins a session, on a socket of its own |
//! | session | packets of a client | one step of its transfer |
//! | timer of a session | its deadline | sends again, or gives up |

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use kpt_std::{AddError, Address, Datagram, Thread, Threads, When, source};

use crate::folder::{Refusal, Store};
use crate::options::Options;
use crate::packet::{Code, LARGEST_BLOCK, Mode, Packet, Request};
use crate::session::{BUFFER_BYTES, Session};
use crate::transfer::{End, Rules, Timing, Transfer};

/// The threads of one session: its reader, and its timer.
pub const THREADS_PER_SESSION: usize = 2;

/// The configuration of a server.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The largest block that it agrees on.
    pub largest_block: u16,
    /// When to send again, unless a client asks for another timeout.
    pub timing: Timing,
    /// The rules of RFC 1123, or those of RFC 783.
    pub rules: Rules,
    /// The most transfers at a time.
    pub most_sessions: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            largest_block: LARGEST_BLOCK as u16,
            timing: Timing::default(),
            rules: Rules::default(),
            most_sessions: 100,
        }
    }
}

/// A transfer that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The client.
    pub client: SocketAddr,
    /// The file, as the client names it.
    pub name: String,
    /// Whether the client has sent the file.
    pub is_write: bool,
    /// The bytes of its blocks, each counted once.
    pub bytes: u64,
    /// The blocks that were sent, with those that were sent again.
    pub blocks_sent: u64,
    /// How it has ended.
    pub end: End,
}

/// What a server needs of the world around it.
pub struct World {
    /// Where requests come in.
    pub socket: Datagram,
    /// Opens a socket for a transfer, at a port that is free.
    pub open: Box<dyn FnMut() -> io::Result<Datagram>>,
    /// The files.
    pub store: Box<dyn Store>,
    /// Is told of each transfer that has ended.
    pub report: Box<dyn FnMut(Ended)>,
}

/// The state of a server.
pub struct Server {
    world: World,
    config: Config,
    /// By a number that is the argument of their threads.
    sessions: BTreeMap<u32, (Session, Named)>,
    next: u32,
    buffer: Vec<u8>,
}

/// What a session is about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    name: Vec<u8>,
    is_write: bool,
}

type ServerThread<'t> = Thread<'t, Server, u32>;
type ServerThreads<'t> = Threads<'t, Server, u32>;

impl Server {
    /// Creates a server without transfers.
    pub fn new(world: World, config: Config) -> Self {
        let buffer = vec![0; BUFFER_BYTES];
        Self { world, config, sessions: BTreeMap::new(), next: 0, buffer }
    }

    /// Adds the thread of requests.
    ///
    /// # Errors
    /// Returns that of the loop if it has no room.
    pub fn add_threads(&mut self, mut threads: ServerThreads) -> Result<(), AddError<u32>> {
        threads.add_read("requests", source(&self.world.socket), Self::on_request, 0)?;
        Ok(())
    }

    /// Returns the address at which requests come in.
    pub fn address(&self) -> Address {
        self.world.socket.local()
    }

    /// Returns how many transfers there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn on_request(&mut self, mut thread: ServerThread) {
        let mut buffer = std::mem::take(&mut self.buffer);
        // An error is that of a datagram, which is as if it had been lost.
        if let Ok((count, from)) = self.world.socket.recv_from(&mut buffer)
            && let Some(client) = from.ip()
            // Only requests are answered here.
            && let Ok(Packet::Request(request)) = Packet::parse(&buffer[..count])
            && let Err((code, text)) = self.begin(&request, client, thread.threads())
        {
            let refusal = Packet::error(code, text).to_bytes();
            let _ = self.world.socket.send_to(&refusal, &from);
        }
        self.buffer = buffer;
        thread.again();
    }

    fn begin(
        &mut self,
        request: &Request,
        client: SocketAddr,
        mut threads: ServerThreads,
    ) -> Result<(), Refusal> {
        let named = Named { name: request.name.to_vec(), is_write: request.is_write };
        let is_same = |(session, of): &(Session, Named)| {
            session.peer() == client && *of == named && session.transfer().is_unanswered()
        };
        if self.sessions.values().any(is_same) {
            return Ok(()); // It came twice. The answer is on its way, or is sent again.
        }
        if request.mode == Mode::Other {
            return Err((Code::Illegal, "the mode is neither octet nor netascii"));
        }
        if self.sessions.len() >= self.config.most_sessions
            || threads.vacant() < THREADS_PER_SESSION
        {
            return Err((Code::Other, "too many transfers, try again later"));
        }
        let (content, size) = if request.is_write {
            let size = request.options.size;
            (self.world.store.write(request.name, request.mode, size)?, size)
        } else {
            self.world.store.read(request.name, request.mode)?
        };
        let accepted = self.accept(&request.options, size);
        let socket = (self.world.open)().map_err(|_| (Code::Other, "no socket left"))?;
        let Config { timing, rules, .. } = self.config;
        let transfer = Transfer::answer(request, &accepted, timing, rules);
        let mut session = Session::to_client(socket, client, transfer, content);

        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let end = session.begin(threads.now());
        if let Some(end) = end {
            self.report(session, &named, end);
            return Ok(());
        }
        let deadline = When::At(session.transfer().deadline());
        let is_added = threads.add_read("session", session.source(), Self::on_packet, number);
        is_added.map_err(|_| (Code::Other, "no room for a transfer"))?;
        session.timer = threads.add("timer of a session", deadline, Self::on_time, number).ok();
        self.sessions.insert(number, (session, named));
        Ok(())
    }

    /// Returns the options that are agreed on.
    fn accept(&self, asked: &Options, size: Option<u64>) -> Options {
        Options {
            block_size: asked.block_size.map(|size| size.min(self.config.largest_block)),
            timeout: asked.timeout,
            // curl fails if it gets a size of 0.
            size: asked.size.and(size).filter(|&size| size > 0),
            has_others: false,
        }
    }

    fn on_packet(&mut self, mut thread: ServerThread) {
        let number = thread.arg;
        let now = thread.threads().now();
        let Some((session, _)) = self.sessions.get_mut(&number) else { return };
        match session.on_readable(&mut self.buffer, now) {
            None => {
                let deadline = When::At(session.transfer().deadline());
                if let Some(timer) = session.timer {
                    let _ = thread.threads().reschedule(timer, deadline);
                }
                thread.again();
            }
            Some(end) => self.end(number, end, thread.threads()),
        }
    }

    fn on_time(&mut self, mut thread: ServerThread) {
        let number = thread.arg;
        let now = thread.threads().now();
        let Some((session, _)) = self.sessions.get_mut(&number) else { return };
        match session.on_time(now) {
            None => {
                let deadline = When::At(session.transfer().deadline());
                let _ = thread.again_when(deadline); // A timer is never refused.
            }
            Some(end) => self.end(number, end, thread.threads()),
        }
    }

    fn end(&mut self, number: u32, end: End, mut threads: ServerThreads) {
        let Some((session, named)) = self.sessions.remove(&number) else { return };
        threads.cancel_source(session.source());
        if let Some(timer) = session.timer {
            let _ = threads.cancel(timer); // It may be the one that runs.
        }
        self.report(session, &named, end);
    }

    fn report(&mut self, session: Session, named: &Named, end: End) {
        let ended = Ended {
            client: session.peer(),
            name: named.name.escape_ascii().to_string(),
            is_write: named.is_write,
            bytes: session.transfer().bytes(),
            blocks_sent: session.transfer().blocks_sent(),
            end,
        };
        drop(session); // Removes a file that is not complete, before the report.
        (self.world.report)(ended);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}
