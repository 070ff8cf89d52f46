//! The queue of incoming frames, and the table of what may come when.

use std::collections::VecDeque;

use super::{Frame, HEADER, Kind, LONGEST_TEXT, ProtocolError, Sender};

/// The cost of a frame in the incoming queue besides its payload, in bytes: its entry in the queue.
const FRAME_COST: usize = size_of::<Frame>();

/// The phase of a sender, which decides what it may send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    /// The last frame has arrived.
    Over,
}
/// Incoming frames, and the received part of an unfinished one.
pub struct Inbox {
    frames: VecDeque<Frame>,
    partial: Partial,
    from: Sender,
    phase: Phase,
    has_hung_up: bool,
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
            has_hung_up: false,
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
        self.has_hung_up |= frame.kind == Kind::HangUp;
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
        let expected = expected.iter().copied().find(|&expected| expected as u8 == kind);
        // It takes no room, so a sender that repeats it would never be held up.
        expected.filter(|&kind| kind != HangUp || !self.has_hung_up)
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

    /// Returns the first violation.
    pub fn error(&self) -> Option<ProtocolError> {
        self.error
    }

    /// Removes the messages that are whole.
    pub fn drop_messages(&mut self) {
        self.frames.retain(|frame| frame.kind != Kind::Message);
        self.used = self.frames.iter().map(cost).sum();
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

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
