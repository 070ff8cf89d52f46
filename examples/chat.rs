//! A chat server: the first line that a client sends is its name, and each further one goes to all others.
//!
//! The application owns the clients, since each writes to all others, and the argument of a thread is a client's number.
//! A client is closed only in its own hook: code that finds that a client must go makes that hook run. A client that does
//! not read is closed when its output is full, so it holds up no other, and memory is bounded.
//!
//! The test at the end has five clients in a simulated world, under each single deviation from the usual, and in random
//! runs with several.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use kpt_examples::Args;
use kpt_std::{
    BufferedStream, EventLoop, Interest, Listener, Signal, Signals, Stream, Thread, ThreadId,
    Threads, When, source,
};

const HELP: &str = "
Passes the lines of each TCP client on to all others. Ends on SIGINT and SIGTERM.

Usage: chat [options]
    --port N     the port on 127.0.0.1 to listen on; 0 takes a free one (0)
    --clients N  how many clients may be connected at once (1000)

Try it with 'nc 127.0.0.1 PORT' in two terminals: first say a name, then talk.";

/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(60);
/// How long a client that leaves has to receive its last words.
const GOODBYE: Duration = Duration::from_secs(5);
/// The longest line, in bytes.
const LINE: usize = 512;
/// The number of bytes that are kept for a client that does not read.
const OUTPUT: usize = 4096;
/// The number of threads that belong to no client.
const OTHER_THREADS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new(HELP);
    let port = args.number("--port", 0, 0..=u16::MAX);
    let clients = args.number("--clients", 1_000, 1..=1_000_000);
    args.finish();

    let mut chat = Chat::new(Listener::bind((Ipv4Addr::LOCALHOST, port))?)?;
    println!("listening on {}", chat.listener.local());
    let mut kpt = EventLoop::with_capacity(2 * clients + OTHER_THREADS)?;
    chat.add_threads(kpt.threads())?;
    kpt.run(&mut chat)?;
    Ok(())
}

type Key = u64;
type ChatThread<'t> = Thread<'t, Chat, Key>;
type ChatThreads<'t> = Threads<'t, Chat, Key>;

struct Chat {
    listener: Listener,
    signals: Signals,
    clients: BTreeMap<Key, Client>,
    last_key: Key,
    is_ending: bool,
}

struct Client {
    stream: BufferedStream,
    /// Reads and writes the stream.
    thread: ThreadId,
    /// Ends a client that is silent, or that doesn't take its last words.
    timer: ThreadId,
    waits_for: Interest,
    /// None before the client has said it, and when it leaves.
    name: Option<String>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Talks,
    /// Gets its last words, and is then closed.
    Leaves,
    /// Is closed in the next call of its hook.
    Broken,
}

impl Chat {
    fn new(listener: Listener) -> io::Result<Self> {
        let signals = Signals::new(&[Signal::INT, Signal::TERM])?;
        Ok(Self { listener, signals, clients: BTreeMap::new(), last_key: 0, is_ending: false })
    }

    fn add_threads(&self, mut threads: ChatThreads) -> Result<(), Box<dyn Error>> {
        threads.add("accept", self.listener.when(), Self::on_connection, 0)?;
        threads.add_read("signals", source(&self.signals), Self::on_signals, 0)?;
        Ok(())
    }

    /// Says goodbye to all. The last one that goes ends the loop.
    fn on_signals(&mut self, mut thread: ChatThread) {
        self.is_ending = true;
        thread.threads().cancel_source(source(&self.listener));
        let (_, mut threads) = thread.end();
        for key in self.clients.keys().copied().collect::<Vec<_>>() {
            self.leave(key, "* the server ends\n", threads.reborrow());
        }
        self.stop_if_over(threads);
    }

    fn stop_if_over(&self, mut threads: ChatThreads) {
        if self.is_ending && self.clients.is_empty() {
            threads.stop();
        }
    }

    fn on_connection(&mut self, mut thread: ChatThread) {
        loop {
            match self.listener.accept() {
                Ok(Some(stream)) => self.add(stream, thread.threads()),
                Ok(None) => break,
                Err(error) => eprintln!("no more clients for now: {error}"),
            }
        }
        let _ = thread.again_when(self.listener.when());
    }

