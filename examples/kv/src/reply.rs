//! Replies of RESP2, appended to one buffer, whose size is bounded.

use std::fmt::{self, Write};

/// The replies to a batch of requests, and how many bytes there is room for.
#[derive(Debug, Default)]
pub struct Reply {
    bytes: Vec<u8>,
    room: usize,
    /// Something found no room. Nothing is appended from then on.
    is_over: bool,
}

impl Reply {
    /// Empties it, for a client that may get `room` more bytes.
    pub fn restart(&mut self, room: usize) {
        self.bytes.clear();
        (self.room, self.is_over) = (room, false);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the client's bound has been reached.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Gives back what one large reply has taken.
    pub fn shrink(&mut self, most: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(most);
    }

    pub fn ok(&mut self) {
        self.push(b"+OK\r\n");
    }

    /// Appends a line of text that has no line break in it.
    pub fn simple(&mut self, text: &str) {
        self.push(b"+");
        self.push(text.as_bytes());
        self.push(b"\r\n");
    }

    /// Appends an error, whose first word is its code. A line break in it would be the start of the next reply, so it
    /// becomes a space.
    pub fn error(&mut self, error: impl fmt::Display) {
        struct OneLine<'a>(&'a mut Reply);
        impl Write for OneLine<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for piece in text.split_inclusive(['\r', '\n']) {
                    let line = piece.trim_end_matches(['\r', '\n']);
                    self.0.push(line.as_bytes());
                    if line.len() < piece.len() {
                        self.0.push(b" ");
                    }
                }
                Ok(())
            }
        }
        self.push(b"-");
        let _ = write!(OneLine(self), "{error}");
        self.push(b"\r\n");
    }

    pub fn integer(&mut self, number: i64) {
        self.number(b":", number);
    }

    pub fn bulk(&mut self, bytes: &[u8]) {
        self.number(b"$", bytes.len() as i64);
        self.push(bytes);
        self.push(b"\r\n");
    }

    /// Appends a bulk string, or that there is none.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.push(b"$-1\r\n"),
        }
    }

    /// Begins an array, whose elements follow.
    pub fn array(&mut self, length: usize) {
        self.number(b"*", length as i64);
    }

    fn number(&mut self, sign: &[u8], number: i64) {
        self.push(sign);
        self.push(itoa::Buffer::new().format(number).as_bytes());
        self.push(b"\r\n");
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        if bytes.len() > self.room || self.is_over {
            self.is_over = true;
            return;
        }
        self.room -= bytes.len();
        self.bytes.extend_from_slice(bytes);
    }
}
