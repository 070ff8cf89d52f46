//! A write thread sends a message through a pipe, a read thread receives it, and both are done.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use kpt_examples::Args;
use kpt_std::{EventLoop, Thread, source};

const HELP: &str = "
Sends one message through a pipe, from a write thread to a read thread.

Usage: pipe";

fn main() -> Result<(), Box<dyn Error>> {
    Args::new(HELP).finish();

    let mut pipe = Pipe::new()?;
    let mut kpt = EventLoop::new()?;
    let mut threads = kpt.threads();
    threads.add_read("receiver", source(&pipe.receiver), Pipe::on_readable, ())?;
    threads.add_write("sender", source(&pipe.sender), Pipe::on_writable, ())?;

    let exit = kpt.run(&mut pipe)?;
    println!("the loop has returned: {}", exit.as_str());
    Ok(())
}

struct Pipe {
    sender: UnixStream,
    receiver: UnixStream,
}

impl Pipe {
    /// A pair of sockets: a pipe that the standard library can make non-blocking.
    fn new() -> std::io::Result<Self> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Self { sender, receiver })
    }

    fn on_writable(&mut self, thread: Thread<Self>) {
        match self.sender.write(b"hello") {
            Ok(count) => println!("{}: {count} bytes sent", thread.name()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread.again();
            }
            Err(error) => eprintln!("{}: {error}", thread.name()),
        }
    }

    fn on_readable(&mut self, thread: Thread<Self>) {
        let mut buffer = [0; 64];
        match self.receiver.read(&mut buffer) {
            Ok(count) => println!("{}: {}", thread.name(), buffer[..count].escape_ascii()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread.again();
            }
            Err(error) => eprintln!("{}: {error}", thread.name()),
        }
    }
}
