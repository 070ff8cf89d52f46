//! The descriptors of incoming messages.
//!
//! A descriptor comes with the first byte of its message, and it is kept here until that message is taken. A descriptor
//! that was lost leaves a mark in its place, so that no later message gets one that is not its own.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// What was passed with a message.
#[derive(Debug)]
pub enum Passed {
    /// No descriptor was sent with it.
    Nothing,
    /// This descriptor. It is closed when the process executes a program.
    Descriptor(OwnedFd),
    /// A descriptor that did not arrive, and is closed: the receiver has too many open, or the system refuses to pass it.
    Lost,
}

/// Descriptors, and the marks of lost ones, in the order of their messages.
pub struct Arrivals {
    passed: VecDeque<Passed>,
    /// The number of those whose messages are whole. They are the first.
    whole: usize,
    most: usize,
}

impl Arrivals {
    /// Creates an empty queue for this number of descriptors.
    pub fn new(most: usize) -> Self {
        Self { passed: VecDeque::new(), whole: 0, most }
    }

    /// Returns whether descriptors may come at all.
    pub fn may_come(&self) -> bool {
        self.most > 0
    }

    /// Returns whether another one may come.
    pub fn has_room(&self) -> bool {
        self.passed.len() < self.most || self.most == 0
    }

    /// Adds what has come with received bytes.
    pub fn push(&mut self, passed: Passed) {
        if !matches!(passed, Passed::Nothing) {
            self.passed.push_back(passed);
        }
    }

    /// Returns the number of those whose messages are not whole.
    pub fn unclaimed(&self) -> usize {
        self.passed.len() - self.whole
    }

    /// Notes that the message of the first of these is whole.
    pub fn claim(&mut self) {
        self.whole += usize::from(self.unclaimed() > 0);
    }

    /// Removes and returns what belongs to the first whole message with a descriptor.
    pub fn take(&mut self) -> Passed {
        if self.whole == 0 {
            return Passed::Lost;
        }
        self.whole -= 1;
        self.passed.pop_front().unwrap_or(Passed::Lost)
    }

    /// Closes those of whole messages.
    pub fn close_whole(&mut self) {
        self.passed.drain(..self.whole);
        self.whole = 0;
    }

    /// Closes those whose messages are not whole.
    pub fn close_unclaimed(&mut self) {
        self.passed.truncate(self.whole);
    }
}
