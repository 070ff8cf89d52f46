//! The end of a channel at the task: what its parent sends, and the end of the parent.

use std::os::unix::net::UnixStream;

use kpt_core::Instant;

use super::channel::{Channel, Scratch};
use super::config::TaskConfig;
use super::frame::{Kind, Sender};
use super::rest::LARGEST_READ;

/// The end of a channel at the other end of which is the parent.
pub struct ParentEnd {
    channel: Channel,
}

/// An event from the parent.
pub enum Order {
    Message(Vec<u8>),
    /// The parent stops the task.
    Stop,
    /// The parent has ended.
    Gone,
}

impl ParentEnd {
    /// Takes the socket that the task has inherited.
    pub fn new(config: &TaskConfig, socket: UnixStream) -> Self {
        Self { channel: Channel::new(config, socket, Sender::Parent) }
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
            Some(frame) if frame.kind == Kind::Stop => Some(Order::Stop),
            Some(frame) => Some(Order::Message(frame.payload)),
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

    /// Does the work that is due at `now`.
    pub fn on_time(&mut self, now: Instant, scratch: &mut Scratch) {
        if self.channel.watch().take_look(now) {
            self.on_socket(scratch);
        }
    }

    /// Tells the parent to send no more messages.
    pub fn hang_up(&mut self) {
        self.channel.queue_control(Kind::HangUp, "");
    }
}
