//! Reading after the end of a task: how much, and when to stop.
//!
//! A state machine that does not touch the socket: it returns the next step, and is told what came of it.
//!
//! All that a task has sent lies in the socket when the task has ended. But other processes may hold its end of the
//! channel, and write without end, or write nothing and never close it. So after the end, the bytes that lie there are
//! counted once, and no more than these are read.

/// The largest number of bytes of one read.
pub const LARGEST_READ: usize = 64 << 10;

/// What is left to be read of a channel to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The task lives, and may send any number of bytes.
    Unknown,
    /// The task has ended, and nothing was read since. The next read mostly finds the end.
    Ended,
    /// The task has ended, and the bytes that lie in the socket have to be counted.
    Uncounted,
    /// This number of bytes is left.
    Counted(usize),
    /// The channel is closed.
    Over,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read once, at most this number of bytes.
    Read(usize),
    /// Count the bytes that lie in the socket.
    Count,
    /// Close the channel.
    Close,
}

/// What a read has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// This number of bytes.
    Bytes(usize),
    /// Nothing now, and the other end is open.
    Nothing,
    /// The system can't tell now, for lack of memory.
    NotNow,
    /// The end, or a violation of the protocol: the channel is closed.
    End,
}

impl Rest {
    /// Notes that the task has ended.
    pub fn on_ended(&mut self) {
        if *self == Self::Unknown {
            *self = Self::Ended;
        }
    }

    /// Returns the next step. Returns `None` if that is a read for which there is no room, or which must wait for the next
    /// wait (`may_read` is false), and if nothing is left to do.
    pub fn step(self, has_room: bool, may_read: bool) -> Option<Step> {
        let can_read = has_room && may_read;
        match self {
            Self::Over => None,
            Self::Counted(0) => Some(Step::Close),
            Self::Counted(left) => can_read.then_some(Step::Read(left.min(LARGEST_READ))),
            // Without room, it may take long until the first read, and others may write until then.
            Self::Ended if !has_room => Some(Step::Count),
            Self::Uncounted => Some(Step::Count),
            Self::Ended | Self::Unknown => can_read.then_some(Step::Read(LARGEST_READ)),
        }
    }

    /// Notes what a read has found.
    pub fn on_read(&mut self, read: Read) {
        *self = match (*self, read) {
            (_, Read::End) => Self::Over,
            (Self::Ended, Read::Bytes(_) | Read::NotNow) => Self::Uncounted,
            (Self::Counted(left), Read::Bytes(count)) => Self::Counted(left.saturating_sub(count)),
            (Self::Ended | Self::Counted(_), Read::Nothing) => Self::Counted(0),
            (same, _) => same,
        };
    }

    /// Notes the number of bytes that lie in the socket.
    pub fn on_count(&mut self, count: usize) {
        *self = Self::Counted(count);
    }

    /// Notes that the channel is closed.
    pub fn on_close(&mut self) {
        *self = Self::Over;
    }
}

#[cfg(test)]
#[path = "rest_tests.rs"]
mod tests;
