//! Two tasks that talk to each other: a server and a client at the two ends of one pipe. When the server closes its end,
//! the client's write fails, and both run out of threads.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_examples::Args;
use kpt_std::{Child, Parent, Spawner, TaskConfig, TaskEvent, Thread, Threads, source};

const HELP: &str = "
Starts two tasks on the two ends of one pipe. The client writes for ever; the
server reads for 10 ms, and closes its end. The client's write fails then, and
both end. The parent prints what they tell, and how they ended.

Usage: server_client";

const DURATION: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn Error>> {
    Args::new(HELP).finish();

    // A pair of sockets: a pipe that the standard library can make non-blocking.
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    writer.set_nonblocking(true)?;

    // A process has a copy of all that its parent has open. The client only sees the server close its end if nobody else
    // has that end open: so each task keeps no other than its own, and the parent none, as both move into the tasks.
    let spawner = Spawner::new();
    let config = TaskConfig::new("server").keep_only([&reader]);
    let server =
        spawner.start(config, |parent| Server { parent, reader: Some(reader), received: 0 })?;
    let config = TaskConfig::new("client").keep_only([&writer]);
    let client = spawner.start(config, |parent| Client { parent, writer, sent: 0 })?;

    for task in [server, client] {
        while let Some(event) = task.receive_blocking() {
            match event {
                TaskEvent::Message(text) => {
                    println!("{}: {}", task.name(), String::from_utf8(text)?)
                }
                TaskEvent::Ready => {}
                TaskEvent::Exit(exit) => println!("{} has ended: {exit}", task.name()),
            }
        }
    }
    Ok(())
}

/// The state of the one task.
struct Server {
    parent: Parent,
    /// Until it is closed.
    reader: Option<UnixStream>,
    received: usize,
}

impl Child for Server {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        // Who wants no messages from the parent ends when no thread is left.
        self.parent.hang_up();
        if let Some(reader) = &self.reader {
            threads.add_read("reader", source(reader), Self::on_readable, ())?;
        }
        threads.add_timer("end", DURATION, Self::on_end, ())?;
        Ok(())
    }
}

impl Server {
    fn on_readable(&mut self, thread: Thread<Self>) {
        let Some(reader) = &mut self.reader else { return };
        match or_not_now(reader.read(&mut [0; 4096])) {
            Ok(count) => {
                self.received += count;
                thread.again();
            }
            Err(error) => eprintln!("{}: {error}", thread.name()),
        }
    }

    fn on_end(&mut self, mut thread: Thread<Self>) {
        // Its thread first: a closed descriptor can't be waited for.
        if let Some(reader) = self.reader.take() {
            thread.threads().cancel_source(source(&reader));
        }
        tell(&self.parent, format!("closed after {} bytes", self.received));
    }
}

/// The state of the other.
struct Client {
    parent: Parent,
    writer: UnixStream,
    sent: usize,
}

impl Child for Client {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        self.parent.hang_up();
        threads.add_write("writer", source(&self.writer), Self::on_writable, ())?;
        Ok(())
    }
}

impl Client {
    fn on_writable(&mut self, thread: Thread<Self>) {
        match or_not_now(self.writer.write(&[b'x'; 1024])) {
            Ok(count) => {
                self.sent += count;
                thread.again();
            }
            Err(error) => tell(&self.parent, format!("{error} after {} bytes", self.sent)),
        }
    }
}

fn tell(parent: &Parent, text: String) {
    if let Err(error) = parent.send(text.as_bytes()) {
        eprintln!("{text}: {error}");
    }
}

/// Nothing moved if the pipe was full or empty after all.
fn or_not_now(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
