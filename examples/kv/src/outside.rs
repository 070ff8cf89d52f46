//! What the server receives by other ways than its loop and its sockets, and what it does to files: each has a name on the
//! tape. A replay takes the results from the tape, and does nothing.

use std::io::{self, Read};

use kpt_std::tape;

/// What is asked for or done.
#[derive(Clone, Copy, Debug)]
pub enum Outside {
    /// The command line.
    Args,
    /// The absolute path of the directory.
    Dir,
    /// The limit of open files, which is raised.
    OpenFiles,
    /// The number of the process.
    Process,
    /// The wall clock.
    Wall,
    /// The snapshot that is read at the start, and its length.
    Snapshot,
    /// A snapshot that this process itself writes.
    Save,
    /// Unfinished snapshots that are removed.
    Remove,
    /// The log that is opened anew.
    Log,
}

impl Outside {
    /// Asks for a number.
    pub fn number(self, get: impl FnOnce() -> u64) -> u64 {
        tape::value(self as u32, get)
    }

    /// Asks for bytes.
    ///
    /// # Errors
    /// Returns the error of `get`.
    pub fn bytes(self, get: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
        tape::bytes(self as u32, get)
    }

    /// Does something that returns a number.
    ///
    /// # Errors
    /// Returns the error of `work`.
    pub fn attempt(self, work: impl FnOnce() -> io::Result<u64>) -> io::Result<u64> {
        let number = self.bytes(|| Ok(work()?.to_le_bytes().into()))?;
        number.try_into().map(u64::from_le_bytes).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// Reads a file in pieces of this many bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// What is read from a file, piece by piece.
pub struct Pieces<R> {
    what: Outside,
    /// There is none in a replay.
    from: Option<R>,
    piece: Vec<u8>,
    used: usize,
}

impl<R: Read> Pieces<R> {
    pub fn new(what: Outside, from: Option<R>) -> Self {
        Self { what, from, piece: Vec::new(), used: 0 }
    }

    fn next_piece(&mut self) -> io::Result<()> {
        let from = &mut self.from;
        self.piece = self.what.bytes(|| {
            let mut piece = vec![0; PIECE_BYTES];
            let count = from.as_mut().map_or(Ok(0), |from| from.read(&mut piece))?;
            piece.truncate(count);
            Ok(piece)
        })?;
        self.used = 0;
        Ok(())
    }
}

impl<R: Read> Read for Pieces<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.piece.len() {
            self.next_piece()?;
        }
        let count = (&self.piece[self.used..]).read(buffer)?;
        self.used += count;
        Ok(count)
    }
}
