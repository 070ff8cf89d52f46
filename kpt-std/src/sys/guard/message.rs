//! What is said to a guard, as bytes.

/// The number of 32-bit words of a message.
const WORDS: usize = 5;

/// The length of a message in bytes.
pub const LENGTH: usize = 4 * WORDS;

/// A message to a guard. `number` is that of a start, which the parent counts: the number of a process may be used
/// again, and be another one in the guard's PID namespace.
///
/// `start_time` is when the process was started, where it has no descriptor; else 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// From a task: it is this start. The kernel says which process sends it.
    Register { number: u32, start_time: u64 },
    /// From the parent: this start is process `pid`.
    Adopt { number: u32, pid: i32, start_time: u64 },
    /// From the parent: `signal` is to be sent to this start.
    Signal { number: u32, signal: i32 },
}

impl Message {
    pub fn to_bytes(self) -> [u8; LENGTH] {
        let (kind, number, more, time) = match self {
            Self::Register { number, start_time } => (1_u32, number, 0, start_time),
            Self::Adopt { number, pid, start_time } => (2, number, pid, start_time),
            Self::Signal { number, signal } => (3, number, signal, 0),
        };
        let words = [kind.to_ne_bytes(), number.to_ne_bytes(), more.to_ne_bytes()];
        let mut bytes = [0; LENGTH];
        let all = words.iter().flatten().copied().chain(time.to_ne_bytes());
        bytes.iter_mut().zip(all).for_each(|(place, byte)| *place = byte);
        bytes
    }

    /// Returns the message, or `None` if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<4>() else { return None };
        let &[kind, number, more, low, high] = words else { return None };
        let (number, more) = (u32::from_ne_bytes(number), i32::from_ne_bytes(more));
        let mut time = [0; 8];
        time.iter_mut().zip(low.into_iter().chain(high)).for_each(|(place, byte)| *place = byte);
        let start_time = u64::from_ne_bytes(time);
        match u32::from_ne_bytes(kind) {
            1 => Some(Self::Register { number, start_time }),
            2 => Some(Self::Adopt { number, pid: more, start_time }),
            3 => Some(Self::Signal { number, signal: more }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_after_its_way_as_bytes() {
        let (number, pid, start_time) = (u32::MAX, -7, u64::MAX - 3);
        for message in [
            Message::Register { number, start_time },
            Message::Adopt { number, pid, start_time },
            Message::Signal { number, signal: 9 },
        ] {
            assert_eq!(Message::from_bytes(&message.to_bytes()), Some(message));
        }
    }

    #[test]
    fn what_is_no_message_is_none() {
        let good = Message::Signal { number: 1, signal: 9 }.to_bytes();
        for length in 0..LENGTH {
            assert_eq!(Message::from_bytes(&good[..length]), None);
        }
        assert_eq!(Message::from_bytes(&[good, good].concat()), None);
        assert_eq!(Message::from_bytes(&[0; LENGTH]), None);
    }
}
