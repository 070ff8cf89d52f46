//! The queue of outgoing frames.

use super::{HEADER, Kind, LONGEST_TEXT, cut};

/// The reason why a frame is not queued. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room now.
    Full,
    /// It never fits.
    TooLong,
}

/// Outgoing bytes: whole frames, of which the first may have been sent in part.
pub struct Outbox {
    bytes: Vec<u8>,
    /// The number of bytes that have been sent.
    sent: usize,
    longest: usize,
    limit: usize,
}

impl Outbox {
    /// Creates a queue for messages of up to `longest` bytes. It holds at least two of that length, and up to `limit`
    /// bytes.
    pub fn new(longest: usize, limit: usize) -> Self {
        let limit = limit.max(2 * (HEADER + longest));
        Self { bytes: Vec::new(), sent: 0, longest, limit }
    }

    /// Returns the number of bytes that it holds.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Appends a message.
    pub fn push_message(&mut self, payload: &[u8]) -> Result<(), Refused> {
        if payload.len() > self.longest {
            return Err(Refused::TooLong);
        }
        if self.unsent().len() + HEADER + payload.len() > self.limit {
            return Err(Refused::Full);
        }
        self.push(Kind::Message, payload);
        Ok(())
    }

    /// Appends another frame. There are few of them, and they are small, so there is always room.
    pub fn push_control(&mut self, kind: Kind, text: &str) {
        self.push(kind, cut(text, LONGEST_TEXT).as_bytes());
    }

    fn push(&mut self, kind: Kind, payload: &[u8]) {
        // Neither is longer than 16 MiB.
        let length = payload.len() as u32;
        self.bytes.push(kind as u8);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(payload);
    }

    /// Returns the bytes that have yet to be sent.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Removes the first `count` bytes of `unsent`, which have been sent.
    pub fn mark_sent(&mut self, count: usize) {
        self.sent = self.bytes.len().min(self.sent + count);
        // Moves fewer bytes than have been sent since the last move.
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Removes everything, when the other side does not read any more.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }

    /// Returns whether a message of any allowed length fits.
    pub fn has_room(&self) -> bool {
        self.unsent().len() + HEADER + self.longest <= self.limit
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
