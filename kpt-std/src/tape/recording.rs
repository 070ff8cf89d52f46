//! The recording of this OS thread: the tape to which its poller and its streams write.

use std::fmt;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::mem;
use std::ops::Range;

use kpt_core::Source;
use kpt_core::poller::HookCall;
use kpt_core::tape::{Call, Called, Encoder, Entry, Output, TAPE, VERSION};

use super::here::{self, Here};
use super::task;
use super::value::BYTES;
use crate::sys;

/// The number of bytes that are kept before they are written, unless another number is set.
const BUFFER: usize = 64 * 1024;

/// Overwrites what must not be on a tape.
pub(super) type Mask = Box<dyn FnMut(Source, &mut [u8])>;

/// Options of a recording. [`record`](Self::record) starts it.
///
/// ```
/// use kpt_std::EventLoop;
/// use kpt_std::tape::Options;
///
/// let hide_digits = |_source, bytes: &mut [u8]| {
///     bytes.iter_mut().filter(|byte| byte.is_ascii_digit()).for_each(|byte| *byte = b'0');
/// };
/// # let (file, path) = (std::io::sink(), ());
/// let recording = Options::new().limit(1 << 30).mask(hide_digits).record(file)?;
/// let mut kpt = EventLoop::<()>::new()?;
/// // Open sockets and add threads.
/// kpt.run(&mut ())?;
/// recording.stop()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "`record` starts"]
pub struct Options {
    buffer: usize,
    limit: u64,
    mask: Option<Mask>,
}

impl Options {
    /// Creates options for a tape without a limit, written in pieces of 64 KiB.
    pub fn new() -> Self {
        Self { buffer: BUFFER, limit: u64::MAX, mask: None }
    }

    /// Sets how many bytes are kept in memory before they are written in one call: 64 KiB by default. They are lost if the
    /// process is killed. With 0, each entry is written at once. An entry that is longer is kept until it is complete.
    pub fn buffer(self, bytes: usize) -> Self {
        Self { buffer: bytes, ..self }
    }

    /// Sets the largest length of the tape, in bytes: without a limit by default. The recording ends before the first entry
    /// that would exceed it.
    pub fn limit(self, bytes: u64) -> Self {
        Self { limit: bytes, ..self }
    }

    /// Sets a function that overwrites secrets. It is called with a copy of all bytes that are received through sockets, in
    /// messages of tasks and as [`bytes`](super::bytes), before they are put on the tape, and of all bytes that are sent,
    /// before their digest is computed. A replay receives the bytes without the secrets, and the program must do the same
    /// with those; it needs the same mask ([`Replay::set_mask`](super::Replay::set_mask)). Addresses, numbers and names of
    /// threads stay as they are.
    pub fn mask(self, mask: impl FnMut(Source, &mut [u8]) + 'static) -> Self {
        Self { mask: Some(Box::new(mask)), ..self }
    }