    fn add(&mut self, stream: Stream, mut threads: ChatThreads) {
        let stream = BufferedStream::new(stream, LINE, OUTPUT);
        let waits_for = stream.wants();
        let when = When::Ready(source(&stream), waits_for);
        let key = self.last_key + 1;
        let Ok(thread) = threads.add_with_reserve(1, "client", when, Self::on_client, key) else {
            return;
        };
        let Ok(timer) = threads.add_timer("idle", IDLE, Self::on_timer, key) else { return };
        self.last_key = key;
        let stage = Stage::Talks;
        self.clients.insert(key, Client { stream, thread, timer, waits_for, name: None, stage });
    }

    fn on_client(&mut self, mut thread: ChatThread) {
        match self.serve(thread.arg, thread.threads()) {
            Ok(Some(when)) => {
                let _ = thread.again_when(when);
            }
            Ok(None) | Err(_) => {
                let (key, threads) = thread.end(); // Before the stream is dropped.
                self.close(key, threads);
            }
        }
    }

    fn on_timer(&mut self, mut thread: ChatThread) {
        let key = thread.arg;
        let Some(client) = self.clients.get_mut(&key) else { return };
        match client.stage {
            Stage::Talks => self.leave(key, "* silent for too long\n", thread.threads()),
            Stage::Leaves | Stage::Broken => client.end_now(thread.threads()),
        }
        let _ = thread.again_when(When::After(GOODBYE));
    }

    /// Serves a client. Returns what to wait for next, or `None` if it is to be closed.
    fn serve(&mut self, key: Key, mut threads: ChatThreads) -> io::Result<Option<When>> {
        let Some(client) = self.clients.get_mut(&key) else { return Ok(None) };
        if client.stage == Stage::Talks {
            if client.stream.fill()? > 0 {
                let _ = threads.reschedule(client.timer, When::After(IDLE));
            }
            self.read_lines(key, threads);
        }
        let Some(client) = self.clients.get_mut(&key) else { return Ok(None) };
        let is_over = match client.stage {
            Stage::Talks => client.stream.flush().map(|_| false)?,
            Stage::Leaves => client.stream.finish()?,
            Stage::Broken => true,
        };
        client.waits_for = client.stream.wants();
        Ok((!is_over).then(|| When::Ready(source(&client.stream), client.waits_for)))
    }

    fn read_lines(&mut self, key: Key, mut threads: ChatThreads) {
        while let Some(line) = self.next_line(key) {
            self.on_line(key, &line, threads.reborrow());
        }
        let Some(client) = self.clients.get(&key) else { return };
        if client.stream.is_input_full() {
            self.leave(key, "* the line is too long\n", threads);
        } else if client.stream.is_ended() {
            self.leave(key, "* bye\n", threads);
        }
    }

    fn next_line(&mut self, key: Key) -> Option<String> {
        let stream = &mut self.clients.get_mut(&key)?.stream;
        let end = stream.input().iter().position(|&byte| byte == b'\n')?;
        let line = String::from_utf8_lossy(&stream.input()[..end]).trim_end().to_string();
        stream.consume(end + 1);
        Some(line)
    }

    fn on_line(&mut self, key: Key, line: &str, threads: ChatThreads) {
        let is_taken = self.clients.values().any(|other| other.name.as_deref() == Some(line));
        let Some(client) = self.clients.get_mut(&key) else { return };
        if let Some(name) = &client.name {
            let text = format!("{name}: {line}\n");
            self.broadcast(key, &text, threads);
        } else if is_taken || line.is_empty() {
            let _ = client.stream.queue(b"* take another name\n");
        } else {
            client.name = Some(line.to_string());
            let _ = client.stream.queue(b"* welcome\n");
            self.broadcast(key, &format!("* {line} is here\n"), threads);
        }
    }

