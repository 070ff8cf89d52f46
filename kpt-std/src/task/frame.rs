//! Messages as bytes: frames, the queue of those that go out, and the queue of those that come in.
//!
//! A frame is one byte that says what it is, four that say how many bytes follow (little-endian), and those bytes. Both
//! queues are bounded. No descriptor, no clock and no process is in here: bytes in, frames out, and the reverse.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;

/// The largest message that a configuration may allow: 16 MiB.
pub const LARGEST_MESSAGE: usize = 16 << 20;

/// The longest text of a failure or panic; more is cut off.
pub const LONGEST_TEXT: usize = 4 << 10;

const HEADER: usize = 5;

/// What a frame costs in the queue of those that came in, in addition to its bytes: its place in the queue.
const FRAME_COST: usize = size_of::<Frame>();

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The application's, in either direction.
    Message = 1,
    /// To the child: end. The last one.
    Stop = 2,
    /// To the parent: no more messages, please.
    HangUp = 3,
    /// To the parent: the child's loop runs.
    Ready = 4,
    /// To the parent: why it could not run, or not go on. The last one.
    Failed = 5,
    /// To the parent: with what it panicked. The last one.
    Panicked = 6,
}

/// One whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub payload: Vec<u8>,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The parent, to its child.
    Parent,
    /// The child, to its parent.
    Child,
}

/// What may come next from a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    /// The last frame has come.
    Over,
}

/// What came is not what the other side sends: it is broken, or somebody else writes into the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A frame that does not exist, that this side does not send, or not at this time.
    Unexpected {
        /// The byte that says what it is.
        kind: u8,
    },
    /// A frame that is longer than allowed.
    TooLong {
        /// What its header says.
        length: u32,
    },
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected { kind } => write!(f, "a frame of kind {kind} came, which can't be"),
            Self::TooLong { length } => {
                write!(f, "a frame of {length} bytes came, which is longer than allowed")
            }
        }
    }
}

impl Error for ProtocolError {}

/// Why a frame does not go into the queue. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not now.
    Full,
    /// Never.
    TooLong,
}

/// Bytes that go out: whole frames, of which the first may have been sent in part.
pub struct Outbox {
    bytes: Vec<u8>,
    /// So many of them have been sent.
    sent: usize,
    longest: usize,
    limit: usize,
}

impl Outbox {
    /// For messages of up to `longest` bytes; holds at least two such, and up to `limit` bytes.
    pub fn new(longest: usize, limit: usize) -> Self {
        let limit = limit.max(2 * (HEADER + longest));
        Self { bytes: Vec::new(), sent: 0, longest, limit }
    }

    /// Puts a message behind the others.
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

    /// Puts one of the few other frames behind the others; they are small, and there is always room.
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

    /// What is to be sent.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// So many bytes of `unsent` have been sent.
    pub fn mark_sent(&mut self, count: usize) {
        self.sent = self.bytes.len().min(self.sent + count);
        // What is moved is less than what has been sent since the last time.
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Forgets everything: nobody will read it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }

    /// Whether a message of any length that is allowed finds room.
    pub fn has_room(&self) -> bool {
        self.unsent().len() + HEADER + self.longest <= self.limit
    }
}

/// Frames that came in, and the part of one that is still coming.
pub struct Inbox {
    frames: VecDeque<Frame>,
    partial: Partial,
    from: Sender,
    phase: Phase,
    longest: usize,
    limit: usize,
    /// Bytes of the whole frames, with what their places cost.
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
    /// For frames of that sender, with messages of up to `longest` bytes. It wants no more once it holds `limit` bytes.
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

    /// Takes in bytes, however they were cut. A header is checked before anything of its frame is kept.
    ///
    /// # Errors
    /// The first that was wrong, also in all later calls. The frames before it are there.
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

    /// The header is whole.
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

    /// Takes the frame over, if it is whole.
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

    /// Which frame that byte means, if it may come now.
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

    /// The next frame.
    pub fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.used -= cost(&frame);
        Some(frame)
    }

    /// What the next frame is.
    pub fn peek(&self) -> Option<Kind> {
        self.frames.front().map(|frame| frame.kind)
    }

    /// Whether it wants to be fed.
    pub fn has_room(&self) -> bool {
        let coming =
            if let Partial::Payload { bytes, .. } = &self.partial { bytes.len() } else { 0 };
        // A frame that has begun must find its end, whatever lies before it.
        self.error.is_none() && (self.used == 0 || self.used + coming < self.limit)
    }

    /// Whether the beginning of a frame is there, and not its end.
    pub fn is_partial(&self) -> bool {
        !matches!(self.partial, Partial::Header { length: 0, .. })
    }

    /// Forgets the frames that are there.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.used = 0;
    }
}

fn cost(frame: &Frame) -> usize {
    frame.payload.len() + FRAME_COST
}

/// The text, or as much of its beginning as fits.
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
