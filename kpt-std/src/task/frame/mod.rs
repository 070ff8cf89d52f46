//! Messages as frames: the queue of outgoing frames, and the queue of incoming ones.
//!
//! A frame is one byte for its kind, four for the length of its payload (little-endian), and the payload. Both queues
//! are bounded. This module uses no clock or process: it turns frames into bytes, and bytes into frames.
//!
//! A descriptor belongs to the frame with whose first byte it is sent, in a call of its own. The system ends a read behind
//! the bytes of such a call, so that at most one descriptor comes with a read, and at most one such frame begins in it.
//! The queues keep descriptors, and do not use them.

mod arrivals;
mod inbox;
mod outbox;

use std::error::Error;
use std::fmt;

pub use arrivals::Passed;
pub use inbox::Inbox;
pub use outbox::{Outbox, Refused};

/// The largest `max_message` of a configuration: 16 MiB.
pub const LARGEST_MESSAGE: usize = 16 << 20;

/// The longest text of a failure or panic, in bytes; longer texts are cut.
pub const LONGEST_TEXT: usize = 4 << 10;

const HEADER: usize = 5;

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
    /// A message with a descriptor, in either direction.
    MessageWith = 7,
    /// A message whose descriptor the system refuses to pass, in either direction.
    MessageWithout = 8,
}

impl Kind {
    /// Returns whether it is a message of the application.
    pub fn is_message(self) -> bool {
        self == Self::Message || self.has_descriptor()
    }

    /// Returns whether it is a message that was sent with a descriptor.
    fn has_descriptor(self) -> bool {
        matches!(self, Self::MessageWith | Self::MessageWithout)
    }
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

/// The received bytes or descriptors are not valid frames: the other side is broken, or another process writes to the
/// channel.
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
    /// A descriptor without its message, a message without its descriptor, or several descriptors with one message.
    Descriptor,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected { kind } => write!(f, "unexpected frame of kind {kind}"),
            Self::TooLong { length } => {
                write!(f, "frame of {length} bytes, which is longer than allowed")
            }
            Self::Descriptor => {
                f.write_str("descriptor without a message, or message without its descriptor")
            }
        }
    }
}

impl Error for ProtocolError {}

/// Returns the text, cut to at most `most` bytes between two characters.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
