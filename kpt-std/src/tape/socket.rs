//! The sockets of a replay, and what is recorded of others.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use kpt_core::Source;
use kpt_core::tape::{Call, Called};

use super::address::{decode, encode};
use super::here;
use crate::{Address, source};

/// A socket of a replay. Its descriptor is that of `/dev/null`: only its number is of use. What else is known of it is with
/// the tape, so that a stream is not larger for it: an argument of a thread is moved for each call of its hook.
#[derive(Debug)]
pub struct Replayed {
    file: File,
}

impl Replayed {
    /// Returns the socket that this call has opened on the tape.
    fn open(call: Call, on: Option<Source>, parts: &[&[u8]]) -> io::Result<Self> {
        let (number, bytes) = replay(call, on, parts)?;
        let file = dev_null()?;
        here::with_player(|player| {
            player.is_here(Source::new(number), source(&file));
            player.addresses.insert(source(&file), decode(&bytes));
        });
        Ok(Self { file })
    }

    /// Returns where it is, or who is at its other end. It is unknown when the replay is over.
    #[cold]
    pub fn address(&self) -> Address {
        let here = source(self);
        let known = here::with_player(|player| player.addresses.get(&here).cloned()).flatten();
        known.unwrap_or(Address::UNKNOWN)
    }

    pub fn accept(&self) -> io::Result<Self> {
        Self::open(Call::Accept, Some(source(self)), &[])
    }

    pub fn is_connected(&self) -> io::Result<bool> {
        self.call(Call::State, &[]).map(|state| state == 1)
    }

    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let code = self.call(Call::State, &[])?;
        Ok((code != 0).then(|| io::Error::from_raw_os_error(code as i32)))
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.set(shutdown(how))
    }

    pub fn set_nodelay(&self, is_on: bool) -> io::Result<()> {
        self.set(nodelay(is_on))
    }

    pub fn set_backlog(&self) -> io::Result<()> {
        self.set(BACKLOG)
    }

    fn set(&self, what: &str) -> io::Result<()> {
        self.call(Call::Set, &[what.as_bytes()]).map(drop)
    }

    fn call(&self, call: Call, parts: &[&[u8]]) -> io::Result<u32> {
        replay(call, Some(source(self)), parts).map(|(number, _)| number)
    }

    #[cold]
    pub fn write_parts(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        self.call(Call::Write, &parts).map(|count| count as usize)
    }

    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
        let (count, bytes) = replay(Call::Receive, Some(source(self)), &[])?;
        let (datagram, from) = bytes.split_at_checked(count as usize).unwrap_or((&bytes, &[]));
        copy(datagram, &mut [IoSliceMut::new(buffer)])?;
        Ok((datagram.len(), decode(from)))
    }

    pub fn send_to(&self, bytes: &[u8], to: &Address) -> io::Result<usize> {
        self.call(Call::Send, &[bytes, &encode(to)]).map(|count| count as usize)
    }
}

impl Read for &Replayed {
    #[cold]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buffer)])
    }

    #[cold]
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (_, bytes) = replay(Call::Read, Some(source(*self)), &[])?;
        copy(&bytes, buffers)
    }
}

impl Write for &Replayed {
    #[cold]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_parts(&[IoSlice::new(bytes)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Replayed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<Replayed> for OwnedFd {
    fn from(socket: Replayed) -> Self {
        socket.file.into()
    }
}

/// Copies received bytes into buffers, one after the other.
fn copy(mut bytes: &[u8], buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let all = bytes.len();
    for buffer in buffers {
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        bytes = &bytes[count..];
    }
    if bytes.is_empty() {
        return Ok(all);
    }
    Err(io::Error::other("the buffer is smaller than that of the recording"))
}

/// How a socket is opened.
#[derive(Clone, Copy)]
pub enum Opens {
    Bind,
    Connect,
}

