//! An echo server and its clients, each a process of its own. What they have done comes to the parent in typed messages.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::net::Ipv4Addr;
use std::process;
use std::time::Duration;

use kpt_examples::Args;
use kpt_std::{
    BufferedStream, Child, EventLoop, Listener, Parent, Stream, TaskConfig, TaskEvent, TaskHandle,
    Thread, Threads, When, source,
};
use serde::{Deserialize, Serialize};

const HELP: &str = "
Starts a task that is an echo server, and tasks that are its clients. A client
sends a message, waits until all of it has come back, and sends the next. The
parent prints what they report, stops them, and prints how they ended. Kill any
of them (kill -9, the numbers are printed): the parent says so and goes on.

Usage: echo_tasks [options]
    --seconds N  stop them after N seconds (5)
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
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local().ip().ok_or("there is no address")?;

    // What moves into a task is closed here, so that no other task gets a copy of it.
    let config = TaskConfig::new("server").threads(clients + OTHER_THREADS);
    let server =
        spawner.start(config, |parent| Server { parent, listener, report: Report(0, 0) })?;
    let mut tasks = vec![Task::new(server)];
    for number in 1..=clients {
        let config = TaskConfig::new(format!("client {number}"));
        // The system keeps the connection until the server accepts it.
        let stream = Stream::connect(address)?;
        stream.set_nodelay(true)?;
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
            Ok(TaskEvent::Ready) => thread.again(),
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
    listener: Listener,
    report: Report,
}

type ServerThread<'t> = Thread<'t, Server, Option<BufferedStream>>;

impl Child for Server {
    type Arg = Option<BufferedStream>;

    fn pre_run(
        &mut self,
        mut threads: Threads<Self, Option<BufferedStream>>,
    ) -> Result<(), Box<dyn Error>> {
        threads.add("accept", self.listener.when(), Self::on_connection, None)?;
        threads.add_timer("report", REPORT_PERIOD, Self::on_report, None)?;
        Ok(())
    }

    fn pre_stop(&mut self, _: Threads<Self, Option<BufferedStream>>) {
        self.report.send(&self.parent);
    }
}

impl Server {
    fn on_connection(&mut self, mut thread: ServerThread) {
        match self.listener.accept() {
            Ok(Some(stream)) => {
                let _ = stream.set_nodelay(true);
                let client = BufferedStream::new(stream, BUFFER_BYTES, 2 * BUFFER_BYTES);
                let when = When::Readable(source(&client));
                let added = thread.threads().add("client", when, Self::on_client, Some(client));
                self.report.0 += u64::from(added.is_ok());
            }
            Ok(None) => {}
            Err(error) => eprintln!("no more clients for now: {error}"),
        }
        if let Err(error) = thread.again_when(self.listener.when()) {
            eprintln!("no more clients: {error}");
        }
    }

    fn on_client(&mut self, mut thread: ServerThread) {
        let Some(client) = &mut thread.arg else { return };
        let is_up = echo(client, &mut self.report.1).is_ok();
        let (source, wants) = (source(client), client.wants());
        if !is_up || wants.is_none() {
            return; // It has gone, and has got everything back.
        }
        if let Err(error) = thread.again_when(When::Ready(source, wants)) {
            eprintln!("a client is lost: {error}");
        }
    }

    fn on_report(&mut self, thread: ServerThread) {
        self.report.send(&self.parent);
        thread.again();
    }
}

/// Receives while there is room, and sends it back.
fn echo(client: &mut BufferedStream, echoed: &mut u64) -> io::Result<()> {
    client.fill()?;
    let (input, output) = client.input_and_output();
    let count = input.len();
    output.queue(input)?; // There is room for it: with its output half full, a stream does not read.
    client.consume(count);
    let before = client.unsent();
    client.flush()?;
    *echoed += (before - client.unsent()) as u64;
    Ok(())
}

/// The state of a client's task.
struct Client {
    parent: Parent,
    /// Its output has room for two messages, so that it receives while it sends one.
    stream: BufferedStream,
    message: Vec<u8>,
    /// How much of the message has come back.
    received: usize,
    report: Report,
}

impl Child for Client {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        self.stream.queue(&self.message)?;
        threads.add("stream", self.when(), Self::on_stream, ())?;
        threads.add_timer("report", REPORT_PERIOD, Self::on_report, ())?;
        Ok(())
    }

    fn pre_stop(&mut self, _: Threads<Self>) {
        self.report.send(&self.parent);
    }
}

impl Client {
    fn new(parent: Parent, stream: Stream, bytes: usize) -> Self {
        let stream = BufferedStream::new(stream, BUFFER_BYTES, 2 * bytes);
        Self { parent, stream, message: vec![b'x'; bytes], received: 0, report: Report(0, 0) }
    }

    fn when(&self) -> When {
        When::Ready(source(&self.stream), self.stream.wants())
    }

    fn on_stream(&mut self, thread: Thread<Self>) {
        if let Err(error) = self.go_on() {
            give_up(error);
        }
        if let Err(error) = thread.again_when(self.when()) {
            give_up(error);
        }
    }

    /// Receives, and sends the next message when all of the last has come back.
    fn go_on(&mut self) -> io::Result<()> {
        self.received += self.stream.fill()?;
        self.stream.consume(BUFFER_BYTES);
        if self.stream.is_ended() {
            return Err(io::Error::other("the server has gone"));
        }
        if self.received == self.message.len() {
            self.report.0 += 1;
            self.report.1 += self.received as u64;
            self.received = 0;
            self.stream.queue(&self.message)?;
        }
        self.stream.flush()?;
        Ok(())
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
