//! Encodes messages as frames: the queue of outgoing frames, and the queue of incoming ones.
//!
//! A frame is one byte for its kind, four for the length of its payload (little-endian), and the payload. Both queues
//! are bounded. This module uses no descriptor, clock or process: it turns frames into bytes, and bytes into frames.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;

/// The largest `max_message` of a configuration: 16 MiB.
pub const LARGEST_MESSAGE: usize = 16 << 20;

/// The longest text of a failure or panic, in bytes; longer texts are cut.
pub const LONGEST_TEXT: usize = 4 << 10;

const HEADER: usize = 5;

/// The cost of a frame in the incoming queue besides its payload, in bytes: its entry in the queue.
const FRAME_COST: usize = size_of::<Frame>();

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A message of the application, in either direction.
    Message = 1,
    /// To the child: end. No frame follows.
    Stop = 2,
    /// To the parent: the child refuses further messages.
    HangUp = 3,
    /// To the parent: the child's loop is running.
    Ready = 4,
    /// To the parent: the error with which the child ends. No frame follows.
    Failed = 5,
    /// To the parent: the text of a panic. No frame follows.
    Panicked = 6,
}

/// One whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: Kind,
    /// Its payload, empty for some kinds.
    pub payload: Vec<u8>,
}

/// The sender of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The parent, to its child.
    Parent,
    /// The child, to its parent.
    Child,
}

/// The phase of a sender, which decides what it may send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    /// The last frame has arrived.
    Over,
}

/// The received bytes are not valid frames: the other side is broken, or another process writes to the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A frame of a kind that does not exist, that this side does not send, or that it does not send at this time.
    Unexpected {
        /// The byte of the kind.
        kind: u8,
    },
    /// A frame with a longer payload than is allowed.
    TooLong {
        /// The length in its header, in bytes.
        length: u32,
    },
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected { kind } => write!(f, "unexpected frame of kind {kind}"),
            Self::TooLong { length } => {
                write!(f, "frame of {length} bytes, which is longer than allowed")
            }
        }
    }
}

impl Error for ProtocolError {}

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

/// Incoming frames, and the received part of an unfinished one.
pub struct Inbox {
    frames: VecDeque<Frame>,
    partial: Partial,
    from: Sender,
    phase: Phase,
    longest: usize,
    limit: usize,
    /// The bytes of the whole frames, and of their entries.
    used: usize,
    error: Option<ProtocolError>,
}

enum Partial {
    Header { bytes: [u8; HEADER], length: usize },
    Payload { kind: Kind, length: usize, bytes: Vec<u8> },
}

impl Partial {
    const NOTHING: Self = Self::Header { bytes: [0; HEADER], length: 0 };
}

impl Inbox {
    /// Creates a queue for frames of this sender, with messages of up to `longest` bytes. It has no room once it holds
    /// `limit` bytes.
    pub fn new(from: Sender, longest: usize, limit: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            partial: Partial::NOTHING,
            from,
            phase: Phase::Starting,
            longest,
            limit: limit.max(HEADER + longest),
            used: 0,
            error: None,
        }
    }

    /// Appends received bytes, however they were split. A header is checked before any of its payload is stored.
    ///
    /// # Errors
    /// Returns the first violation, also in all later calls. The frames before it can be taken.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ProtocolError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        while !bytes.is_empty() {
            match &mut self.partial {
                Partial::Header { bytes: header, length } => {
                    let taken = bytes.len().min(HEADER - *length);
                    header[*length..*length + taken].copy_from_slice(&bytes[..taken]);
                    *length += taken;
                    bytes = &bytes[taken..];
                    if *length == HEADER {
                        let header = *header;
                        self.begin(header)?;
                    }
                }
                Partial::Payload { length, bytes: payload, .. } => {
                    let taken = bytes.len().min(*length - payload.len());
                    payload.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    self.finish();
                }
            }
        }
        Ok(())
    }

    /// Handles a complete header.
    fn begin(&mut self, [kind, length @ ..]: [u8; HEADER]) -> Result<(), ProtocolError> {
        let length = u32::from_le_bytes(length);
        let kind = match self.expected(kind) {
            None => return self.refuse(ProtocolError::Unexpected { kind }),
            Some(kind) if length as usize > self.longest(kind) => {
                return self.refuse(ProtocolError::TooLong { length });
            }
            Some(kind) => kind,
        };
        self.partial = Partial::Payload { kind, length: length as usize, bytes: Vec::new() };
        self.finish();
        Ok(())
    }

    fn refuse(&mut self, error: ProtocolError) -> Result<(), ProtocolError> {
        self.partial = Partial::NOTHING;
        self.error = Some(error);
        Err(error)
    }

    /// Queues the frame, if it is complete.
    fn finish(&mut self) {
        let Partial::Payload { kind, length, bytes } = &mut self.partial else { return };
        if bytes.len() < *length {
            return;
        }
        let frame = Frame { kind: *kind, payload: std::mem::take(bytes) };
        self.phase = match frame.kind {
            Kind::Stop | Kind::Failed | Kind::Panicked => Phase::Over,
            Kind::Ready => Phase::Running,
            Kind::Message | Kind::HangUp => self.phase,
        };
        self.partial = Partial::NOTHING;
        self.used += cost(&frame);
        self.frames.push_back(frame);
    }

    /// Returns the kind for a byte, if such a frame may come now.
    fn expected(&self, kind: u8) -> Option<Kind> {
        use Kind::{Failed, HangUp, Message, Panicked, Ready, Stop};
        let expected: &[Kind] = match (self.from, self.phase) {
            (_, Phase::Over) => &[],
            (Sender::Parent, _) => &[Message, Stop],
            (Sender::Child, Phase::Starting) => &[Message, HangUp, Ready, Failed, Panicked],
            (Sender::Child, Phase::Running) => &[Message, HangUp, Failed, Panicked],
        };
        expected.iter().copied().find(|&expected| expected as u8 == kind)
    }

    fn longest(&self, kind: Kind) -> usize {
        match kind {
            Kind::Message => self.longest,
            Kind::Failed | Kind::Panicked => LONGEST_TEXT,
            Kind::Stop | Kind::HangUp | Kind::Ready => 0,
        }
    }

    /// Removes and returns the next frame.
    pub fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.used -= cost(&frame);
        Some(frame)
    }

    /// Returns the kind of the next frame.
    pub fn peek(&self) -> Option<Kind> {
        self.frames.front().map(|frame| frame.kind)
    }

    /// Returns whether more bytes may be fed.
    pub fn has_room(&self) -> bool {
        let coming =
            if let Partial::Payload { bytes, .. } = &self.partial { bytes.len() } else { 0 };
        // An unfinished frame must be completed, whatever is queued before it.
        self.error.is_none() && (self.used == 0 || self.used + coming < self.limit)
    }

    /// Returns whether the beginning of a frame has been received, and not its end.
    pub fn is_partial(&self) -> bool {
        !matches!(self.partial, Partial::Header { length: 0, .. })
    }

    /// Removes the whole frames.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.used = 0;
    }
}

fn cost(frame: &Frame) -> usize {
    frame.payload.len() + FRAME_COST
}

/// Returns the text, cut to at most `most` bytes between two characters.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