/// Opens a socket: from the tape in a replay, and otherwise as `real` does. `wanted` is the address that it is opened
/// with, and `address` where it is or who is at its other end.
pub fn opening<T: AsFd>(
    how: Opens,
    wanted: impl FnOnce() -> Address,
    real: impl FnOnce() -> io::Result<T>,
    address: impl FnOnce(&T) -> Address,
    replayed: impl FnOnce(Replayed) -> T,
) -> io::Result<T> {
    let call = match how {
        Opens::Bind => Call::Bind,
        Opens::Connect => Call::Connect,
    };
    if here::is_replaying() {
        return Replayed::open(call, None, &[&encode(&wanted())]).map(replayed);
    }
    let result = real();
    if here::is_recording() {
        note_opened(call, Source::new(0), &[&encode(&wanted())], &result, address);
    }
    result
}

/// Puts a socket that was accepted on the tape.
#[inline]
pub fn note_accepted<T: AsFd>(
    listener: &impl AsFd,
    result: &io::Result<T>,
    peer: impl FnOnce(&T) -> Address,
) {
    if here::is_recording() {
        note_opened(Call::Accept, source(listener), &[], result, peer);
    }
}

#[cold]
fn note_opened<T: AsFd>(
    call: Call,
    on: Source,
    parts: &[&[u8]],
    result: &io::Result<T>,
    address: impl FnOnce(&T) -> Address,
) {
    let address = result.as_ref().map(|socket| encode(&address(socket))).unwrap_or_default();
    record(call, on, parts, outcome(result, |socket| source(socket).number()), &address);
}

/// Puts a read on the tape, with the bytes that it has returned.
#[inline]
pub fn note_read(stream: &impl AsFd, buffer: &[u8], result: &io::Result<usize>) {
    if here::is_recording() {
        record_read(source(stream), buffer, result);
    }
}

#[cold]
fn record_read(stream: Source, buffer: &[u8], result: &io::Result<usize>) {
    let bytes = &buffer[..result.as_ref().map_or(0, |count| *count)];
    record(Call::Read, stream, &[], outcome(result, |_| 0), bytes);
}

