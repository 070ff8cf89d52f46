//! A TCP server that sends back what it receives, to thousands of clients, in one OS thread and bounded memory.
//!
//! Each client is one pseudo thread, which owns the client as its argument. It waits for the client to be readable, or,
//! while it holds bytes that the client has not taken back yet, to be writable. So a client that sends without
//! receiving is not read from, and the memory for it stays one buffer.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::time::Duration;

use kpt_examples::Args;
use kpt_std::{EventLoop, Instant, Kind, Signal, Signals, Thread, Threads, When, source};

const HELP: &str = "
Sends back to TCP clients what they send. Ends on SIGINT and SIGTERM.

Usage: echo [options]
    --port N     the port on 127.0.0.1 to listen on; 0 takes a free one (0)
    --clients N  how many clients may be connected at once (10000)

Each client takes a file descriptor. The loop can watch as many as the soft
limit allows when the program starts, also more than 1024; raise the limit with
'ulimit -n' before. While there are too many clients, new ones wait.";

const BUFFER_BYTES: usize = 16 * 1024;
/// How many clients are accepted before the others get their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// The pause after an accept that failed. The client is still there, so without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const STATISTICS_PERIOD: Duration = Duration::from_secs(5);
/// The threads that are no clients: accept, statistics, signal.
const OTHER_THREADS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new(HELP);
    let port = args.number("--port", 0, 0..=u16::MAX);
    let clients = args.number("--clients", 10_000, 1..=1_000_000);
    args.finish();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let signals = Signals::new(&[Signal::INT, Signal::TERM])?;
    say(format_args!("listening on {}", listener.local_addr()?));

    let mut kpt = EventLoop::with_capacity(clients + OTHER_THREADS)?;
    let mut threads = kpt.threads();
    let accept = source(&listener);
    let mut server = Server { listener, statistics: Statistics::new(threads.now()) };
    threads.add_read("accept", accept, Server::on_connection, None)?;
    threads.add_timer("statistics", STATISTICS_PERIOD, Server::on_statistics, None)?;
    threads.add_read("signal", source(&signals), Server::on_signal, None)?;

    kpt.run(&mut server)?;
    server.statistics.say(kpt.threads().now());
    Ok(())
}

/// Only the threads of clients have an argument: each owns its client.
type ServerThread<'t> = Thread<'t, Server, Option<Client>>;

struct Server {
    listener: TcpListener,
    statistics: Statistics,
}

/// The hooks.
impl Server {
    fn on_connection(&mut self, mut thread: ServerThread) {
        let when = match self.accept_some(thread.threads()) {
            Ok(()) => When::Readable(source(&self.listener)),
            Err(error) => {
                // Said once, not after each pause.
                if thread.kind() == Kind::Read {
                    eprintln!("no more clients for now: {error}");
                }
                When::After(ACCEPT_PAUSE)
            }
        };
        if let Err(error) = thread.again_when(when) {
            eprintln!("no more clients: {error}");
        }
    }

    fn on_client(&mut self, mut thread: ServerThread) {
        // An error is a client that the loop can't watch. Waiting for it once more would be spinning.
        let is_watched = !thread.readiness().is_error();
        let wanted = match &mut thread.arg {
            Some(client) if is_watched => client.echo(&mut self.statistics.echoed_bytes),
            _ => Ok(None),
        };
        let goes_on = match wanted {
            Ok(Some(when)) if when.kind() == thread.kind() => thread.try_again().is_ok(),
            Ok(Some(when)) => thread.again_when(when).is_ok(),
            Ok(None) | Err(_) => {
                thread.end();
                false
            }
        };
        self.statistics.gone += u64::from(!goes_on);
    }

    fn on_statistics(&mut self, mut thread: ServerThread) {
        self.statistics.say(thread.threads().now());
        thread.again();
    }

    fn on_signal(&mut self, mut thread: ServerThread) {
        thread.threads().stop();
    }
}

impl Server {
    fn accept_some(&mut self, mut threads: Threads<Self, Option<Client>>) -> io::Result<()> {
        for _ in 0..ACCEPTS_PER_TURN {
            if threads.len() == threads.capacity() {
                return Err(io::Error::other("there are as many as --clients allows"));
            }
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let Ok(client) = Client::new(stream) else { continue }; // It has gone already.
            threads
                .add_read("client", source(&client.stream), Self::on_client, Some(client))
                .map_err(io::Error::other)?;
            self.statistics.accepted += 1;
        }
        Ok(())
    }
}

struct Client {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// What of the buffer has been received and not sent back.
    unsent: Range<usize>,
}

impl Client {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES].into(), unsent: 0..0 })
    }

    /// Receives if there is room, sends back what there is, and says what to wait for; `None` if the client has
    /// hung up.
    fn echo(&mut self, echoed_bytes: &mut u64) -> io::Result<Option<When>> {
        if self.unsent.is_empty() {
            match unless_blocked(self.stream.read(&mut self.buffer))? {
                Some(0) => return Ok(None),
                received => self.unsent = 0..received.unwrap_or(0),
            }
        }
        if !self.unsent.is_empty() {
            let unsent = &self.buffer[self.unsent.clone()];
            let sent = unless_blocked(self.stream.write(unsent))?.unwrap_or(0);
            self.unsent.start += sent;
            *echoed_bytes += sent as u64;
        }
        let stream = source(&self.stream);
        let is_done = self.unsent.is_empty();
        Ok(Some(if is_done { When::Readable(stream) } else { When::Writable(stream) }))
    }
}

/// `None` if it was the wrong moment to read or write.
fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

struct Statistics {
    accepted: u64,
    gone: u64,
    echoed_bytes: u64,
    /// The last time that somebody was told, and the bytes by then.
    told: (Instant, u64),
}

impl Statistics {
    fn new(now: Instant) -> Self {
        Self { accepted: 0, gone: 0, echoed_bytes: 0, told: (now, 0) }
    }

    fn say(&mut self, now: Instant) {
        let (told_at, told_bytes) = self.told;
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let seconds = now.saturating_duration_since(told_at).as_secs_f64();
        say(format_args!(
            "clients {} of {}, echoed {:.1} MB, {:.1} MB/s",
            self.accepted - self.gone,
            self.accepted,
            megabytes(self.echoed_bytes),
            megabytes(self.echoed_bytes - told_bytes) / seconds,
        ));
        self.told = (now, self.echoed_bytes);
    }
}

/// Prints a line at once, also into a pipe. Whoever reads it may go away, and the server goes on.
fn say(line: impl Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
