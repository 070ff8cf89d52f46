//! One end of a channel, and at the parent's end also the process at the other: handles readiness, deadlines and calls
//! of the application. Uses no poller and no other channel.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_core::{Instant, Interest, Readiness};

use super::config::TaskConfig;
use super::error::SendError;
use super::exit::{TaskEvent, TaskExit, TaskStatus};
use super::frame::{Frame, Inbox, Kind, Outbox, ProtocolError, Refused, Sender};
use super::life::Action;
use super::process::Task;
use crate::ask::{Question, ask};
use crate::sys::{self, Process};

/// The period of looking at a process for which the kernel has no descriptor, and at a channel that the poller can't
/// watch.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// One end of a channel.
pub struct Peer {
    /// The number of bytes that may still be sent before the next wait.
    eager: usize,
    queue: usize,
    /// `None` when the channel is closed in both directions.
    socket: Option<UnixStream>,
    inbox: Inbox,
    outbox: Outbox,
    /// Nothing more is sent: the other side has closed its end, or is being stopped.
    is_closed: bool,
    /// The other side refuses messages. It can still be stopped.
    has_hung_up: bool,
    /// Incoming messages are dropped, since they will not be received.
    is_ignored: bool,
    error: Option<ProtocolError>,
    /// The interest of the threads in the source.
    pub interest: Interest,
    /// The interest in the socket of which the inner poller was told.
    pub told: Interest,
    /// Whether the inner poller was told to watch the process.
    pub is_process_told: bool,
    /// The process at the other end, if this is the parent's end.
    pub task: Option<Task>,
    /// The inner poller can't watch it: it is looked at periodically.
    pub is_blind: bool,
    look_at: Instant,
    /// Descriptors that the poller may still watch. They are closed after it was told.
    pub retired: Vec<OwnedFd>,
}

/// The buffer for reads. Allocated at the first use, since many tasks never read, and written only as far as it is
/// used, since a fork copies each page that was written.
#[derive(Default)]
pub struct Scratch(Vec<u8>);

impl Scratch {
    /// The largest number of bytes of one read.
    const SIZE: usize = 64 << 10;

    /// Reads once.
    fn receive(&mut self, socket: &UnixStream) -> io::Result<&[u8]> {
        self.0.clear();
        self.0.reserve_exact(Self::SIZE);
        sys::receive(socket, &mut self.0)?;
        Ok(&self.0)
    }
}

/// An event from the other side of a channel.
pub enum News {
    Event(TaskEvent),
    /// To a child: its parent stops it.
    Stop,
    /// To a child: its parent has ended.
    Gone,
}

impl Peer {
    /// Creates an end of a channel. With a process, it is the parent's end, and the other side is a task.
    pub fn new(config: &TaskConfig, socket: UnixStream, process: Option<Process>) -> Self {
        let from = if process.is_some() { Sender::Child } else { Sender::Parent };
        Self {
            eager: config.queue,
            queue: config.queue,
            socket: Some(socket),
            inbox: Inbox::new(from, config.max_message, config.queue),
            outbox: Outbox::new(config.max_message, config.queue),
            is_closed: false,
            has_hung_up: false,
            is_ignored: false,
            error: None,
            interest: Interest::NONE,
            told: Interest::NONE,
            is_process_told: false,
            task: process.map(|process| Task::new(process, config.grace)),
            is_blind: false,
            look_at: Instant::ZERO,
            retired: Vec::new(),
        }
    }

    /// Returns the descriptor of the channel.
    pub fn socket(&self) -> Option<RawFd> {
        self.socket.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Returns the descriptor of the process, until it has ended.
    pub fn process(&self) -> Option<RawFd> {
        self.task.as_ref()?.descriptor()
    }

    /// Returns the interest in the socket.
    pub fn wanted(&self) -> Interest {
        if self.socket.is_none() {
            return Interest::NONE;
        }
        let read = if self.inbox.has_room() { Interest::READABLE } else { Interest::NONE };
        let write =
            if self.outbox.unsent().is_empty() { Interest::NONE } else { Interest::WRITABLE };
        read | write
    }

    /// Returns the readiness of the source.
    pub fn readiness(&self) -> Readiness {
        let has_message = self.inbox.peek().is_some();
        let is_gone = self.task.is_none() && self.socket.is_none();
        let readable = has_message || is_gone || self.has_exit();
        let writable = self.is_closed || self.has_hung_up || self.outbox.has_room();
        let mut readiness = Readiness::NONE;
        if readable {
            readiness = readiness | Readiness::READABLE;
        }
        if writable {
            readiness = readiness | Readiness::WRITABLE;
        }
        readiness
    }
}

/// Calls of the application.
impl Peer {
    /// Queues a message, and sends what the channel accepts, but no more than fits into the queue between two waits. So
    /// a hook that sends until the queue is full comes to an end, however fast the other side reads.
    pub fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        if self.is_closed || self.has_hung_up {
            return Err(SendError::Closed);
        }
        self.outbox.push_message(message).map_err(|refused| match refused {
            Refused::Full => SendError::Full,
            Refused::TooLong => SendError::TooLong,
        })?;
        if self.eager > 0 {
            self.eager = self.eager.saturating_sub(message.len() + 1);
            self.write();
        }
        Ok(())
    }

