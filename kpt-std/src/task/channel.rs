//! The bytes of a channel, in and out. Knows neither the process at the other end nor any other channel.

use std::io::{self, ErrorKind};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_core::{Instant, Interest};

use super::config::TaskConfig;
use super::error::SendError;
use super::frame::{Frame, Inbox, Kind, Outbox, Passed, ProtocolError, Sender};
use super::rest::Read;
use super::scratch::Scratch;
use super::watch::{Modify, Watch};
use crate::ask::{Question, ask};
use crate::clock;
use crate::sys::{self, Received};

/// The time after which a descriptor is sent again, if the user has sent too many that were not received. The system does
/// not tell when there are fewer.
const RETRY: Duration = Duration::from_millis(20);

/// One end of a channel.
pub struct Channel {
    socket: Watch,
    inbox: Inbox,
    outbox: Outbox,
    incoming: Way,
    outgoing: Way,
    /// The number of bytes that may still be sent before the next wait.
    eager: usize,
    queue: usize,
    /// How many descriptors it holds at most in each direction.
    descriptors: usize,
    /// Nothing is sent before this moment, since the user has sent too many descriptors that were not received.
    retry_at: Option<Instant>,
    /// Whether a `Ready` frame is an event of the application, and no control frame.
    tells_ready: bool,
}

/// How far one direction of a channel is. It never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Open,
    /// Messages are refused, or dropped. What is queued, and control frames, still go through.
    Closing,
    Closed,
}

impl Channel {
    /// Creates an end of a channel, at the other end of which is `from`.
    pub fn new(config: &TaskConfig, socket: UnixStream, from: Sender) -> Self {
        let descriptors = config.descriptors;
        let outbox = Outbox::new(config.max_message, config.queue, descriptors);
        let queue = outbox.limit();
        Self {
            socket: Watch::new(Some(socket.into())),
            inbox: Inbox::new(from, config.max_message, config.queue, descriptors),
            outbox,
            incoming: Way::Open,
            outgoing: Way::Open,
            eager: queue,
            queue,
            descriptors,
            retry_at: None,
            tells_ready: config.tells_ready,
        }
    }

    /// Returns whether bytes can still come. If not, the socket is closed.
    pub fn is_open(&self) -> bool {
        self.incoming != Way::Closed
    }

    /// Returns the number of the socket, unless it is closed.
    pub fn number(&self) -> Option<RawFd> {
        self.socket.number()
    }

    /// Returns whether a message of any allowed length would be queued, or all are refused from now on.
    pub fn is_writable(&self) -> bool {
        self.outgoing != Way::Open || self.outbox.has_room()
    }

    /// Returns whether there is a frame to receive.
    pub fn has_frame(&self) -> bool {
        self.inbox.peek().is_some()
    }

    /// Returns whether the beginning of a frame has come, and not its end.
    pub fn is_partial(&self) -> bool {
        self.inbox.is_partial()
    }

    /// Returns the first violation of the protocol by the other side.
    pub fn error(&self) -> Option<ProtocolError> {
        self.inbox.error()
    }
}

