//! The queue of incoming frames, and the table of what may come when.

use std::collections::VecDeque;

use super::arrivals::Arrivals;
use super::{Frame, HEADER, Kind, LONGEST_TEXT, Passed, ProtocolError, Sender};

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
    arrivals: Arrivals,
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
    /// `limit` bytes, or this number of descriptors.
    pub fn new(from: Sender, longest: usize, limit: usize, descriptors: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            partial: Partial::NOTHING,
            arrivals: Arrivals::new(descriptors),
            from,
            phase: Phase::Starting,
            has_hung_up: false,
            longest,
            limit: limit.max(HEADER + longest),
            used: 0,
            error: None,
        }
    }

    /// Appends received bytes, however they were split, and the descriptor that has come with them. A header is checked
    /// before any of its payload is stored.
    ///
    /// # Errors
    /// Returns the first violation, also in all later calls. The frames before it can be taken.
    pub fn feed(&mut self, mut bytes: &[u8], passed: Passed) -> Result<(), ProtocolError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.arrivals.push(passed);
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
        // An unfinished frame is at most one, and its header has been checked, or will be.
        let expected = usize::from(self.rest_with_descriptor() > 0);
        if self.arrivals.unclaimed() > expected {
            return self.refuse(ProtocolError::Descriptor);
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
            Some(Kind::MessageWith) if self.arrivals.unclaimed() == 0 => {
                return self.refuse(ProtocolError::Descriptor);
            }
            Some(kind) => kind,
        };
        self.partial = Partial::Payload { kind, length: length as usize, bytes: Vec::new() };
        self.finish();
        Ok(())
    }

    /// Takes nothing more, because of a violation.
    pub fn refuse(&mut self, error: ProtocolError) -> Result<(), ProtocolError> {
        self.partial = Partial::NOTHING;
        self.arrivals.close_unclaimed();
        Err(*self.error.get_or_insert(error))
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
            Kind::Message | Kind::MessageWith | Kind::MessageWithout | Kind::HangUp => self.phase,
        };
        if frame.kind == Kind::MessageWith {
            self.arrivals.claim();
        }
        self.partial = Partial::NOTHING;
        self.used += cost(&frame);
        self.frames.push_back(frame);
    }

    /// Returns the kind for a byte, if such a frame may come now.
    fn expected(&self, kind: u8) -> Option<Kind> {
        use Kind::{Failed, HangUp, Message, MessageWith, MessageWithout, Panicked, Ready, Stop};
        const MESSAGES: [Kind; 3] = [Message, MessageWith, MessageWithout];
        let others: &[Kind] = match (self.from, self.phase) {
            (_, Phase::Over) => return None,
            (Sender::Parent, _) => &[Stop],
            (Sender::Child, Phase::Starting) => &[HangUp, Ready, Failed, Panicked],
            (Sender::Child, Phase::Running) => &[HangUp, Failed, Panicked],
        };
        let mut expected = MESSAGES.iter().chain(others).copied();
        expected.find(|&expected| expected as u8 == kind).filter(|&kind| match kind {
            // It takes no room, so a sender that repeats it would never be held up.
            HangUp => !self.has_hung_up,
            MessageWith | MessageWithout => self.arrivals.may_come(),
            _ => true,
        })
    }

    fn longest(&self, kind: Kind) -> usize {
        match kind {
            Kind::Message | Kind::MessageWith | Kind::MessageWithout => self.longest,
            Kind::Failed | Kind::Panicked => LONGEST_TEXT,
            Kind::Stop | Kind::HangUp | Kind::Ready => 0,
        }
    }

    /// Removes and returns the next frame, and what was passed with it.
    pub fn pop(&mut self) -> Option<(Frame, Passed)> {
        let frame = self.frames.pop_front()?;
        self.used -= cost(&frame);
        let passed = match frame.kind {
            Kind::MessageWith => self.arrivals.take(),
            Kind::MessageWithout => Passed::Lost,
            _ => Passed::Nothing,
        };
        Some((frame, passed))
    }

    /// Returns the kind of the next frame.
    pub fn peek(&self) -> Option<Kind> {
        self.frames.front().map(|frame| frame.kind)
    }

    /// Returns whether more bytes may be fed.
    pub fn has_room(&self) -> bool {
        self.most() > 0
    }

    /// Returns the number of bytes that may be fed at once: any number if there is room. With as many descriptors as it
    /// may hold, a message that has begun with the last of them is completed, and nothing after it is fed.
    pub fn most(&self) -> usize {
        let coming =
            if let Partial::Payload { bytes, .. } = &self.partial { bytes.len() } else { 0 };
        // An unfinished frame must be completed, whatever is queued before it.
        if self.error.is_some() || (self.used > 0 && self.used + coming >= self.limit) {
            return 0;
        }
        if self.arrivals.has_room() { usize::MAX } else { self.rest_with_descriptor() }
    }

    /// Returns the number of bytes that are missing of an unfinished message with a descriptor, or of its header. 0 if
    /// there is none.
    fn rest_with_descriptor(&self) -> usize {
        match &self.partial {
            Partial::Header { bytes: [kind, ..], length }
                if *length > 0 && *kind == Kind::MessageWith as u8 =>
            {
                HEADER - length
            }
            Partial::Payload { kind: Kind::MessageWith, length, bytes } => length - bytes.len(),
            _ => 0,
        }
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
        self.frames.retain(|frame| !frame.kind.is_message());
        self.arrivals.close_whole();
        self.used = self.frames.iter().map(cost).sum();
    }

    /// Closes the descriptor of an unfinished message, whose end will not come.
    pub fn close_unfinished(&mut self) {
        self.arrivals.close_unclaimed();
    }

    /// Removes the whole frames.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.arrivals.close_whole();
        self.used = 0;
    }
}

fn cost(frame: &Frame) -> usize {
    frame.payload.len() + FRAME_COST
}

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "passing_tests.rs"]
mod passing_tests;

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile_tests;
