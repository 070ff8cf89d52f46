//! A stream with buffers for both directions, which says what to wait for.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

use super::input::Input;
use super::{Output, OutputFull, Stream};
use crate::Interest;

/// A stream that does not block, with what has been received and not consumed, and what has been queued and not sent.
///
/// A hook does the same whatever it is called for: [`fill`](Self::fill) the input, deal with what is complete in it,
/// queue answers, [`flush`](Self::flush) them, and wait for what the stream [`wants`](Self::wants). That is one call of
/// the system for reading and one for writing, for any number of requests that come together.
///
/// ```
/// use kpt_std::{BufferedStream, Stream, Thread, When, source};
/// use std::io;
///
/// fn on_client(_: &mut (), mut thread: Thread<(), BufferedStream>) {
///     if let Ok(true) = serve(&mut thread.arg) {
///         let when = When::Ready(source(&thread.arg), thread.arg.wants());
///         let _ = thread.again_when(when);
///     }
/// }
///
/// /// Sends back each line; returns whether the client goes on.
/// fn serve(client: &mut BufferedStream) -> io::Result<bool> {
///     client.fill()?;
///     loop {
///         let (input, output) = client.input_and_output();
///         let mut used = 0;
///         for line in input.split_inclusive(|&byte| byte == b'\n').filter(|l| l.ends_with(b"\n")) {
///             if output.queue(line).is_err() {
///                 break; // The other lines wait until the client takes more.
///             }
///             used += line.len();
///         }
///         client.consume(used);
///         // Goes on with lines that had to wait for room, if it is there now: nothing else would call for them.
///         if !client.flush()? || used == 0 {
///             break;
///         }
///     }
///     if client.is_input_full() && client.unsent() == 0 {
///         return Err(io::Error::other("the line is too long"));
///     }
///     Ok(!client.wants().is_none())
/// }
/// # use std::io::{Read, Write};
/// # let (mut here, there) = std::os::unix::net::UnixStream::pair()?;
/// # let mut client = BufferedStream::new(Stream::try_from(there)?, 1024, 1024);
/// # here.write_all(b"one\ntwo\nth")?;
/// # assert!(serve(&mut client)?);
/// # here.write_all(b"ree\n")?;
/// # here.shutdown(std::net::Shutdown::Write)?;
/// # let mut kpt = kpt_std::EventLoop::new()?;
/// # let when = When::Ready(source(&client), client.wants());
/// # kpt.threads().add("client", when, on_client, client).map_err(|_| io::ErrorKind::Other)?;
/// # kpt.run(&mut ())?;
/// # let mut back = String::new();
/// # here.read_to_string(&mut back)?;
/// # assert_eq!(back, "one\ntwo\nthree\n");
/// # Ok::<(), io::Error>(())
/// ```
///
/// # Bounds
/// The input holds at most as many bytes as it was made for, in memory of at most one and a half times that; the output
/// takes at most its bytes of memory. Memory is taken when it is needed, and given back by and by when the buffer has
/// become empty with less in it.
///
/// While more than half of the output is taken (the other side does not read), [`wants`](Self::wants) has no
/// "readable", and `fill` reads nothing: so one who sends and does not receive is held up, and not others.
///
/// The system has buffers of its own for each socket. For TCP, these grow to some megabytes when the other side does not
/// read (`/proc/sys/net/ipv4/tcp_wmem` and `tcp_rmem` have the limits), and only then does the output begin to fill up.
///
/// # Writing from the hooks of others
/// A hook reaches only the argument of its own thread. Where one client writes to another, as in a chat or a relay, the
/// application's state owns the streams, and the argument is a key. Whoever has queued something flushes, and
/// reschedules the thread of that client if it waits for something else now. Each such call costs a system call, also
/// for the same event.
///
/// ```
/// use kpt_std::{BufferedStream, EventLoop, Interest, Stream, Thread, ThreadId, Threads, When, source};
/// use std::collections::BTreeMap;
///
/// struct Client {
///     stream: BufferedStream,
///     thread: ThreadId,
///     waits_for: Interest,
/// }
///
/// #[derive(Default)]
/// struct Relay {
///     clients: BTreeMap<u32, Client>,
/// }
///
/// impl Relay {
///     fn add(&mut self, key: u32, stream: Stream, mut threads: Threads<Relay, u32>) {
///         let stream = BufferedStream::new(stream, 1024, 8192);
///         let waits_for = stream.wants();
///         let when = When::Ready(source(&stream), waits_for);
///         if let Ok(thread) = threads.add("client", when, Relay::on_client, key) {
///             self.clients.insert(key, Client { stream, thread, waits_for });
///         }
///     }
///
///     fn on_client(&mut self, mut thread: Thread<Relay, u32>) {
///         let key = thread.arg;
///         let Some(client) = self.clients.get_mut(&key) else { return };
///         let is_broken = client.stream.fill().is_err();
///         let data = client.stream.input().to_vec();
///         client.stream.consume(data.len());
///         let others: Vec<u32> = self.clients.keys().copied().filter(|other| *other != key).collect();
///         for other in others {
///             self.send(other, &data, thread.threads());
///         }
///         let Some(client) = self.clients.get_mut(&key) else { return };
///         if is_broken || client.stream.flush().is_err() || client.stream.wants().is_none() {
///             return self.close(key, thread.threads());
///         }
///         client.waits_for = client.stream.wants();
///         let when = When::Ready(source(&client.stream), client.waits_for);
///         let _ = thread.again_when(when);
///     }
///
///     fn send(&mut self, key: u32, data: &[u8], mut threads: Threads<Relay, u32>) {
///         let Some(client) = self.clients.get_mut(&key) else { return };
///         if client.stream.queue(data).is_err() || client.stream.flush().is_err() {
///             return self.close(key, threads); // It does not read, or has gone.
///         }
///         let wants = client.stream.wants();
///         if wants != client.waits_for {
///             client.waits_for = wants;
///             let _ = threads.reschedule(client.thread, When::Ready(source(&client.stream), wants));
///         }
///     }
///
///     /// Works in any hook, also in that of the client itself.
///     fn close(&mut self, key: u32, mut threads: Threads<Relay, u32>) {
///         if let Some(client) = self.clients.remove(&key) {
///             threads.cancel_source(source(&client.stream)); // Before the stream is dropped.
///         }
///     }
/// }
/// # use std::io::{Read, Write};
/// # let (mut one, end_of_one) = std::os::unix::net::UnixStream::pair()?;
/// # let (mut two, end_of_two) = std::os::unix::net::UnixStream::pair()?;
/// # let (mut relay, mut kpt) = (Relay::default(), EventLoop::new()?);
/// # relay.add(1, end_of_one.try_into()?, kpt.threads());
/// # relay.add(2, end_of_two.try_into()?, kpt.threads());
/// # one.write_all(b"hello")?;
/// # one.shutdown(std::net::Shutdown::Write)?;
/// # let mut text = [0; 5];
/// # while !relay.clients.is_empty() {
/// #     kpt.turn(&mut relay)?;
/// #     if relay.clients.len() == 1 && text[0] == 0 {
/// #         two.read_exact(&mut text)?;
/// #         two.shutdown(std::net::Shutdown::Write)?;
/// #     }
/// # }
/// # assert_eq!(&text, b"hello");
/// # assert_eq!(kpt.run(&mut relay)?, kpt_std::Exit::Empty);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Saying goodbye
/// Where a TCP socket is closed while it has input that was not read, or gets more, the system resets the connection,
/// and the other side may lose what was sent last: "too many clients", "the line is too long". For that to arrive, queue
/// it, and have the hook call [`finish`](Self::finish) from then on. Drop the stream also at the end of a timer of some
/// seconds, for clients that do not close.
///
/// # Other streams
/// `S` is anything that reads and writes without blocking: a [`Stream`], a terminal, a pipe. A read that gets less than
/// it asked for counts as all that is there: should more be hidden in `S`, as in a TLS connection, call `fill` until it
/// returns 0.
pub struct BufferedStream<S = Stream> {
    stream: S,
    input: Input,
    output: Output,
    is_ended: bool,
}