/// Puts a read into several buffers on the tape.
#[inline]
pub fn note_read_parts(stream: &impl AsFd, buffers: &[IoSliceMut<'_>], result: &io::Result<usize>) {
    if here::is_recording() {
        record_read_parts(source(stream), buffers, result);
    }
}

#[cold]
fn record_read_parts(stream: Source, buffers: &[IoSliceMut<'_>], result: &io::Result<usize>) {
    let buffers: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
    record_read(stream, &buffers.concat(), result);
}

/// Puts a write on the tape: a digest of the bytes, and how many the system has accepted.
#[inline]
pub fn note_written(stream: &impl AsFd, bytes: &[u8], result: &io::Result<usize>) {
    if here::is_recording() {
        record_written(source(stream), &[bytes], result);
    }
}

#[cold]
fn record_written(stream: Source, parts: &[&[u8]], result: &io::Result<usize>) {
    record(Call::Write, stream, parts, outcome(result, |count| *count as u32), &[]);
}

/// Puts a write of several parts on the tape.
#[inline]
pub fn note_written_parts(stream: &impl AsFd, parts: &[IoSlice<'_>], result: &io::Result<usize>) {
    if here::is_recording() {
        record_written_parts(source(stream), parts, result);
    }
}

#[cold]
fn record_written_parts(stream: Source, parts: &[IoSlice<'_>], result: &io::Result<usize>) {
    let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
    record_written(stream, &parts, result);
}

/// Puts on the tape which datagram was received, if any.
#[inline]
pub fn note_received(socket: &impl AsFd, buffer: &[u8], result: &io::Result<(usize, Address)>) {
    if here::is_recording() {
        record_received(source(socket), buffer, result);
    }
}

#[cold]
fn record_received(socket: Source, buffer: &[u8], result: &io::Result<(usize, Address)>) {
    let bytes = match result {
        Ok((count, from)) => [&buffer[..*count], &encode(from)].concat(),
        Err(_) => Vec::new(),
    };
    let result = outcome(result, |(count, _)| *count as u32);
    record(Call::Receive, socket, &[], result, &bytes);
}

/// Puts a datagram that was sent on the tape.
#[inline]
pub fn note_sent(socket: &impl AsFd, bytes: &[u8], to: &Address, result: &io::Result<usize>) {
    if here::is_recording() {
        record_sent(source(socket), bytes, to, result);
    }
}

#[cold]
fn record_sent(socket: Source, bytes: &[u8], to: &Address, result: &io::Result<usize>) {
    let parts = [bytes, &encode(to)];
    record(Call::Send, socket, &parts, outcome(result, |count| *count as u32), &[]);
}

/// Puts on the tape whether a connection is made.
#[inline]
pub fn note_connected(stream: &impl AsFd, result: &io::Result<bool>) {
    if here::is_recording() {
        record(Call::State, source(stream), &[], outcome(result, |is| u32::from(*is)), &[]);
    }
}

/// Puts on the tape which error is pending.
#[inline]
pub fn note_error(socket: &impl AsFd, result: &io::Result<Option<io::Error>>) {
    if here::is_recording() {
        let code = |error: &Option<io::Error>| error.as_ref().map_or(0, |error| code(error) as u32);
        record(Call::State, source(socket), &[], outcome(result, code), &[]);
    }
}

#[inline]
pub fn note_shutdown(stream: &impl AsFd, how: Shutdown, result: &io::Result<()>) {
    note_set(stream, shutdown(how), result);
}

#[inline]
pub fn note_nodelay(stream: &impl AsFd, is_on: bool, result: &io::Result<()>) {
    note_set(stream, nodelay(is_on), result);
}

#[inline]
pub fn note_backlog(listener: &impl AsFd, result: &io::Result<()>) {
    note_set(listener, BACKLOG, result);
}

/// Puts on the tape whether something could be set.
#[inline]
fn note_set(socket: &impl AsFd, what: &str, result: &io::Result<()>) {
    if here::is_recording() {
        record(Call::Set, source(socket), &[what.as_bytes()], outcome(result, |()| 0), &[]);
    }
}

/// What [`Call::Set`] records a digest of for the backlog.
const BACKLOG: &str = "backlog";

fn shutdown(how: Shutdown) -> &'static str {
    match how {
        Shutdown::Read => "shutdown of reading",
        Shutdown::Write => "shutdown of writing",
        Shutdown::Both => "shutdown",
    }
}

fn nodelay(is_on: bool) -> &'static str {
    if is_on { "nodelay" } else { "delay" }
}

/// Opens `/dev/null`, of which only the number of the descriptor is used.
pub(super) fn dev_null() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/null")
}

pub(super) fn outcome<T>(
    result: &io::Result<T>,
    number: impl FnOnce(&T) -> u32,
) -> Result<u32, i32> {
    result.as_ref().map(number).map_err(code)
}

pub(super) fn code(error: &io::Error) -> i32 {
    let other = if error.kind() == ErrorKind::InvalidInput { libc::EINVAL } else { libc::EIO };
    error.raw_os_error().unwrap_or(other)
}

/// Puts a call on the tape.
#[cold]
pub(super) fn record(
    call: Call,
    source: Source,
    parts: &[&[u8]],
    result: Result<u32, i32>,
    bytes: &[u8],
) {
    here::with_writer(|writer| {
        let sent = if parts.is_empty() { 0 } else { writer.digest(source, parts) };
        writer.called(&Called { call, source, sent, result, bytes });
    });
}

/// Returns what the tape says of a call; without a source, of one that opens a socket.
pub(super) fn replay(
    call: Call,
    source: Option<Source>,
    parts: &[&[u8]],
) -> io::Result<(u32, Rc<[u8]>)> {
    let over = || io::Error::other("the replay is over");
    here::with_player(|player| player.called(call, source, parts)).ok_or_else(over)?
}