/// Frames.
impl Channel {
    /// Queues a message, and sends what the socket accepts, but no more than fits into the queue between two waits. So
    /// a hook that sends until the queue is full comes to an end, however fast the other side reads.
    pub fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        if self.outgoing != Way::Open {
            return Err(SendError::Closed);
        }
        self.outbox.push_message(message)?;
        self.send_eagerly(message.len());
        Ok(())
    }

    /// The same with a descriptor, which is taken unless this fails, and closed when it has been sent.
    pub fn send_with(
        &mut self,
        message: &[u8],
        descriptor: &mut Option<OwnedFd>,
    ) -> Result<(), SendError> {
        if self.descriptors == 0 {
            return Err(SendError::NoDescriptors);
        }
        if self.outgoing != Way::Open {
            return Err(SendError::Closed);
        }
        self.outbox.push_with(message, descriptor)?;
        self.send_eagerly(message.len());
        Ok(())
    }

    fn send_eagerly(&mut self, length: usize) {
        if self.eager > 0 {
            self.eager = self.eager.saturating_sub(length + 1);
            self.write();
        }
    }

    /// Queues another frame. It is sent in the next wait, or with the next message.
    pub fn queue_control(&mut self, kind: Kind, text: &str) {
        if self.outgoing != Way::Closed {
            self.outbox.push_control(kind, text);
        }
    }

    /// Allocates memory for this number of bytes to send.
    pub fn reserve(&mut self, bytes: usize) {
        self.outbox.reserve(bytes);
    }

    /// Takes no more messages to send. What is queued is sent.
    pub fn refuse(&mut self) {
        self.outgoing = self.outgoing.max(Way::Closing);
    }

    /// Sends nothing more.
    pub fn abandon(&mut self) {
        self.outgoing = Way::Closed;
        self.outbox.clear();
        self.retry_at = None;
    }

    /// Drops the messages of the other side, those that are queued and those to come. They are still read, since the
    /// other side may have to send them before it can end.
    pub fn discard(&mut self) {
        self.tells_ready = false;
        self.incoming = self.incoming.max(Way::Closing);
        self.inbox.drop_messages();
    }

    /// Removes and returns the frame at the front if it is a control frame. `Stop` is none, since it is received in its
    /// turn, and neither is `Ready` if the configuration asks for that event.
    pub fn take_control(&mut self) -> Option<Frame> {
        let is_received = match self.inbox.peek()? {
            Kind::Message | Kind::MessageWith | Kind::MessageWithout | Kind::Stop => true,
            Kind::Ready => self.tells_ready,
            Kind::HangUp | Kind::Failed | Kind::Panicked => false,
        };
        if is_received { None } else { self.inbox.pop().map(|(frame, _)| frame) }
    }

    /// Removes and returns the next frame, and what was passed with it.
    pub fn receive(&mut self) -> Option<(Frame, Passed)> {
        self.inbox.pop()
    }
}

/// The socket.
impl Channel {
    /// Prepares for a wait: tells the poller what to watch.
    pub fn settle(&mut self, modify: &mut Modify) {
        self.refill();
        let wanted = self.wanted();
        self.socket.settle(wanted, modify);
    }

    /// Restores the number of bytes that may be sent before the next wait.
    pub fn refill(&mut self) {
        self.eager = self.queue;
    }

    /// Returns the watch of the socket.
    pub fn watch(&mut self) -> &mut Watch {
        &mut self.socket
    }

    /// Returns the moment of the next look, if the poller can't watch the socket, or can't tell when to send.
    pub fn look_at(&self) -> Option<Instant> {
        [self.socket.look_at(), self.retry_at].into_iter().flatten().min()
    }

    /// Returns whether the socket has to be looked at now, and plans the next look.
    pub fn take_look(&mut self, now: Instant) -> bool {
        let is_retry = self.retry_at.take_if(|at| *at <= now).is_some();
        self.socket.take_look(now) || is_retry
    }

    /// Returns what to ask the system where there is no poller. Leaves out a channel without room: if its other side has
    /// closed, each wait would end at once.
    pub fn question(&self) -> Option<Question> {
        self.socket.question(self.wanted())
    }

    fn wanted(&self) -> Interest {
        let read = if self.inbox.has_room() { Interest::READABLE } else { Interest::NONE };
        let is_idle = self.outbox.unsent().is_empty() || self.retry_at.is_some();
        read | if is_idle { Interest::NONE } else { Interest::WRITABLE }
    }

