//! Entries of a tape as bytes.
//!
//! An entry is a byte with its tag and a detail of four bits each, and numbers of seven bits a byte, the lowest first.
//! Times are differences to the entry before. A name is defined where it is first used.

use super::entry::{Call, Called, Entry};
use crate::id::ThreadId;
use crate::poller::HookCall;
use crate::source::{Kind, Readiness, Source};
use crate::time::Instant;

/// The version of the format, in the second word of what is written.
pub const VERSION: u32 = 1;
/// The first word of a tape of entries that follow each other.
pub const TAPE: [u8; 4] = *b"KPTT";

/// The most names that are known at a time. A name beyond that takes the number of an earlier one.
pub(super) const MOST_NAMES: usize = 64;

/// The longest name of a thread on a tape, in bytes. Longer names are cut to it, between two characters.
pub const LONGEST_NAME: usize = 31;

const END: u8 = 13;
const STARTS: u8 = 1;
const NAME: u8 = 2;
const HOOK: u8 = 3;
const TIME: u8 = 4;
const SLEEPS: u8 = 5;
const READY: u8 = 6;
const WOKE: u8 = 7;
const FAILED: u8 = 8;
const NOW: u8 = 9;
const REFUSED: u8 = 10;
const PREPARED: u8 = 11;
const CALL: u8 = 12;

/// Where encoded bytes go.
pub trait Output {
    /// Appends a byte.
    fn byte(&mut self, byte: u8);

    /// Appends bytes.
    fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.byte(byte);
        }
    }
}

/// Encodes entries, and knows the time and the names of those before. `N` names are known at a time, at most 64.
#[derive(Debug)]
pub struct Encoder<const N: usize> {
    time: u64,
    names: [&'static str; N],
    /// The name that is given up next.
    next: u8,
}

impl<const N: usize> Encoder<N> {
    /// Creates the encoder of a tape, or of a part that can be read by itself.
    pub const fn new() -> Self {
        const { assert!(N > 0 && N <= MOST_NAMES, "1 to 64 names") };
        Self { time: 0, names: [""; N], next: 0 }
    }

    /// Returns the latest time that was encoded.
    pub const fn time(&self) -> Instant {
        Instant::from_micros(self.time)
    }

    /// Encodes the call of a hook.
    pub fn hook(&mut self, call: &HookCall, out: &mut impl Output) {
        let name = self.name(call.name, out);
        out.byte(HOOK << 4 | call.kind as u8);
        out.byte(name);
        number(out, call.id.position() as u64);
        number(out, call.id.generation());
        if call.kind == Kind::Timer {
            number(out, self.time.saturating_sub(call.due.as_micros()));
        }
    }

    /// Encodes an entry other than the call of a hook, for which this does nothing.
    #[inline]
    pub fn entry(&mut self, entry: &Entry<'_>, out: &mut impl Output) {
        match *entry {
            Entry::End => out.byte(END << 4),
            Entry::Starts { look_after_hooks } => {
                out.byte(STARTS << 4);
                number(out, u64::from(look_after_hooks));
            }
            Entry::Hook { .. } => {}
            Entry::Awake(time) => self.timed(TIME << 4, time, out),
            Entry::Returned(time) => self.timed(TIME << 4 | 1, time, out),
            Entry::Sleeps(Instant::NEVER) => out.byte(SLEEPS << 4 | 1),
            Entry::Sleeps(until) => {
                out.byte(SLEEPS << 4);
                number(out, zigzag(until.as_micros().wrapping_sub(self.time)));
            }
            Entry::Ready(source, readiness) => {
                out.byte(READY << 4 | bits(readiness));
                number(out, u64::from(source.number()));
            }
            Entry::Woke(time) => self.timed(WOKE << 4, time, out),
            Entry::Failed => out.byte(FAILED << 4),
            Entry::Now(time) => self.timed(NOW << 4, time, out),
            Entry::Refused(source) => {
                out.byte(REFUSED << 4);
                number(out, u64::from(source.number()));
            }
            Entry::Prepared(Instant::NEVER) => out.byte(PREPARED << 4 | 1),
            Entry::Prepared(until) => {
                out.byte(PREPARED << 4);
                number(out, zigzag(until.as_micros().wrapping_sub(self.time)));
            }
            Entry::Called(ref called) => encode_call(called, out),
        }
    }

    #[inline]
    fn timed(&mut self, tag: u8, time: Instant, out: &mut impl Output) {
        out.byte(tag);
        number(out, zigzag(time.as_micros().wrapping_sub(self.time)));
        self.time = time.as_micros();
    }

    /// Returns the number of a name, which is defined first if it is new.
    #[inline]
    fn name(&mut self, name: &'static str, out: &mut impl Output) -> u8 {
        // The same text elsewhere is another name, which is defined once more.
        let known = self.names.iter().position(|known| core::ptr::eq(*known, name));
        known.map_or_else(|| self.define(name, out), |at| at as u8)
    }

