//! Reading a tape or a ring, from the oldest entry to the newest.

use core::fmt;

use super::code::{Decoder, TAPE, VERSION};
use super::entry::{Entry, Seconds};
use super::ring::{HEADER, NUMBER, RING, RUNS, USED, block_size};
use crate::time::Instant;

const WORD: usize = 4;

/// The entries of a tape or of a ring, each with its time.
///
/// Reads any bytes without a panic. It ends before an entry that is cut off, and leaves out blocks of a ring that are
/// not valid.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    /// The words of a block, or 0 for a tape, which is all one block.
    size: usize,
    /// The block that is read next, and how many are left.
    next: usize,
    left: usize,
    decoder: Decoder<'a>,
    is_in_hook: bool,
}

impl<'a> Records<'a> {
    /// Creates a reader of a tape or a ring, whichever the bytes are.
    ///
    /// # Errors
    /// Returns [`NoTape`] if they do not begin as a tape or ring of this version does.
    pub fn new(bytes: &'a [u8]) -> Result<Self, NoTape> {
        let magic = bytes.get(..WORD).ok_or(NoTape::Other)?;
        let is_ring = magic == RING;
        if !is_ring && magic != TAPE {
            return Err(NoTape::Other);
        }
        let version = word(bytes, 1).ok_or(NoTape::Other)?;
        if version != VERSION {
            return Err(NoTape::Version(version));
        }
        let rest = bytes.get(HEADER.saturating_mul(WORD)..).unwrap_or_default();
        let mut records = Self {
            bytes,
            size: 0,
            next: 0,
            left: 0,
            decoder: Decoder::new(rest),
            is_in_hook: false,
        };
        if is_ring {
            records.decoder = Decoder::new(&[]);
            records.size = block_size(bytes.len() / WORD);
            records.find_oldest();
        }
        Ok(records)
    }

    /// Returns whether a ring was left while a hook ran: that of the last [`Entry::Hook`].
    pub fn is_in_hook(&self) -> bool {
        self.is_in_hook
    }

    /// Begins with the block after the newest one. The newest is the one whose number is not continued by the next block.
    fn find_oldest(&mut self) {
        let count = self.blocks();
        self.left = count;
        let number = |at| self.head(at).map_or(0, |head| head >> NUMBER);
        let newest = (0..count).find(|&at| {
            let after = number(self.after(at));
            number(at) != 0
                && after != number(at).wrapping_add(1)
                && (number(at), after) != (0xFFFF, 1)
        });
        if let Some(newest) = newest {
            self.next = self.after(newest);
            self.is_in_hook = self.head(newest).is_some_and(|head| head & RUNS != 0);
        }
    }

    fn blocks(&self) -> usize {
        let words = (self.bytes.len() / WORD).saturating_sub(HEADER);
        words.checked_div(self.size).unwrap_or(0)
    }

    fn after(&self, block: usize) -> usize {
        let after = block.saturating_add(1);
        if after < self.blocks() { after } else { 0 }
    }

    /// The position of a block's first word.
    fn position(&self, block: usize) -> usize {
        block.saturating_mul(self.size).saturating_add(HEADER)
    }

    fn head(&self, block: usize) -> Option<u32> {
        word(self.bytes, self.position(block))
    }

    /// Returns the valid bytes of a block.
    fn block(&self, block: usize) -> Option<&'a [u8]> {
        let head = self.head(block).filter(|head| head >> NUMBER != 0)?;
        let from = self.position(block).saturating_add(1).saturating_mul(WORD);
        let used = (head & USED) as usize;
        // A block that claims to hold more than it has room for is not valid.
        let has_room = used <= self.size.saturating_sub(1).saturating_mul(WORD);
        self.bytes.get(from..from.saturating_add(used)).filter(|_| has_room)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            if let Some(entry) = self.decoder.next() {
                return Some(Record { time: self.decoder.time(), entry });
            }
            self.left = self.left.checked_sub(1)?;
            let block = self.block(self.next).unwrap_or_default();
            self.next = self.after(self.next);
            self.decoder = Decoder::new(block);
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let from = at.checked_mul(WORD)?;
    let bytes = bytes.get(from..from.checked_add(WORD)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// An entry and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The latest time on the tape up to here.
    pub time: Instant,
    /// The entry.
    pub entry: Entry<'a>,
}

/// One line: seconds, entry.
impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Seconds(self.time), self.entry)
    }
}

/// The error of bytes that are neither a tape nor a ring of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum NoTape {
    /// The bytes do not begin as a tape or a ring does.
    Other,
    /// The tape or ring has this version.
    Version(u32),
}

impl fmt::Display for NoTape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => f.write_str("neither a tape nor a ring"),
            Self::Version(version) => {
                write!(f, "a tape of version {version}; this is for version {VERSION}")
            }
        }
    }
}

impl core::error::Error for NoTape {}
