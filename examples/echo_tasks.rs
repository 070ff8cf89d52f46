//! An echo server and its clients, each a process of its own. What they have done comes to the parent in typed messages.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process;
use std::time::Duration;

use kpt_examples::Args;
use kpt_std::{
    Child, EventLoop, Parent, TaskConfig, TaskEvent, TaskHandle, Thread, Threads, When, source,
};
use serde::{Deserialize, Serialize};

const HELP: &str = "
Starts a task that is an echo server, and tasks that are its clients. A client
sends a message, waits until all of it has come back, and sends the next. The
parent prints what they report, stops them, and prints how they ended. Kill any
of them (kill -9, the numbers are printed): the parent says so and goes on.

Usage: echo_tasks [options]
    --seconds N  stop them after so long (5)
    --clients N  how many clients (10)
    --bytes N    the length of a message (1024)";

/// How often a task reports.
const REPORT_PERIOD: Duration = Duration::from_millis(500);
/// How often the parent prints.
const PRINT_PERIOD: Duration = Duration::from_secs(1);
/// What a task gets to end by itself.
const GRACE: Duration = Duration::from_secs(1);
/// The server's threads that are no clients: accept, report.
const OTHER_THREADS: usize = 2;
const BUFFER_BYTES: usize = 16 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new(HELP);
    let seconds = args.number("--seconds", 5, 1..=86_400);
    let clients = args.number("--clients", 10, 1..=100);
    let bytes = args.number("--bytes", 1024, 1..=16 << 20);
    args.finish();

    let mut kpt = EventLoop::new()?;
    let spawner = kpt.spawner();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;

    // What moves into a task is closed here, so that no other task gets a copy of it.
    let config = TaskConfig::new("server").threads(clients + OTHER_THREADS);
    let server =
        spawner.start(config, |parent| Server { parent, listener, report: Report(0, 0) })?;
    let mut tasks = vec![Task::new(server)];
    for number in 1..=clients {
        let config = TaskConfig::new(format!("client {number}"));
        // The system keeps the connection until the server accepts it.
        let stream = prepared(TcpStream::connect(address)?)?;
        let client = spawner.start(config, |parent| Client::new(parent, stream, bytes))?;
        tasks.push(Task::new(client));
    }

    let mut app = App { tasks };
    let mut threads = kpt.threads();
    for (at, task) in app.tasks.iter().enumerate() {
        println!("{} is process {}", task.handle.name(), task.handle.id());
        threads.add_read("task", task.handle.source(), App::on_task, at)?;
    }
    threads.add_timer("print", PRINT_PERIOD, App::on_print, 0)?;
    threads.add_timer("end", Duration::from_secs(seconds), App::on_end, 0)?;
    kpt.run(&mut app)?;
    app.print();
    Ok(())
}

/// What a task tells its parent: how many messages (the server: clients) and bytes there have been.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Report(u64, u64);

impl Report {
    /// A report that finds no room is not missed: the next one says more.
    fn send(&self, parent: &Parent) {
        let _ = parent.send_value(self);
    }
}

/// The parent.
struct App {
    /// The server, and then the clients.
    tasks: Vec<Task>,
}

struct Task {
    handle: TaskHandle,
    report: Report,
    has_ended: bool,
}

impl Task {
    fn new(handle: TaskHandle) -> Self {
        Self { handle, report: Report(0, 0), has_ended: false }
    }
}

impl App {
    /// The argument says which task.
    fn on_task(&mut self, mut thread: Thread<Self, usize>) {
        let task = &mut self.tasks[thread.arg];
        let Some(event) = task.handle.receive() else { return thread.again() };
        match event.decode() {
            Ok(TaskEvent::Message(report)) => {
                task.report = report;
                thread.again();
            }
            Ok(TaskEvent::Exit(exit)) => {
                println!("{}: {exit}", task.handle.name());
                task.has_ended = true;
                self.stop_rest(thread.threads());
            }
            Err(error) => {
                eprintln!("{}: {error}", task.handle.name());
                thread.again();
            }
        }
    }

    /// When the clients have gone, the server is not needed, and after it nor is the parent.
    fn stop_rest(&mut self, mut threads: Threads<Self, usize>) {
        let [server, clients @ ..] = &self.tasks[..] else { return };
        if clients.iter().all(|client| client.has_ended) {
            server.handle.stop(GRACE);
            if server.has_ended {
                threads.stop();
            }
        }
    }

    fn on_print(&mut self, thread: Thread<Self, usize>) {
        self.print();
        thread.again();
    }

    /// The clients first, so that none of them finds its server gone.
    fn on_end(&mut self, _: Thread<Self, usize>) {
        self.tasks[1..].iter().for_each(|client| client.handle.stop(GRACE));
    }

    fn print(&self) {
        let [server, clients @ ..] = &self.tasks[..] else { return };
        let Report(accepted, echoed) = server.report;
        let messages: u64 = clients.iter().map(|client| client.report.0).sum();
        let received: u64 = clients.iter().map(|client| client.report.1).sum();
        println!(
            "{accepted} clients, {:.1} MB echoed; {messages} messages, {:.1} MB received",
            echoed as f64 / 1e6,
            received as f64 / 1e6,
        );
    }
}

