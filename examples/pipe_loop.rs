//! A pipe whose two threads re-register for ever, until a timer cancels both by source.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_examples::Args;
use kpt_std::{EventLoop, Thread, source};

const HELP: &str = "
Sends messages of one byte through a pipe for 100 ms. Then a timer cancels the
threads at both ends, and the loop returns because no thread is left.

Usage: pipe_loop";

const DURATION: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    Args::new(HELP).finish();

    let mut pipe = Pipe::new()?;
    let mut kpt = EventLoop::new()?;
    let mut threads = kpt.threads();
    threads.add_read("receiver", source(&pipe.receiver), Pipe::on_readable, ())?;
    threads.add_write("sender", source(&pipe.sender), Pipe::on_writable, ())?;
    threads.add_timer("end", DURATION, Pipe::on_end, ())?;

    let exit = kpt.run(&mut pipe)?;
    println!("the loop has returned: {}", exit.as_str());
    let (sent, received) = (pipe.sent, pipe.received);
    println!(
        "{sent} messages sent in {DURATION:?}, {received} received, {} in the pipe",
        sent - received
    );
    Ok(())
}

struct Pipe {
    sender: UnixStream,
    receiver: UnixStream,
    sent: usize,
    received: usize,
}

impl Pipe {
    /// A pair of sockets: a pipe that the standard library can make non-blocking.
    fn new() -> io::Result<Self> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Self { sender, receiver, sent: 0, received: 0 })
    }

    fn on_writable(&mut self, thread: Thread<Self>) {
        match or_not_now(self.sender.write(b"x")) {
            Ok(count) => {
                self.sent += count;
                thread.again();
            }
            Err(error) => eprintln!("{}: {error}", thread.name()),
        }
    }

    fn on_readable(&mut self, thread: Thread<Self>) {
        match or_not_now(self.receiver.read(&mut [0; 64])) {
            Ok(count) => {
                self.received += count;
                thread.again();
            }
            Err(error) => eprintln!("{}: {error}", thread.name()),
        }
    }

    fn on_end(&mut self, mut thread: Thread<Self>) {
        let mut threads = thread.threads();
        threads.cancel_source(source(&self.sender));
        threads.cancel_source(source(&self.receiver));
    }
}

/// Nothing moved if the pipe was full or empty after all.
fn or_not_now(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