impl<S> BufferedStream<S> {
    /// Adds buffers to a stream that does not block, for `input` and `output` bytes. The input must have room for the
    /// largest request, and the output for the largest answer.
    pub fn new(stream: S, input: usize, output: usize) -> Self {
        let (input, output) = (Input::new(input), Output::new(output));
        Self { stream, input, output, is_ended: false }
    }

    /// Returns what has been received and not consumed.
    pub fn input(&self) -> &[u8] {
        self.input.bytes()
    }

    /// Removes `count` bytes, or all if there are fewer, from the front of the input.
    pub fn consume(&mut self, count: usize) {
        self.input.consume(count);
    }

    /// Returns whether the input has as many bytes as it may have. If nothing in it is complete, it never will be, and
    /// the connection should end.
    pub fn is_input_full(&self) -> bool {
        self.input.is_full()
    }

    /// Returns whether the other side sends no more; there may still be input. It may go on receiving.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Queues bytes, which the next [`flush`](Self::flush) sends.
    ///
    /// # Errors
    /// Returns [`OutputFull`] and queues nothing if there is no room for all of them.
    pub fn queue(&mut self, bytes: &[u8]) -> Result<(), OutputFull> {
        self.output.queue(bytes)
    }

    /// Returns the output, into which answers can be written: `write!(client.output(), ..)`.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Returns the input and the output, for writing answers while the input is borrowed.
    pub fn input_and_output(&mut self) -> (&[u8], &mut Output) {
        (self.input.bytes(), &mut self.output)
    }

