//! The end of a channel at the task: what its parent sends, and the end of the parent.

use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_core::{Instant, Interest};

use super::channel::Channel;
use super::config::TaskConfig;
use super::exit::Message;
use super::frame::{Kind, Sender};
use super::rest::{LARGEST_READ, Read};
use super::scratch::Scratch;
use super::watch::{Modify, Watch};
use crate::ask::{Question, ask};

/// Room for the first bytes to the parent, allocated before the fork.
const FIRST_BYTES: usize = 128;

/// The end of a channel at the other end of which is the parent.
pub struct ParentEnd {
    channel: Channel,
    /// Readable when the parent has ended. Other processes may hold the parent's end of the channel then.
    parent: Option<Watch>,
}

/// An event from the parent.
pub enum Order {
    Message(Message),
    /// The parent stops the task.
    Stop,
    /// The parent has ended.
    Gone,
}

impl ParentEnd {
    /// Takes the socket of a task that is about to be forked.
    pub fn new(config: &TaskConfig, socket: UnixStream) -> Self {
        let mut channel = Channel::new(config, socket, Sender::Parent);
        channel.reserve(FIRST_BYTES);
        Self { channel, parent: None }
    }

    /// Takes a descriptor of the parent, in the process of the task.
    pub fn watch_parent(&mut self, parent: OwnedFd) {
        self.parent = Some(Watch::new(Some(parent)));
    }

    /// Returns the bytes to and from the parent.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Returns the bytes to and from the parent.
    pub fn channel_mut(&mut self) -> &mut Channel {
        &mut self.channel
    }

    /// Returns the next event.
    pub fn receive(&mut self) -> Option<Order> {
        match self.channel.receive() {
            Some((frame, _)) if frame.kind == Kind::Stop => Some(Order::Stop),
            Some((frame, descriptor)) => {
                Some(Order::Message(Message { bytes: frame.payload, descriptor }))
            }
            None => self.is_gone().then_some(Order::Gone),
        }
    }

    /// Returns whether there is an event.
    pub fn has_event(&self) -> bool {
        self.channel.has_frame() || self.is_gone()
    }

    fn is_gone(&self) -> bool {
        !self.channel.is_open()
    }

    /// Handles a ready socket: writes once and reads once.
    pub fn on_socket(&mut self, scratch: &mut Scratch) {
        self.channel.write();
        if self.channel.has_room() {
            self.channel.read(scratch, LARGEST_READ);
        }
    }

    /// Returns the number of the descriptor of the parent, until it is known to have ended.
    pub fn parent_number(&self) -> Option<RawFd> {
        self.parent.as_ref()?.number()
    }

    /// Returns what to ask about the parent where there is no poller.
    pub fn question(&self) -> Option<Question> {
        self.parent.as_ref()?.question(Interest::READABLE)
    }

    /// Handles the end of the parent. What it has sent before is read, while there is room.
    pub fn on_parent_ended(&mut self, scratch: &mut Scratch) {
        if let Some(parent) = &mut self.parent {
            parent.close();
        }
        self.channel.abandon();
        self.read_rest(scratch);
    }

    /// Reads what the parent has sent, if it has ended, while there is room.
    pub fn read_rest(&mut self, scratch: &mut Scratch) {
        let has_ended = self.parent.as_ref().is_some_and(|parent| parent.number().is_none());
        while has_ended && self.channel.is_open() && self.channel.has_room() {
            match self.channel.read(scratch, LARGEST_READ) {
                // Nothing more comes, even if another process holds its end.
                Read::Nothing => self.channel.close(),
                Read::NotNow => return,
                Read::Bytes(_) | Read::End => {}
            }
        }
    }

    /// Prepares for a wait: tells the poller what to watch.
    pub fn settle(&mut self, scratch: &mut Scratch, modify: &mut Modify) {
        self.read_rest(scratch);
        if let Some(parent) = &mut self.parent {
            parent.settle(Interest::READABLE, modify);
        }
    }

    /// Returns the watches of the channel and of the parent.
    pub fn watches(&mut self) -> [Option<&mut Watch>; 2] {
        [Some(self.channel.watch()), self.parent.as_mut()]
    }

    /// Blocks until all queued bytes have been sent, or the parent has closed the channel or ended.
    pub fn flush(&mut self) {
        let parent = self.parent_number();
        self.channel.flush(parent);
    }

    /// Returns the time of the next look at what the poller can't watch.
    pub fn look_at(&self) -> Option<Instant> {
        let parent = self.parent.as_ref().and_then(Watch::look_at);
        [self.channel.look_at(), parent].into_iter().flatten().min()
    }

    /// Does the work that is due at `now`.
    pub fn on_time(&mut self, now: Instant, scratch: &mut Scratch) {
        let is_look = self.parent.as_mut().is_some_and(|parent| parent.take_look(now));
        if is_look && self.question().is_some_and(has_ended) {
            self.on_parent_ended(scratch);
        }
        if self.channel.take_look(now) {
            self.on_socket(scratch);
        }
    }

    /// In a forked process: releases the channel and the descriptor of the parent, which are its parent's.
    pub fn disown(&mut self) {
        self.channel.disown();
        self.parent = None;
    }

    /// Tells the parent to send no more messages.
    pub fn hang_up(&mut self) {
        self.channel.queue_control(Kind::HangUp, "");
    }
}

/// Returns whether what is asked about is ready now.
fn has_ended(question: Question) -> bool {
    let mut questions = [question];
    ask(&mut questions, Some(Duration::ZERO)).is_ok() && !questions[0].found.is_none()
}