    /// Starts to record on this OS thread. The same OS thread writes to `to`, so a write that blocks holds up the loop: use
    /// a regular file, for which the kernel usually only copies. There is no second OS thread for this, since a process that
    /// starts tasks must have only one.
    ///
    /// # Errors
    /// Returns an error if this OS thread records or replays already, or the error of the first write.
    pub fn record(self, to: impl Write + 'static) -> io::Result<Recording> {
        let Self { buffer, limit, mask } = self;
        let mut writer = Writer {
            process: sys::generation(),
            to: Box::new(to),
            bytes: Bytes(Vec::with_capacity(buffer.min(BUFFER))),
            buffer,
            written: 0,
            limit,
            encoder: Encoder::new(),
            mask,
            copy: Vec::new(),
            end: None,
        };
        writer.bytes.0.extend([TAPE, VERSION.to_le_bytes()].as_flattened());
        writer.flush();
        writer.take_error()?;
        here::start(Here::Records(Box::new(writer)))?;
        Ok(Recording { own: PhantomData })
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// A recording on this OS thread, until it is stopped or dropped.
#[derive(Debug)]
#[must_use = "the recording stops when this is dropped"]
pub struct Recording {
    own: PhantomData<*const ()>,
}

impl Recording {
    /// Starts a recording with the usual [`Options`].
    ///
    /// # Errors
    /// Fails as [`Options::record`] does.
    pub fn start(to: impl Write + 'static) -> io::Result<Self> {
        Options::new().record(to)
    }

    /// Returns the length of the tape so far, in bytes.
    pub fn bytes(&self) -> u64 {
        here::with_writer(|writer| writer.written + writer.bytes.0.len() as u64).unwrap_or(0)
    }

    /// Returns whether nothing is recorded any more: a write has failed, or the limit has been reached.
    pub fn is_over(&self) -> bool {
        here::with_writer(|writer| writer.end.is_some()).unwrap_or(true)
    }

    /// Writes what is kept in memory, so that it is not lost if the process is killed.
    ///
    /// # Errors
    /// Returns the error of the write that has ended the recording, once.
    pub fn flush(&self) -> io::Result<()> {
        here::with_writer(|writer| {
            writer.flush();
            writer.take_error()
        })
        .unwrap_or(Ok(()))
    }

    /// Ends the tape.
    ///
    /// # Errors
    /// Returns the error of the write that has ended the recording earlier. What was written before can be replayed.
    pub fn stop(self) -> io::Result<()> {
        let result = end();
        mem::forget(self);
        result
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = end();
    }
}

fn end() -> io::Result<()> {
    let Some(mut writer) = here::stop_recording() else { return Ok(()) };
    if writer.is_inherited() {
        mem::forget(writer);
        return Ok(());
    }
    writer.put(&Entry::End);
    writer.flush();
    writer.take_error()
}

/// Writes entries.
pub(super) struct Writer {
    /// The `generation` of the process that records.
    process: u32,
    to: Box<dyn Write>,
    bytes: Bytes,
    buffer: usize,
    written: u64,
    limit: u64,
    encoder: Encoder<64>,
    mask: Option<Mask>,
    /// The copy of bytes that are masked.
    copy: Vec<u8>,
    /// Why nothing is recorded any more.
    end: Option<End>,
}

/// The part of what a call has brought that may be secret.
fn secrets(called: &Called<'_>) -> Range<usize> {
    let all = called.bytes.len();
    match (called.call, called.result) {
        (Call::Read, _) | (Call::Value, Ok(BYTES)) => 0..all,
        (Call::Receive, Ok(count)) => 0..all.min(count as usize),
        (Call::Event, _) => task::payload_of(called.bytes),
        _ => all..all,
    }
}

enum End {
    Limit,
    Failed(io::Error),
    /// The error has been taken.
    Told,
}

struct Bytes(Vec<u8>);

impl Output for Bytes {
    #[inline]
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl Writer {
    /// Returns whether this process was forked since the recording has started.
    pub fn is_inherited(&self) -> bool {
        self.process != sys::generation()
    }

    #[inline]
    pub fn put(&mut self, entry: &Entry<'_>) {
        self.write(|encoder, bytes| encoder.entry(entry, bytes));
    }

    #[inline]
    pub fn hook(&mut self, call: &HookCall) {
        self.write(|encoder, bytes| encoder.hook(call, bytes));
    }

    /// Records a call that has received bytes.
    pub fn called(&mut self, called: &Called<'_>) {
        let Some(mask) = &mut self.mask else { return self.put(&Entry::Called(*called)) };
        let mut copy = mem::take(&mut self.copy);
        copy.clear();
        copy.extend_from_slice(called.bytes);
        mask(called.source, &mut copy[secrets(called)]);
        self.put(&Entry::Called(Called { bytes: &copy, ..*called }));
        self.copy = copy;
    }

    /// Returns the digest of what is sent.
    pub fn digest(&mut self, source: Source, parts: &[&[u8]]) -> u32 {
        here::digest(source, parts, self.mask.as_mut(), &mut self.copy)
    }

    #[inline]
    fn write(&mut self, encode: impl FnOnce(&mut Encoder<64>, &mut Bytes)) {
        if self.end.is_some() {
            return;
        }
        let before = self.bytes.0.len();
        encode(&mut self.encoder, &mut self.bytes);
        let length = self.bytes.0.len();
        if length > self.buffer || self.limit - self.written < length as u64 {
            self.write_out(before);
        }
    }

    #[cold]
    fn write_out(&mut self, before: usize) {
        if self.limit - self.written < self.bytes.0.len() as u64 {
            self.bytes.0.truncate(before);
            self.end = Some(End::Limit);
        }
        self.flush();
    }

    fn flush(&mut self) {
        if matches!(self.end, Some(End::Failed(_) | End::Told)) {
            return;
        }
        let result = self.to.write_all(&self.bytes.0).and_then(|()| self.to.flush());
        self.written += self.bytes.0.len() as u64;
        self.bytes.0.clear();
        if let Err(error) = result {
            crate::log::error!("the tape can't be written, and ends here: {error}");
            self.end = Some(End::Failed(error));
        }
    }

    fn take_error(&mut self) -> io::Result<()> {
        match self.end.take() {
            Some(End::Failed(error)) => {
                self.end = Some(End::Told);
                Err(error)
            }
            end => {
                self.end = end;
                Ok(())
            }
        }
    }
}