    /// Sends to all others that have a name. One that does not take it is closed.
    fn broadcast(&mut self, from: Key, text: &str, mut threads: ChatThreads) {
        let has_name = |client: &&mut Client| client.name.is_some() && client.stage == Stage::Talks;
        let others = self.clients.iter_mut().filter(|(key, _)| **key != from);
        for other in others.map(|(_, other)| other).filter(|other| has_name(other)) {
            if other.stream.queue(text.as_bytes()).is_err() || other.stream.flush().is_err() {
                other.end_now(threads.reborrow());
            } else if other.stream.wants() != other.waits_for {
                other.waits_for = other.stream.wants();
                let when = When::Ready(source(&other.stream), other.waits_for);
                let _ = threads.reschedule(other.thread, when);
            }
        }
    }

    /// Begins to close a client: gives it time to receive its last words, and takes its name.
    fn leave(&mut self, key: Key, last_words: &str, mut threads: ChatThreads) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        if client.stage != Stage::Talks {
            return;
        }
        let _ = client.stream.queue(last_words.as_bytes());
        client.stage = Stage::Leaves;
        // Fails for the thread that is running, which re-arms itself.
        let _ = threads.reschedule(client.timer, When::After(GOODBYE));
        let _ = threads.reschedule(client.thread, When::Now);
        self.take_name(key, threads);
    }

    fn take_name(&mut self, key: Key, threads: ChatThreads) {
        if let Some(name) = self.clients.get_mut(&key).and_then(|client| client.name.take()) {
            self.broadcast(key, &format!("* {name} has gone\n"), threads);
        }
    }

    fn close(&mut self, key: Key, mut threads: ChatThreads) {
        self.take_name(key, threads.reborrow());
        if let Some(client) = self.clients.remove(&key) {
            let _ = threads.cancel(client.timer);
        }
        self.stop_if_over(threads);
    }
}

impl Client {
    /// Makes its hook close it, which also tells the others.
    fn end_now(&mut self, mut threads: ChatThreads) {
        self.stage = Stage::Broken;
        let _ = threads.reschedule(self.thread, When::Now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kpt_std::Builder;
    use kpt_std::sim::{Limits, Sim, TestResult, check};

    /// Ann and bob talk, eve is silent, and one does not read. In the end the server is told to stop.
    fn some_clients(sim: &Sim) -> TestResult {
        let secs = Duration::from_secs;
        let line = "x".repeat(400) + "\n";
        let slow = sim.client(7).room(99).pause_reading().send("slow\n");
        let ann = sim.client(7).send("ann\n").skip_to("* bob is here\n").wait(secs(40));
        let ann = ann.send(line.repeat(20)).send("end\n").skip_to("bob: hello\n").wait(secs(40));
        let ann = ann.send("bye\n").shut_down().skip_to("* bye\n").hang_up();
        let bob = sim.client(7).wait(secs(1)).send("bob\n").skip_to("ann: end\n");
        let bob = bob.send("hello\n").skip_to("ann: bye\n").hang_up();
        let eve = sim.client(7).send("eve\n").skip_to("* silent for too long\n").expect_end();
        let next = sim.client(7).wait(secs(62)).send("eve\n").skip_to("* welcome\n");
        sim.after(secs(100), |sim| sim.signal(Signal::TERM));

        let mut chat = Chat::new(sim.listen(7)?)?;
        let mut kpt = Builder::new().threads(16).build_on(sim.poller())?;
        chat.add_threads(kpt.threads())?;
        kpt.run(&mut chat)?;

        let all = [&ann, &bob, &eve, &slow, &next];
        let breaks = all.iter().any(|client| client.is_broken());
        sim.always("ann and bob talk", breaks || (ann.is_done() && bob.is_done()));
        sim.always("eve is sent away", eve.is_done() || eve.is_broken());
        sim.always("her name is free then", next.is_done() || next.is_broken());
        sim.always("bob gets all", breaks || bob.text().matches(&line).count() == 20);
        let text = ann.text();
        let before = text.split("bob: hello").next().unwrap_or_default();
        sim.always("who does not read goes", breaks || before.contains("* slow has gone"));
        sim.always("nobody is left", chat.clients.is_empty() && kpt.threads().is_empty());
        sim.sometimes("all is well", !breaks);
        Ok(())
    }

    #[test]
    fn clients_chat() {
        check(Limits::new().walks(300, 8), some_clients);
    }
}