    /// Returns how many bytes have been queued and not sent.
    pub fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Returns what to wait for: "writable" if something is unsent, and "readable" unless the other side has
    /// [ended](Self::is_ended), the input is full, or more than half of the output is taken.
    ///
    /// [`Interest::NONE`] says that waiting is of no use: all has been sent, and nothing can be received before some of
    /// the input is consumed, or ever.
    pub fn wants(&self) -> Interest {
        let readable = if self.wants_input() { Interest::READABLE } else { Interest::NONE };
        readable | if self.output.is_empty() { Interest::NONE } else { Interest::WRITABLE }
    }

    fn wants_input(&self) -> bool {
        !self.is_ended && !self.input.is_full() && !self.output.is_congested()
    }

    /// Returns the stream.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns the stream. What is read from it directly is missing in the input, and what is written to it comes before
    /// what is queued.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Returns the stream, without what is in the buffers.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: Read> BufferedStream<S> {
    /// Receives what is there, as far as the input has room, and returns how many bytes that was. Receives nothing if
    /// [`wants`](Self::wants) has no "readable"; a thread that waits for it all the same is called after each wait.
    ///
    /// # Errors
    /// Returns the error of a read, other than "would block". What came before is in the input.
    pub fn fill(&mut self) -> io::Result<usize> {
        let mut received = 0;
        while self.wants_input() {
            let room = self.input.room();
            let most = room.len();
            match self.stream.read(room) {
                Ok(0) => self.is_ended = true,
                Ok(count) => {
                    self.input.received(count);
                    received += count;
                    if count < most {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(received)
    }
}

impl<S: Write> BufferedStream<S> {
    /// Sends what the other side takes now; returns whether that was all. Then there may be room for answers to requests
    /// that are still in the input, and waiting for more of them would be waiting for ever.
    ///
    /// # Errors
    /// Returns the error of a write, other than "would block".
    pub fn flush(&mut self) -> io::Result<bool> {
        self.output.send(&mut self.stream)
    }
}

impl BufferedStream {
    /// Sends what is left, says that no more will come, and discards what is received. Returns whether the connection is
    /// over: all has been sent, and the other side has ended, too, so that the last words arrive. Until then, wait for what
    /// the stream [`wants`](Self::wants), and call this once more.
    ///
    /// # Errors
    /// Returns the error of a write or read, other than "would block": the connection is over then, too.
    pub fn finish(&mut self) -> io::Result<bool> {
        let is_sent = self.flush()?;
        if is_sent {
            // It may have been said before, and both sides may have ended since.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        self.consume(self.input().len());
        self.fill()?;
        self.consume(self.input().len());
        Ok(is_sent && self.is_ended)
    }
}

impl<S: AsFd> AsFd for BufferedStream<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl<S: fmt::Debug> fmt::Debug for BufferedStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedStream")
            .field("stream", &self.stream)
            .field("input", &self.input().len())
            .field("output", &self.output)
            .field("is_ended", &self.is_ended)
            .finish()
    }
}

#[cfg(test)]
#[path = "buffered_tests.rs"]
mod tests;
