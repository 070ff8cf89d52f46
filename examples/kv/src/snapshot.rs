//! The file that keeps the keys: written whole, checked whole, read whole.
//!
//! ```text
//! header   "kpt-kv\n", version (1 byte: 1), when it was written (8 bytes: ms since 1970)
//! a key    1, length of the key (4), length of the value (4), key, value
//! a key    2, when it ends (8 bytes: ms since 1970), and then as above
//! the end  255, number of keys (8), CRC-32 of all bytes before (4)
//! ```
//! All numbers are little-endian. Nothing may follow. Deadlines are those of the wall clock, as time goes on while the
//! server does not run.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

use crc32fast::Hasher;

const MAGIC: &[u8; 8] = b"kpt-kv\n\x01";
const KEY: u8 = 1;
const EXPIRING_KEY: u8 = 2;
const END: u8 = 255;

/// A time of the wall clock, in milliseconds since 1970.
pub type WallMillis = u64;

/// A key as it is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<K = Vec<u8>> {
    pub key: K,
    pub value: K,
    pub deadline: Option<WallMillis>,
}

/// Writes a snapshot.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    checksum: Hasher,
    keys: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// Returns the errors of `to`, as all methods do. What has been written is not a snapshot then.
    pub fn new(to: W, now: WallMillis) -> io::Result<Self> {
        let mut writer = Self { to, checksum: Hasher::new(), keys: 0 };
        writer.write(MAGIC)?;
        writer.write(&now.to_le_bytes())?;
        Ok(writer)
    }

    /// Appends a key.
    pub fn add(&mut self, record: &Record<&[u8]>) -> io::Result<()> {
        match record.deadline {
            None => self.write(&[KEY])?,
            Some(deadline) => {
                self.write(&[EXPIRING_KEY])?;
                self.write(&deadline.to_le_bytes())?;
            }
        }
        for bytes in [record.key, record.value] {
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            self.write(&length.to_le_bytes())?;
        }
        self.write(record.key)?;
        self.write(record.value)?;
        self.keys += 1;
        Ok(())
    }

    /// Ends it, and returns what has been written to and how many keys there are.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.write(&[END])?;
        let keys = self.keys;
        self.write(&keys.to_le_bytes())?;
        let checksum = self.checksum.clone().finalize();
        self.to.write_all(&checksum.to_le_bytes())?;
        self.to.flush()?;
        Ok((self.to, keys))
    }

    pub fn keys(&self) -> u64 {
        self.keys
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum.update(bytes);
        self.to.write_all(bytes)
    }
}

/// Why a snapshot is refused: where, what was expected there, and what was found.
#[derive(Debug)]
pub enum Refused {
    Io(io::Error),
    /// The file ends within something.
    Torn {
        at: u64,
        expected: &'static str,
    },
    /// The file ends before the length that it states. It is torn, or the length has been changed.
    TooShort {
        at: u64,
        expected: &'static str,
        length: u32,
        left: u64,
    },
    /// Something else is there.
    Foreign {
        at: u64,
        expected: String,
        found: String,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Torn { at, expected } => {
                write!(f, "torn: it ends at byte {at}, within {expected}")
            }
            Self::TooShort { at, expected, length, left } => write!(
                f,
                "torn: at byte {at}: expected {expected} of {length} bytes, found {left} and the end"
            ),
            Self::Foreign { at, expected, found } => {
                write!(f, "at byte {at}: expected {expected}, found {found}")
            }
        }
    }
}

impl std::error::Error for Refused {}

/// Reads a snapshot of `length` bytes, and calls `each` with its keys. They count only if this returns `Ok`: the checksum
/// stands at the end.
///
/// # Errors
/// Returns what is not as it should be. No memory is asked for that the file does not fill.
pub fn read(from: impl Read, length: u64, mut each: impl FnMut(Record)) -> Result<u64, Refused> {
    let mut reader = Reader { from, length, at: 0, checksum: Hasher::new() };
    reader.expect(*MAGIC, "a snapshot, which begins with", "the header")?;
    reader.take::<8>("the header")?;
    let mut keys = 0;
    loop {
        let at = reader.at;
        let [tag] = reader.take("a key, or the end of the keys")?;
        let deadline = match tag {
            KEY => None,
            EXPIRING_KEY => Some(u64::from_le_bytes(reader.take("the deadline of a key")?)),
            END => return reader.finish(keys),
            _ => {
                let expected = "a key (1 or 2), or the end of the keys (255)".to_owned();
                return Err(Refused::Foreign { at, expected, found: tag.to_string() });
            }
        };
        let key_length = u32::from_le_bytes(reader.take("the length of a key")?);
        let value_length = u32::from_le_bytes(reader.take("the length of a value")?);
        let key = reader.take_bytes(key_length, "a key")?;
        let value = reader.take_bytes(value_length, "a value")?;
        each(Record { key, value, deadline });
        keys += 1;
    }
}

struct Reader<R> {
    from: R,
    length: u64,
    at: u64,
    checksum: Hasher,
}

impl<R: Read> Reader<R> {
    /// After the tag of the end.
    fn finish(mut self, keys: u64) -> Result<u64, Refused> {
        self.expect(keys.to_le_bytes(), "the number of keys,", "the number of keys")?;
        let checksum = self.checksum.clone().finalize();
        self.expect(checksum.to_le_bytes(), "the checksum", "the checksum")?;
        if self.at != self.length {
            let found = format!("{} bytes more", self.length - self.at);
            return Err(Refused::Foreign { at: self.at, expected: "the end".into(), found });
        }
        Ok(keys)
    }

    fn expect<const N: usize>(
        &mut self,
        bytes: [u8; N],
        what: &str,
        within: &'static str,
    ) -> Result<(), Refused> {
        let at = self.at;
        let found = self.take::<N>(within)?;
        if found == bytes {
            return Ok(());
        }
        let expected = format!("{what} '{}'", bytes.escape_ascii());
        Err(Refused::Foreign { at, expected, found: format!("'{}'", found.escape_ascii()) })
    }

    fn take<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], Refused> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, expected)?;
        Ok(bytes)
    }

    fn take_bytes(&mut self, length: u32, expected: &'static str) -> Result<Vec<u8>, Refused> {
        let left = self.length.saturating_sub(self.at);
        if u64::from(length) > left {
            return Err(Refused::TooShort { at: self.at, expected, length, left });
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes, expected)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8], expected: &'static str) -> Result<(), Refused> {
        self.from.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Refused::Torn { at: self.length, expected },
            _ => Refused::Io(error),
        })?;
        self.checksum.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
