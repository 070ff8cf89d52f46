//! The content of a file on its way into blocks, or out of them.

use std::io::{self, ErrorKind, Read, Write};

use crate::netascii::{self, Decoder};
use crate::packet::Mode;

/// How many bytes of a file are encoded at once.
const CHUNK: u64 = 4096;

/// What a transfer reads or writes. An error ends the transfer.
pub trait Content {
    /// Appends the next block: `size` bytes, or fewer at the end of the file.
    ///
    /// # Errors
    /// Returns that of the file.
    fn read(&mut self, size: usize, to: &mut Vec<u8>) -> io::Result<()> {
        let _ = (size, to);
        Err(ErrorKind::Unsupported.into())
    }

    /// Writes a block.
    ///
    /// # Errors
    /// Returns that of the file.
    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        let _ = block;
        Err(ErrorKind::Unsupported.into())
    }

    /// Completes the file: the last block has been written.
    ///
    /// # Errors
    /// Returns that of the file.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is sent.
pub struct Outgoing<R> {
    file: R,
    is_text: bool,
    /// Text that has been encoded and not read.
    encoded: Vec<u8>,
}

impl<R: Read> Outgoing<R> {
    /// Takes a file from its current position on.
    pub fn new(file: R, mode: Mode) -> Self {
        Self { file, is_text: mode == Mode::Netascii, encoded: Vec::new() }
    }
}

impl<R: Read> Content for Outgoing<R> {
    fn read(&mut self, size: usize, to: &mut Vec<u8>) -> io::Result<()> {
        if !self.is_text {
            self.file.by_ref().take(size as u64).read_to_end(to)?;
            return Ok(());
        }
        while self.encoded.len() < size {
            let mut chunk = Vec::new();
            self.file.by_ref().take(CHUNK).read_to_end(&mut chunk)?;
            if chunk.is_empty() {
                break;
            }
            chunk.iter().for_each(|&byte| netascii::encode(byte, &mut self.encoded));
        }
        let count = size.min(self.encoded.len());
        to.extend(self.encoded.drain(..count));
        Ok(())
    }
}

/// A file that is being received, and is not there before it is complete.
pub trait Draft: Write {
    /// Makes it a file.
    ///
    /// # Errors
    /// Returns that of the system.
    fn complete(&mut self) -> io::Result<()>;
}

/// A file that is received.
pub struct Incoming<D> {
    draft: D,
    decoder: Option<Decoder>,
    decoded: Vec<u8>,
    /// The bytes that may still be written.
    room: u64,
}

impl<D: Draft> Incoming<D> {
    /// Takes a file of at most `most` bytes.
    pub fn new(draft: D, mode: Mode, most: u64) -> Self {
        let decoder = (mode == Mode::Netascii).then(Decoder::default);
        Self { draft, decoder, decoded: Vec::new(), room: most }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.room.checked_sub(bytes.len() as u64);
        self.room = room.ok_or(ErrorKind::FileTooLarge)?;
        self.draft.write_all(bytes)
    }
}

impl<D: Draft> Content for Incoming<D> {
    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        let Some(decoder) = &mut self.decoder else { return self.write_all(block) };
        let mut decoded = std::mem::take(&mut self.decoded);
        decoded.clear();
        decoder.decode(block, &mut decoded);
        let result = self.write_all(&decoded);
        self.decoded = decoded;
        result
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        if let Some(decoder) = &mut self.decoder {
            decoder.finish(&mut rest);
        }
        self.write_all(&rest)?;
        self.draft.flush()?;
        self.draft.complete()
    }
}