/// The state of the server's task. Each connection is one thread, which owns it as its argument.
struct Server {
    parent: Parent,
    listener: TcpListener,
    report: Report,
}

type ServerThread<'t> = Thread<'t, Server, Option<Echo>>;

impl Child for Server {
    type Arg = Option<Echo>;

    fn pre_run(&mut self, mut threads: Threads<Self, Option<Echo>>) -> Result<(), Box<dyn Error>> {
        threads.add_read("accept", source(&self.listener), Self::on_connection, None)?;
        threads.add_timer("report", REPORT_PERIOD, Self::on_report, None)?;
        Ok(())
    }

    fn pre_stop(&mut self, _: Threads<Self, Option<Echo>>) {
        self.report.send(&self.parent);
    }
}

impl Server {
    fn on_connection(&mut self, mut thread: ServerThread) {
        match self.accept(thread.threads()) {
            Ok(()) => thread.again(),
            Err(error) => eprintln!("no more clients: {error}"),
        }
    }

    fn accept(&mut self, mut threads: Threads<Self, Option<Echo>>) -> Result<(), Box<dyn Error>> {
        let Some((stream, _)) = unless_blocked(self.listener.accept())? else { return Ok(()) };
        let stream = prepared(stream)?;
        self.report.0 += 1;
        let echo = Echo { stream, bytes: Vec::with_capacity(BUFFER_BYTES) };
        threads.add_read("client", source(&echo.stream), Self::on_client, Some(echo))?;
        Ok(())
    }

    fn on_client(&mut self, mut thread: ServerThread) {
        let Some(echo) = &mut thread.arg else { return };
        match echo.go_on(&mut self.report.1) {
            Ok(Some(when)) => {
                if let Err(error) = thread.again_when(when) {
                    eprintln!("a client is lost: {error}");
                }
            }
            // It has gone.
            Ok(None) | Err(_) => {
                thread.end();
            }
        }
    }

    fn on_report(&mut self, thread: ServerThread) {
        self.report.send(&self.parent);
        thread.again();
    }
}

/// A connection of the server, and what is to be sent back.
struct Echo {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Echo {
    /// Receives if all has been sent back, sends what goes, and says what to wait for; `None` at the end.
    fn go_on(&mut self, echoed: &mut u64) -> io::Result<Option<When>> {
        if self.bytes.is_empty() {
            self.bytes.resize(BUFFER_BYTES, 0);
            let received = unless_blocked(self.stream.read(&mut self.bytes))?;
            self.bytes.truncate(received.unwrap_or(0));
            if received == Some(0) {
                return Ok(None);
            }
        }
        if !self.bytes.is_empty() {
            let sent = unless_blocked(self.stream.write(&self.bytes))?.unwrap_or(0);
            self.bytes.drain(..sent);
            *echoed += sent as u64;
        }
        let stream = source(&self.stream);
        let is_done = self.bytes.is_empty();
        Ok(Some(if is_done { When::Readable(stream) } else { When::Writable(stream) }))
    }
}

/// The state of a client's task.
struct Client {
    parent: Parent,
    stream: TcpStream,
    message: Vec<u8>,
    /// So many bytes of the message have been sent, and so many have come back.
    sent: usize,
    received: usize,
    report: Report,
}

impl Child for Client {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        threads.add_write("send", source(&self.stream), Self::on_writable, ())?;
        threads.add_read("receive", source(&self.stream), Self::on_readable, ())?;
        threads.add_timer("report", REPORT_PERIOD, Self::on_report, ())?;
        Ok(())
    }

    fn pre_stop(&mut self, _: Threads<Self>) {
        self.report.send(&self.parent);
    }
}

impl Client {
    fn new(parent: Parent, stream: TcpStream, bytes: usize) -> Self {
        let message = vec![b'x'; bytes];
        Self { parent, stream, message, sent: 0, received: 0, report: Report(0, 0) }
    }

    fn on_writable(&mut self, thread: Thread<Self>) {
        match unless_blocked(self.stream.write(&self.message[self.sent..])) {
            Ok(count) => self.sent += count.unwrap_or(0),
            Err(error) => give_up(error),
        }
        if self.sent < self.message.len() {
            thread.again();
        }
    }

    fn on_readable(&mut self, mut thread: Thread<Self>) {
        match unless_blocked(self.stream.read(&mut [0; BUFFER_BYTES])) {
            Ok(Some(0)) => give_up("the server has gone"),
            Ok(count) => self.received += count.unwrap_or(0),
            Err(error) => give_up(error),
        }
        if self.received == self.message.len() {
            self.report.0 += 1;
            self.report.1 += self.received as u64;
            (self.sent, self.received) = (0, 0);
            let stream = source(&self.stream);
            let send = thread.threads().add_write("send", stream, Self::on_writable, ());
            send.expect("the last one has ended");
        }
        thread.again();
    }

    fn on_report(&mut self, thread: Thread<Self>) {
        self.report.send(&self.parent);
        thread.again();
    }
}

/// Ends this process. Its parent gets what it has reported, and the exit code.
fn give_up(reason: impl Display) {
    eprintln!("process {}: {reason}", process::id());
    process::exit(1);
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// `None` if it was the wrong moment.
fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}