    /// Queues another frame. It is sent in the next wait, or with the next message.
    pub fn queue_control(&mut self, kind: Kind, text: &str) {
        if !self.is_closed {
            self.outbox.push_control(kind, text);
        }
    }

    /// Returns the next event from the other side.
    pub fn receive(&mut self) -> Option<News> {
        self.handle_controls();
        if let Some(Frame { kind, payload }) = self.inbox.pop() {
            self.handle_controls();
            return Some(match kind {
                Kind::Stop => News::Stop,
                _ => News::Event(TaskEvent::Message(payload)),
            });
        }
        if self.task.is_none() {
            return self.socket.is_none().then_some(News::Gone);
        }
        if !self.has_exit() {
            return None;
        }
        let is_truncated = self.inbox.is_partial();
        let protocol_error = self.error;
        let task = self.task.as_mut()?;
        task.mark_reported();
        let exit = task.exit(is_truncated, protocol_error);
        Some(News::Event(TaskEvent::Exit(exit)))
    }

    /// Returns how the task ended, if it has, whether or not the exit event has been received.
    pub fn exit(&self) -> Option<TaskExit> {
        let task = self.task.as_ref()?;
        let is_over = task.has_ended() && self.socket.is_none();
        is_over.then(|| task.exit(self.inbox.is_partial(), self.error))
    }

    /// Drops the messages of the task, those that are queued and those to come. They are still read, since the task may
    /// have to send them before it can exit.
    pub fn discard(&mut self) {
        self.is_ignored = true;
        self.handle_controls();
    }

    /// Ends the task, as [`Life::stop`] describes.
    pub fn stop(&mut self, now: Instant, grace: Duration) {
        if let Some(task) = &mut self.task {
            let action = task.life.stop(now, grace);
            self.act(action);
            self.is_closed = true;
        }
    }

    /// Kills the task.
    pub fn kill(&mut self) {
        if let Some(task) = &mut self.task {
            let action = task.life.kill();
            self.act(action);
            self.is_closed = true;
        }
    }

    /// Tells the other side to send no more messages.
    pub fn hang_up(&mut self) {
        self.queue_control(Kind::HangUp, "");
    }
}

/// Readiness, time, and the end of the process.
impl Peer {
    /// Handles a ready socket: reads once and writes once, so that no channel keeps the others waiting.
    pub fn on_socket(&mut self, scratch: &mut Scratch) {
        self.write();
        self.read(scratch);
    }

    /// Asks whether the process has ended, and handles its end.
    pub fn on_process(&mut self, scratch: &mut Scratch) {
        let Some(task) = &mut self.task else { return };
        if task.reap(false) {
            self.is_closed = true;
            self.outbox.clear();
            let descriptor = task.take_descriptor();
            self.retired.extend(descriptor.filter(|_| self.is_process_told));
            self.read_rest(scratch);
        }
    }

    /// Restores the number of bytes that may be sent before the next wait.
    pub fn refill(&mut self) {
        self.eager = self.queue;
    }

