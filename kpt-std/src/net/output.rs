//! What is to be sent, in a ring of bounded memory.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Write};

use super::input::{FIRST_BYTES, shrunk};

/// What a [`BufferedStream`](crate::BufferedStream) has still to send. [`Write`] queues in it: `write!(output, ..)`.
///
/// Each call queues all of its bytes or none. [`Write::flush`] does nothing; sending is
/// [`BufferedStream::flush`](crate::BufferedStream::flush).
pub struct Output {
    bytes: VecDeque<u8>,
    most: usize,
    /// The most bytes that were in it since it was empty.
    peak: usize,
}

impl Output {
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: VecDeque::new(), most, peak: 0 }
    }

    /// Returns how many bytes have been queued and not sent.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether all that was queued has been sent.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns how many bytes can be queued.
    pub fn room(&self) -> usize {
        self.most - self.bytes.len()
    }

    /// Returns whether more than half of the room is taken: the other side does not take what it is sent. A stream does
    /// not read then.
    pub fn is_congested(&self) -> bool {
        self.bytes.len() > self.most / 2
    }

    /// Queues bytes. They are copied once.
    ///
    /// # Errors
    /// Returns [`OutputFull`] and queues nothing if there is no room for all of them.
    #[inline]
    pub fn queue(&mut self, bytes: &[u8]) -> Result<(), OutputFull> {
        if bytes.len() > self.room() {
            return Err(OutputFull);
        }
        if bytes.len() > self.bytes.capacity() - self.bytes.len() {
            self.grow(bytes.len());
        }
        self.bytes.extend(bytes);
        Ok(())
    }

    /// Queues what `write` writes, as a whole: if it returns an error, nothing of it is queued.
    ///
    /// ```
    /// # use kpt_std::BufferedStream;
    /// # use std::io::Write;
    /// # let stream = std::io::empty();
    /// let mut client = BufferedStream::new(stream, 1024, 10);
    /// let output = client.output();
    /// let answer = output.queue_with(|output| {
    ///     write!(output, "${}\r\n", 5)?;
    ///     output.write_all(b"hello\r\n") // One byte too many.
    /// });
    /// assert!(answer.is_err());
    /// assert!(output.is_empty());
    /// ```
    ///
    /// # Errors
    /// Returns the error of `write`.
    pub fn queue_with<T, E>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let before = self.bytes.len();
        let result = write(self);
        if result.is_err() {
            self.bytes.truncate(before);
        }
        result
    }

    /// Reserves memory for this number of further bytes, but never for more than `most` in all.
    #[cold]
    fn grow(&mut self, count: usize) {
        let needed = self.bytes.len() + count;
        let doubled = self.bytes.capacity().saturating_mul(2).max(FIRST_BYTES);
        let capacity = doubled.max(needed).min(self.most);
        self.bytes.reserve_exact(capacity - self.bytes.len());
    }

    /// Sends what the stream takes now; returns whether that was all.
    pub(super) fn send(&mut self, mut stream: impl Write) -> io::Result<bool> {
        self.peak = self.peak.max(self.bytes.len());
        while !self.bytes.is_empty() {
            let sent = match self.bytes.as_slices() {
                (first, []) => stream.write(first),
                (first, second) => {
                    stream.write_vectored(&[IoSlice::new(first), IoSlice::new(second)])
                }
            };
            match sent {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.advance(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn advance(&mut self, count: usize) {
        if count < self.bytes.len() {
            self.bytes.drain(..count);
            return;
        }
        self.bytes.clear(); // What is queued next begins at the front, and is in one piece.
        if let Some(less) = shrunk(self.bytes.capacity(), self.peak) {
            self.bytes.shrink_to(less);
        }
        self.peak = 0;
    }

    /// How much memory it has.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }
}

/// All or nothing: the error is [`OutputFull`], of the kind [`StorageFull`](ErrorKind::StorageFull).
impl Write for Output {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.queue(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Ok(self.queue(bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({} of {} bytes)", self.bytes.len(), self.most)
    }
}

/// The output has no room for that many bytes. They may have some when the other side has taken what was queued before;
/// if the output is empty, never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputFull;

impl fmt::Display for OutputFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the output has no room: the other side does not take what it is sent")
    }
}

impl Error for OutputFull {}

impl From<OutputFull> for io::Error {
    fn from(full: OutputFull) -> Self {
        Self::new(ErrorKind::StorageFull, full)
    }
}