    #[cold]
    fn define(&mut self, name: &'static str, out: &mut impl Output) -> u8 {
        let number = self.next;
        if let Some(place) = self.names.get_mut(usize::from(number)) {
            *place = name;
        }
        let next = number.wrapping_add(1);
        self.next = if usize::from(next) < N { next } else { 0 };
        let mut most = name.len().min(LONGEST_NAME);
        while !name.is_char_boundary(most) {
            most = most.saturating_sub(1);
        }
        out.byte(NAME << 4);
        out.byte(number);
        out.byte(most as u8);
        out.bytes(name.as_bytes().get(..most).unwrap_or_default());
        number
    }
}

impl<const N: usize> Default for Encoder<N> {
    fn default() -> Self {
        Self::new()
    }
}

fn encode_call(called: &Called<'_>, out: &mut impl Output) {
    let Called { call, source, sent, result, bytes } = *called;
    out.byte(CALL << 4 | call as u8);
    number(out, u64::from(source.number()));
    if call.sends() {
        out.bytes(&sent.to_le_bytes());
    }
    number(
        out,
        match result {
            Ok(value) => u64::from(value) << 1,
            Err(code) => u64::from(code.unsigned_abs()) << 1 | 1,
        },
    );
    if call.brings() {
        number(out, bytes.len() as u64);
        out.bytes(bytes);
    }
}

#[inline]
fn number(out: &mut impl Output, mut number: u64) {
    while number >= 128 {
        out.byte(number as u8 | 128);
        number >>= 7;
    }
    out.byte(number as u8);
}

/// Makes small differences of either sign small numbers.
const fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ ((difference as i64) >> 63) as u64
}

const fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

fn bits(readiness: Readiness) -> u8 {
    let mut bits = 0;
    for (bit, part) in PARTS {
        if readiness.intersects(part) {
            bits |= bit;
        }
    }
    bits
}

const PARTS: [(u8, Readiness); 4] = [
    (1, Readiness::READABLE),
    (2, Readiness::WRITABLE),
    (4, Readiness::HANGUP),
    (8, Readiness::ERROR),
];

/// Decodes entries from bytes, one by one. Ends before the first entry that is cut off or that no encoder has written.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    time: u64,
    names: [&'a str; MOST_NAMES],
}

impl<'a> Decoder<'a> {
    /// Creates a decoder of what one encoder has written.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, time: 0, names: ["?"; MOST_NAMES] }
    }

    /// Returns the time that was last decoded.
    pub const fn time(&self) -> Instant {
        Instant::from_micros(self.time)
    }

    fn decode(&mut self) -> Option<Entry<'a>> {
        loop {
            let byte = self.byte()?;
            let detail = byte & 15;
            return Some(match byte >> 4 {
                END => Entry::End,
                STARTS => Entry::Starts { look_after_hooks: self.small()? },
                NAME => {
                    self.define()?;
                    continue;
                }
                HOOK => self.hook(detail)?,
                TIME if detail == 0 => Entry::Awake(self.timed()?),
                TIME => Entry::Returned(self.timed()?),
                SLEEPS => Entry::Sleeps(self.until(detail)?),
                READY => Entry::Ready(self.source()?, readiness(detail)),
                WOKE => Entry::Woke(self.timed()?),
                FAILED => Entry::Failed,
                NOW => Entry::Now(self.timed()?),
                REFUSED => Entry::Refused(self.source()?),
                PREPARED => Entry::Prepared(self.until(detail)?),
                CALL => Entry::Called(self.call(detail)?),
                _ => return None,
            });
        }
    }

    fn hook(&mut self, kind: u8) -> Option<Entry<'a>> {
        let kinds =
            [Kind::Timer, Kind::Read, Kind::Write, Kind::ReadWrite, Kind::Execute, Kind::Paused];
        let kind = kinds.into_iter().find(|known| *known as u8 == kind)?;
        let name = self.byte()?;
        let name = *self.names.get(usize::from(name))?;
        let (position, generation) = (self.number()?, self.number()?);
        let id = ThreadId::from_parts(position, generation)?;
        let late = if kind == Kind::Timer { self.number()? } else { 0 };
        Some(Entry::Hook { name, kind, id, late })
    }

    fn call(&mut self, call: u8) -> Option<Called<'a>> {
        let call = Call::ALL.into_iter().find(|known| *known as u8 == call)?;
        let source = self.source()?;
        let mut sent = [0; 4];
        if call.sends() {
            sent.copy_from_slice(self.take(4)?);
        }
        let number = self.number()?;
        let half = u32::try_from(number >> 1).ok()?;
        let result = if number & 1 == 0 { Ok(half) } else { Err(i32::try_from(half).ok()?) };
        let bytes = if call.brings() {
            let length = self.number()?;
            self.take(usize::try_from(length).ok()?)?
        } else {
            &[]
        };
        Some(Called { call, source, sent: u32::from_le_bytes(sent), result, bytes })
    }

    fn define(&mut self) -> Option<()> {
        let (number, length) = (self.byte()?, self.byte()?);
        let text = self.take(usize::from(length))?;
        let place = self.names.get_mut(usize::from(number))?;
        *place = core::str::from_utf8(text).unwrap_or("?");
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0_u32);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 127).checked_shl(shift)?;
            if byte < 128 {
                return Some(number);
            }
            shift = shift.saturating_add(7);
        }
    }

    fn small(&mut self) -> Option<u32> {
        self.number().and_then(|number| u32::try_from(number).ok())
    }

    fn source(&mut self) -> Option<Source> {
        self.small().map(Source::new)
    }

    fn timed(&mut self) -> Option<Instant> {
        self.time = self.time.wrapping_add(unzigzag(self.number()?));
        Some(self.time())
    }

    fn until(&mut self, detail: u8) -> Option<Instant> {
        if detail == 1 {
            return Some(Instant::NEVER);
        }
        let until = self.time.wrapping_add(unzigzag(self.number()?));
        Some(Instant::from_micros(until))
    }
}

fn readiness(bits: u8) -> Readiness {
    let found = PARTS.into_iter().filter(|(bit, _)| bits & bit != 0);
    found.fold(Readiness::NONE, |all, (_, part)| all | part)
}

impl<'a> Iterator for Decoder<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let before = self.bytes;
        let entry = self.decode();
        if entry.is_none() {
            self.bytes = before;
        }
        entry
    }
}
