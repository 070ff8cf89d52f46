//! A TCP server that sends back what it receives, to thousands of clients, in one OS thread and bounded memory.
//!
//! Each client is one pseudo thread, which owns the client as its argument. It waits for the client to be readable, and,
//! while it holds bytes that the client has not taken back yet, to be writable. A client that sends without receiving is
//! not read from once half of its output is taken, so its memory is bounded.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use kpt_examples::Args;
use kpt_std::{
    BufferedStream, EventLoop, Instant, Listener, Signal, Signals, Thread, Threads, When, source,
};

const HELP: &str = "
Sends back to TCP clients what they send. Ends on SIGINT and SIGTERM.

Usage: echo [options]
    --port N     the port on 127.0.0.1 to listen on; 0 takes a free one (0)
    --clients N  how many clients may be connected at once (10000)

Each client takes a file descriptor. The loop can watch as many as the soft
limit allows when the program starts, also more than 1024; raise the limit with
'ulimit -n' before. While there are too many clients, new ones wait.";

const BUFFER_BYTES: usize = 16 * 1024;
const STATISTICS_PERIOD: Duration = Duration::from_secs(5);
/// The threads that are no clients: accept, statistics, signal.
const OTHER_THREADS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new(HELP);
    let port = args.number("--port", 0, 0..=u16::MAX);
    let clients = args.number("--clients", 10_000, 1..=1_000_000);
    args.finish();

    let listener = Listener::bind((Ipv4Addr::LOCALHOST, port))?;
    let mut kpt = EventLoop::with_capacity(clients + OTHER_THREADS)?;
    let mut server = Server::start(listener, kpt.threads())?;
    say(format_args!("listening on {}", server.listener.local()));
    kpt.run(&mut server)?;
    server.statistics.say(kpt.threads().now());
    Ok(())
}

/// Only the threads of clients have an argument: each owns its client.
type ServerThread<'t> = Thread<'t, Server, Option<BufferedStream>>;

struct Server {
    listener: Listener,
    signals: Signals,
    statistics: Statistics,
}

impl Server {
    fn start(
        listener: Listener,
        mut threads: Threads<Self, Option<BufferedStream>>,
    ) -> Result<Self, Box<dyn Error>> {
        let signals = Signals::new(&[Signal::INT, Signal::TERM])?;
        threads.add("accept", listener.when(), Self::on_connection, None)?;
        threads.add_timer("statistics", STATISTICS_PERIOD, Self::on_statistics, None)?;
        threads.add_read("signal", source(&signals), Self::on_signal, None)?;
        Ok(Self { listener, signals, statistics: Statistics::new(threads.now()) })
    }
}

/// The hooks.
impl Server {
    fn on_connection(&mut self, mut thread: ServerThread) {
        let mut threads = thread.threads();
        loop {
            if threads.vacant() == 0 {
                break self.listener.pause(); // For as long as --clients allows no more.
            }
            match self.listener.accept() {
                Ok(Some(stream)) => {
                    let _ = stream.set_nodelay(true);
                    let client = BufferedStream::new(stream, BUFFER_BYTES, 2 * BUFFER_BYTES);
                    let when = When::Readable(source(&client));
                    self.statistics.accepted += 1;
                    if threads.add("client", when, Self::on_client, Some(client)).is_err() {
                        self.statistics.gone += 1;
                    }
                }
                Ok(None) => break,
                Err(error) => eprintln!("no more clients for now: {error}"),
            }
        }
        if let Err(error) = thread.again_when(self.listener.when()) {
            eprintln!("no more clients: {error}");
        }
    }

    fn on_client(&mut self, mut thread: ServerThread) {
        // An error is a client that the loop can't watch. Waiting for it once more would be spinning.
        let is_watched = !thread.readiness().is_error();
        let Some(client) = &mut thread.arg else { return };
        let echoed = echo(client, &mut self.statistics.echoed_bytes);
        let (source, wants) = (source(client), client.wants());
        let goes_on = echoed.is_ok() && is_watched && !wants.is_none();
        if !goes_on || thread.again_when(When::Ready(source, wants)).is_err() {
            self.statistics.gone += 1;
        }
    }

    fn on_statistics(&mut self, mut thread: ServerThread) {
        self.statistics.say(thread.threads().now());
        thread.again();
    }

    fn on_signal(&mut self, mut thread: ServerThread) {
        match self.signals.take() {
            Some(_) => thread.threads().stop(),
            None => thread.again(),
        }
    }
}

/// Receives while there is room, and sends it back.
fn echo(client: &mut BufferedStream, echoed_bytes: &mut u64) -> io::Result<()> {
    client.fill()?;
    let (input, output) = client.input_and_output();
    let count = input.len();
    output.queue(input)?; // There is room for it: with its output half full, a stream does not read.
    client.consume(count);
    let before = client.unsent();
    client.flush()?;
    *echoed_bytes += (before - client.unsent()) as u64;
    Ok(())
}

struct Statistics {
    accepted: u64,
    gone: u64,
    echoed_bytes: u64,
    /// The time of the last report, and the bytes by then.
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

#[cfg(test)]
mod tests {
    use super::*;
    use kpt_std::sim::{Limits, Sim, TestResult, check};
    use kpt_std::{Builder, Exit};

    /// One client does not read for a while, another sends more than the buffers hold, and one has no room at first.
    fn clients(sim: &Sim) -> TestResult {
        let text = "0123456789abcdef".repeat(100);
        let slow = sim.client(7).room(700).pause_reading().send(&text).shut_down();
        let slow = slow.wait(Duration::from_secs(1)).resume_reading().expect(&text).expect_end();
        let other = sim.client(7).send("a").expect("a").send("b").expect("b").hang_up();
        let late = sim.client(7).wait(Duration::from_secs(2)).send("c").expect("c").hang_up();
        sim.after(Duration::from_secs(9), |sim| sim.signal(Signal::TERM));

        let mut kpt = Builder::new().threads(OTHER_THREADS + 1).build_on(sim.poller())?;
        let mut server = Server::start(sim.listen(7)?, kpt.threads())?;
        assert_eq!(kpt.run(&mut server), Ok(Exit::Stopped));

        for client in [&slow, &other, &late] {
            let is_right = client.is_done() || client.is_broken();
            sim.always("all comes back, or the connection broke", is_right);
        }
        let Statistics { accepted, gone, .. } = server.statistics;
        let left = kpt.threads().len() + 1 - OTHER_THREADS; // The signal's thread has ended.
        sim.always("who has gone is counted", accepted - gone == left as u64);
        sim.sometimes("all are accepted", accepted == 3);
        Ok(())
    }

    #[test]
    fn clients_have_their_echo() {
        check(Limits::new().deviations(2).schedules(3_000).walks(300, 8), clients);
    }
}