    /// Does the work that is due at `now`.
    pub fn on_time(&mut self, now: Instant, scratch: &mut Scratch) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            // The process may have ended unnoticed.
            self.on_process(scratch);
        }
        while let Some(action) = self.task.as_mut().and_then(|task| task.life.on_time(now)) {
            self.act(Some(action));
        }
        if self.look_at().is_some_and(|at| at <= now) {
            self.look_at = now + LOOK_PERIOD;
            if self.is_blind {
                self.on_socket(scratch);
            }
        }
    }

    /// Returns the time at which work is due.
    pub fn deadline(&self) -> Option<Instant> {
        let ladder = self.task.as_ref().and_then(|task| task.life.deadline());
        [ladder, self.look_at()].into_iter().flatten().min()
    }

    /// Returns the time of the next look at descriptors that are not watched.
    fn look_at(&self) -> Option<Instant> {
        let task = self.task.as_ref().filter(|task| !task.has_ended());
        let is_untold = task.is_some_and(|task| task.descriptor().is_none());
        let is_blind = self.is_blind && (self.socket.is_some() || task.is_some());
        (is_untold || is_blind).then_some(self.look_at)
    }

    /// Reads the remaining bytes of a process that has ended, while there is room. Returns whether it has read.
    pub fn read_rest(&mut self, scratch: &mut Scratch) -> bool {
        let has_ended = self.task.as_ref().is_some_and(Task::has_ended);
        let mut has_read = false;
        while has_ended && self.socket.is_some() && self.inbox.has_room() {
            self.read(scratch);
            has_read = true;
        }
        has_read
    }

    /// Stops a task that has broken the protocol.
    pub fn stop_if_broken(&mut self, now: Instant) {
        if self.error.is_some()
            && let Some(task) = &self.task
            && task.life.rung().is_none()
        {
            self.stop(now, task.grace);
        }
    }

    /// Blocks until all queued bytes have been sent, or the other side has closed.
    pub fn flush(&mut self) {
        while let Some(descriptor) = self.socket()
            && !self.outbox.unsent().is_empty()
        {
            self.write();
            let question = Question::new(descriptor, Interest::WRITABLE);
            if self.outbox.unsent().is_empty() || ask(&mut [question], None).is_err() {
                return;
            }
        }
    }

    fn write(&mut self) {
        let Some(socket) = &self.socket else { return };
        if self.outbox.unsent().is_empty() {
            return;
        }
        match sys::send(socket, self.outbox.unsent()) {
            Ok(count) => self.outbox.mark_sent(count),
            Err(error) if is_not_now(&error) => {}
            // The other side has closed. Bytes that it has sent before can still be read.
            Err(_) => {
                self.outbox.clear();
                self.is_closed = true;
            }
        }
    }

    fn read(&mut self, scratch: &mut Scratch) {
        let Some(socket) = self.socket.as_ref().filter(|_| self.inbox.has_room()) else {
            return;
        };
        match scratch.receive(socket) {
            Ok(bytes) if !bytes.is_empty() => {
                if let Err(error) = self.inbox.feed(bytes) {
                    self.error = Some(error);
                    self.close();
                }
                self.handle_controls();
            }
            // A process that has ended sends nothing more, even if another process holds its end.
            Err(error) if is_not_now(&error) => {
                let has_ended = self.task.as_ref().is_some_and(Task::has_ended);
                if has_ended && error.kind() == ErrorKind::WouldBlock {
                    self.close();
                }
            }
            Ok(_) | Err(_) => self.close(),
        }
    }

    /// Closes the channel in both directions.
    fn close(&mut self) {
        self.is_closed = true;
        self.outbox.clear();
        let socket = self.socket.take().filter(|_| !self.told.is_none());
        self.retired.extend(socket.map(OwnedFd::from));
    }

    /// Handles control frames, and dropped messages, at the front of the queue. A stop of the parent stays there, to be
    /// received in its turn.
    fn handle_controls(&mut self) {
        let is_ignored = self.is_ignored;
        let is_received = |kind| matches!(kind, Kind::Message | Kind::Stop) && !is_ignored;
        while self.inbox.peek().is_some_and(|kind| !is_received(kind)) {
            if let Some(frame) = self.inbox.pop() {
                self.on_control(&frame);
            }
        }
    }

    fn on_control(&mut self, frame: &Frame) {
        let text = || String::from_utf8_lossy(&frame.payload).into_owned();
        match (frame.kind, &mut self.task) {
            (Kind::Ready, Some(task)) => task.life.on_ready(),
            (Kind::Failed, Some(task)) => task.on_words(TaskStatus::Failed(text())),
            (Kind::Panicked, Some(task)) => task.on_words(TaskStatus::Panicked(text())),
            (Kind::HangUp, _) => self.has_hung_up = true,
            _ => {}
        }
    }

    fn act(&mut self, action: Option<Action>) {
        let Some(action) = action else { return };
        if action == Action::Ask {
            self.queue_control(Kind::Stop, "");
            return self.write();
        }
        if let Some(task) = &self.task {
            task.signal(action);
        }
    }

    /// Returns whether the exit event can be received.
    fn has_exit(&self) -> bool {
        let is_reported = self.task.as_ref().is_none_or(Task::is_reported);
        !is_reported && self.inbox.peek().is_none() && self.exit().is_some()
    }

    /// Kills the process, and waits for its end.
    pub fn kill_and_wait(&mut self) {
        self.kill();
        if let Some(task) = &mut self.task {
            task.reap(true);
        }
    }

    /// In a forked process: releases the channel, which is the parent's.
    pub fn disown(&mut self) {
        self.socket = None;
        self.is_closed = true;
        self.outbox.clear();
        self.inbox.clear();
        self.retired.clear();
        if let Some(task) = &mut self.task {
            task.disown();
        }
    }
}

/// Returns whether the call can be retried: when the socket is ready, at once, or when the system has more memory.
fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
        || matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}