    /// Sends what the socket accepts: one call, and one more for each message with a descriptor.
    pub fn write(&mut self) {
        let Some(socket) = self.socket.descriptor() else { return };
        while self.retry_at.is_none() {
            let (bytes, descriptor) = self.outbox.next();
            if bytes.is_empty() {
                return;
            }
            let (length, has_descriptor) = (bytes.len(), descriptor.is_some());
            let sent = match descriptor {
                None => sys::send(&socket, bytes),
                Some(descriptor) => sys::send_with(&socket, bytes, descriptor),
            };
            match sent {
                Ok(count) => {
                    self.outbox.mark_sent(count);
                    if count < length {
                        return;
                    }
                }
                Err(error) if is_not_now(&error) => return,
                Err(error) if error.raw_os_error() == Some(libc::ETOOMANYREFS) => {
                    self.retry_at = Some(clock::now_or_later() + RETRY);
                }
                // An error of the socket, and not of the descriptor, is also that of the next call.
                Err(_) if has_descriptor => self.outbox.refuse_descriptor(),
                // The other side has closed. Bytes that it has sent before can still be read.
                Err(_) => return self.abandon(),
            }
        }
    }

    /// Returns whether more bytes may be read.
    pub fn has_room(&self) -> bool {
        self.inbox.has_room()
    }

    /// Returns the number of bytes that lie in the socket; 0 if the system does not tell.
    pub fn count_unread(&self) -> usize {
        let count = self.socket.descriptor().map(|socket| sys::count_unread(&socket));
        count.and_then(Result::ok).unwrap_or(0)
    }

    /// Reads once, at most `most` bytes. MUST NOT be called without room.
    pub fn read(&mut self, scratch: &mut Scratch, most: usize) -> Read {
        let Some(socket) = self.socket.descriptor() else { return Read::End };
        let most = most.min(self.inbox.most());
        let read = match scratch.receive(socket, most, self.descriptors > 0) {
            Ok(([], _)) => Read::End,
            Ok((bytes, received)) => match feed(&mut self.inbox, bytes, received) {
                Ok(()) => Read::Bytes(bytes.len()),
                Err(_) => Read::End,
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => Read::Nothing,
            Err(error) if is_not_now(&error) => Read::NotNow,
            Err(_) => Read::End,
        };
        if self.incoming != Way::Open {
            self.inbox.drop_messages();
        }
        if read == Read::End {
            self.close();
        }
        read
    }

    /// Closes the channel in both directions. What has been received stays.
    pub fn close(&mut self) {
        self.abandon();
        self.incoming = Way::Closed;
        self.inbox.close_unfinished();
        self.socket.close();
    }

    /// Blocks until all queued bytes have been sent, or the other side has closed, or the process with the descriptor
    /// `parent` has ended.
    pub fn flush(&mut self, parent: Option<RawFd>) {
        while let Some(number) = self.number()
            && !self.outbox.unsent().is_empty()
        {
            self.write();
            if self.outbox.unsent().is_empty() {
                return;
            }
            let room = match self.retry_at {
                None => Question::new(number, Interest::WRITABLE),
                Some(_) => Question::new(number, Interest::NONE), // Only whether it is closed.
            };
            let end = Question::new(parent.unwrap_or(-1), Interest::READABLE);
            let mut questions = [room, end];
            let most = self.retry_at.take().map(clock::remaining);
            if ask(&mut questions, most).is_err() || !questions[1].found.is_none() {
                return;
            }
        }
    }

    /// In a forked process: releases the channel, which is the parent's.
    pub fn disown(&mut self) {
        self.socket.disown();
        self.close();
        self.inbox.clear();
    }
}

/// Feeds what one read has brought.
fn feed(inbox: &mut Inbox, bytes: &[u8], received: Received) -> Result<(), ProtocolError> {
    let passed = match (received.descriptor, received.is_cut) {
        (None, false) => Passed::Nothing,
        (None, true) => Passed::Lost,
        (Some(descriptor), false) => Passed::Descriptor(descriptor),
        (Some(_), true) => return inbox.refuse(ProtocolError::Descriptor),
    };
    inbox.feed(bytes, passed)
}

/// Returns whether the call can be retried: when the socket is ready, at once, or when the system has more memory.
fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
        || matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}
