//! The queue of outgoing frames.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
    /// The descriptors of messages of which no byte has been sent, with the places of the messages in `bytes`.
    descriptors: VecDeque<(usize, OwnedFd)>,
    longest: usize,
    limit: usize,
    most: usize,
}

impl Outbox {
    /// Creates a queue for messages of up to `longest` bytes. It holds at least two of that length, and up to `limit`
    /// bytes, and up to this number of descriptors.
    pub fn new(longest: usize, limit: usize, descriptors: usize) -> Self {
        let limit = limit.max(2 * (HEADER + longest));
        let bytes = Vec::new();
        Self { bytes, sent: 0, descriptors: VecDeque::new(), longest, limit, most: descriptors }
    }

    /// Returns the number of bytes that it holds.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Allocates memory for this number of bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Appends a message.
    pub fn push_message(&mut self, payload: &[u8]) -> Result<(), Refused> {
        self.check(payload)?;
        self.push(Kind::Message, payload);
        Ok(())
    }

    /// Appends a message, and takes its descriptor unless it refuses. The descriptor is kept until it is sent, and then
    /// closed.
    pub fn push_with(
        &mut self,
        payload: &[u8],
        descriptor: &mut Option<OwnedFd>,
    ) -> Result<(), Refused> {
        self.check(payload)?;
        if self.descriptors.len() >= self.most {
            return Err(Refused::Full);
        }
        let Some(descriptor) = descriptor.take() else { return self.push_message(payload) };
        self.descriptors.push_back((self.bytes.len(), descriptor));
        self.push(Kind::MessageWith, payload);
        Ok(())
    }

    fn check(&self, payload: &[u8]) -> Result<(), Refused> {
        if payload.len() > self.longest {
            return Err(Refused::TooLong);
        }
        if self.unsent().len() + HEADER + payload.len() > self.limit {
            return Err(Refused::Full);
        }
        Ok(())
    }

    /// Appends another frame. There are few of them, and they are small, so there is always room.
    pub fn push_control(&mut self, kind: Kind, text: &str) {
        self.push(kind, cut(text, LONGEST_TEXT).as_bytes());
    }

    fn push(&mut self, kind: Kind, payload: &[u8]) {
        // Neither is longer than 16 MiB.
        let length = payload.len() as u32;
        self.bytes.reserve(HEADER + payload.len());
        self.bytes.push(kind as u8);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(payload);
    }

    /// Returns the bytes that have yet to be sent.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Returns the bytes to send in the next call, and the descriptor to send with the first of them: all that has yet
    /// to be sent, up to the next message with a descriptor.
    pub fn next(&self) -> (&[u8], Option<BorrowedFd<'_>>) {
        let mut descriptors = self.descriptors.iter();
        let Some((place, descriptor)) = descriptors.next() else { return (self.unsent(), None) };
        if *place > self.sent {
            return (&self.bytes[self.sent..*place], None);
        }
        let end = descriptors.next().map_or(self.bytes.len(), |(next, _)| *next);
        (&self.bytes[self.sent..end], Some(descriptor.as_fd()))
    }

    /// Notes that the first `count` bytes of `next` have been sent, and with the first of them its descriptor.
    pub fn mark_sent(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.take_descriptor();
        self.sent = self.bytes.len().min(self.sent + count);
        // Moves fewer bytes than have been sent since the last move.
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.descriptors.iter_mut().for_each(|(place, _)| *place -= self.sent);
            self.sent = 0;
        }
    }

    /// Notes that the system refuses to pass the descriptor of `next`. Its message is sent without it.
    pub fn refuse_descriptor(&mut self) {
        if self.take_descriptor().is_some() {
            self.bytes[self.sent] = Kind::MessageWithout as u8;
        }
    }

    /// Removes and returns the descriptor of `next`.
    fn take_descriptor(&mut self) -> Option<OwnedFd> {
        let (place, _) = self.descriptors.front()?;
        if *place == self.sent { self.descriptors.pop_front().map(|(_, it)| it) } else { None }
    }

    /// Removes everything, when the other side does not read any more.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.descriptors.clear();
        self.sent = 0;
    }

    /// Returns whether a message of any allowed length fits, with a descriptor where there may be any.
    pub fn has_room(&self) -> bool {
        let has_place = self.descriptors.len() < self.most || self.most == 0;
        has_place && self.unsent().len() + HEADER + self.longest <= self.limit
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
