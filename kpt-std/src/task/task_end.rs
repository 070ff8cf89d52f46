//! The end of a channel at the parent: the task's messages, its process, its life and its end.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_core::Instant;

use super::channel::Channel;
use super::config::TaskConfig;
use super::error::SignalError;
use super::exit::{Message, TaskEvent, TaskExit, TaskStatus};
use super::frame::{Frame, Kind, LONGEST_TEXT, Sender, cut};
use super::life::{Action, Life};
use super::process::Process;
use super::rest::{Rest, Step};
use super::scratch::Scratch;
use super::watch::Watch;
use crate::clock;
use crate::sys::Ended;

/// The end of a channel at the other end of which is a task.
pub struct TaskEnd {
    name: Box<str>,
    channel: Channel,
    process: Process,
    life: Life,
    rest: Rest,
    grace: Duration,
    /// The reason for its end that the task has sent.
    words: Option<TaskStatus>,
    /// The first signal that could not be sent, and whether it has been logged.
    signal_error: Option<SignalError>,
    is_error_logged: bool,
    is_reported: bool,
}

/// Calls of the application.
impl TaskEnd {
    /// Takes the socket to a process that has just been forked.
    pub fn new(config: &TaskConfig, socket: UnixStream, process: Process) -> Self {
        Self {
            name: config.name.as_str().into(),
            channel: Channel::new(config, socket, Sender::Child),
            process,
            life: Life::new(),
            rest: Rest::Unknown,
            grace: config.grace,
            words: None,
            signal_error: None,
            is_error_logged: false,
            is_reported: false,
        }
    }

    /// Returns the next event.
    pub fn receive(&mut self) -> Option<TaskEvent<Message>> {
        self.handle_controls();
        if let Some((frame, descriptor)) = self.channel.receive() {
            self.on_control(&frame);
            self.handle_controls();
            return Some(match frame.kind {
                Kind::Ready => TaskEvent::Ready,
                _ => TaskEvent::Message(Message { bytes: frame.payload, descriptor }),
            });
        }
        let exit = self.exit().filter(|_| !self.is_reported)?;
        self.is_reported = true;
        Some(TaskEvent::Exit(exit))
    }

    /// Returns whether there is an event.
    pub fn has_event(&self) -> bool {
        self.channel.has_frame() || (!self.is_reported && self.is_over())
    }

    /// Returns how the task ended, if it has, whether or not the exit event has been received.
    pub fn exit(&self) -> Option<TaskExit> {
        let ended = self.life.ended().filter(|_| self.is_over())?;
        let status = match (ended, &self.words) {
            // A panic that aborts ends with SIGABRT.
            (Ended::Signal(signal), words) if words.is_none() || signal != libc::SIGABRT => {
                TaskStatus::Signal(signal)
            }
            (_, Some(words)) => words.clone(),
            (Ended::Code(code), None) => TaskStatus::Code(code),
            (_, None) => TaskStatus::Unknown,
        };
        Some(TaskExit {
            status,
            stopped: self.life.last_step(),
            has_started: self.life.has_started(),
            is_truncated: self.channel.is_partial(),
            protocol_error: self.channel.error(),
            signal_error: self.signal_error,
        })
    }

    /// Returns whether the task has ended, and all that it has sent has been read.
    pub fn is_over(&self) -> bool {
        self.life.ended().is_some() && !self.channel.is_open()
    }

    /// Drops the messages of the task, those that are queued and those to come.
    pub fn discard(&mut self) {
        self.channel.discard();
        self.handle_controls();
    }

    /// Ends the task, as [`Life::stop`] describes.
    pub fn stop(&mut self, now: Instant, grace: Duration) {
        if self.life.stop(now, grace) == Some(Action::Ask) {
            self.channel.queue_control(Kind::Stop, "");
            self.channel.write();
        }
        self.channel.refuse();
    }

    /// Kills the task.
    pub fn kill(&mut self, now: Instant) -> Result<(), SignalError> {
        self.channel.refuse();
        self.life.kill().map_or(Ok(()), |_| self.send_kill(now))
    }

    /// Returns a line for the log about the first signal that could not be sent, once.
    pub fn take_error(&mut self) -> Option<String> {
        let error = self.signal_error.filter(|_| !self.is_error_logged)?;
        self.is_error_logged = true;
        Some(format!("task {} (process {}): {error}", self.name, self.process.pid()))
    }

    /// Stops a task whose handle has been dropped, and drops its messages. Does nothing in a process that other code has
    /// forked: the task belongs to the process that has started it.
    pub fn release(&mut self, now: Instant) {
        if !self.process.is_own() {
            return;
        }
        self.stop(now, self.grace);
        self.discard();
    }
}

/// Readiness, time, and the end of the process.
impl TaskEnd {
    /// Returns the bytes to and from the task.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Returns the bytes to and from the task.
    pub fn channel_mut(&mut self) -> &mut Channel {
        &mut self.channel
    }

    /// Returns the process of the task.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the process of the task.
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Returns the watches of the channel and of the process.
    pub fn watches(&mut self) -> [&mut Watch; 2] {
        [self.channel.watch(), self.process.watch()]
    }

    /// Handles a ready socket: writes once and reads once, so that no task keeps the others waiting.
    pub fn on_socket(&mut self, scratch: &mut Scratch) {
        self.channel.write();
        self.read(scratch);
    }

    /// Handles a readable process: it has ended.
    pub fn on_process(&mut self, scratch: &mut Scratch) {
        self.look_at_process(scratch);
        if self.life.ended().is_none() {
            self.process.hold(clock::now_or_later());
        }
    }

    /// Asks whether the process has ended, and handles its end.
    fn look_at_process(&mut self, scratch: &mut Scratch) {
        if self.reap() {
            self.channel.abandon();
            self.rest.on_ended();
            self.read(scratch);
        }
    }

    /// Does the work that is due at `now`.
    pub fn on_time(&mut self, now: Instant, scratch: &mut Scratch) {
        let is_look = self.process.watch().take_look(now);
        if is_look || self.life.deadline().is_some_and(|deadline| deadline <= now) {
            // The process may have ended unnoticed.
            self.look_at_process(scratch);
        }
        while let Some(action) = self.life.on_time(now) {
            self.act(action, now);
        }
        if self.channel.take_look(now) {
            self.on_socket(scratch);
        }
    }

    /// Returns the time at which work is due.
    pub fn deadline(&self) -> Option<Instant> {
        let looks = [self.channel.look_at(), self.process.look_at()];
        looks.into_iter().chain([self.life.deadline()]).flatten().min()
    }

    /// Stops a task that has broken the protocol.
    pub fn stop_if_broken(&mut self, now: Instant) {
        if self.channel.error().is_some() && self.life.last_step().is_none() {
            self.stop(now, self.grace);
        }
    }

    /// Tells the guard of this version of the net about the task, once. Returns `false` if it is to be told later.
    pub fn tell_guard(&mut self, version: u32) -> bool {
        self.life.ended().is_some() || self.process.tell_guard(version)
    }

    /// Kills the process, and closes the channel, since its last owner has been dropped. The process is still to be reaped.
    pub fn give_up(&mut self, now: Instant) {
        let _ = self.kill(now);
        self.channel.close();
    }

    /// Asks whether the process has ended. Returns whether it has.
    pub fn has_ended(&mut self) -> bool {
        self.reap();
        self.life.ended().is_some()
    }

    /// In a forked process: releases the channel and the process, which are the parent's.
    pub fn disown(&mut self) {
        self.channel.disown();
        self.process.disown();
        self.life.on_ended(Ended::Unknown);
        self.is_reported = true;
    }

    /// Takes the steps of one wait to read from the channel: at most one read.
    fn read(&mut self, scratch: &mut Scratch) {
        let mut may_read = self.channel.is_open();
        while let Some(step) = self.rest.step(self.channel.has_room(), may_read) {
            match step {
                Step::Read(most) => {
                    may_read = false;
                    self.rest.on_read(self.channel.read(scratch, most));
                }
                Step::Count => self.rest.on_count(self.channel.count_unread()),
                Step::Close => {
                    self.channel.close();
                    self.rest.on_close();
                }
            }
        }
        self.handle_controls();
    }

    /// Asks whether the process has ended. Returns whether its end is new.
    fn reap(&mut self) -> bool {
        if self.life.ended().is_some() {
            return false;
        }
        let ended = self.process.reap();
        if let Some(ended) = ended {
            self.life.on_ended(ended);
        }
        ended.is_some()
    }

    /// Handles the control frames at the front of the queue.
    fn handle_controls(&mut self) {
        while let Some(frame) = self.channel.take_control() {
            self.on_control(&frame);
        }
    }

    fn on_control(&mut self, frame: &Frame) {
        // Each byte that is no text becomes three.
        let text = || cut(&String::from_utf8_lossy(&frame.payload), LONGEST_TEXT).to_owned();
        match frame.kind {
            Kind::Ready => self.life.on_ready(),
            Kind::HangUp => self.channel.refuse(),
            Kind::Failed => self.on_words(TaskStatus::Failed(text())),
            Kind::Panicked => self.on_words(TaskStatus::Panicked(text())),
            Kind::Message | Kind::MessageWith | Kind::MessageWithout | Kind::Stop => {}
        }
    }

    /// Notes the reason for its end that the task has sent. The first reason counts: a drop after a panic may panic,
    /// too.
    fn on_words(&mut self, words: TaskStatus) {
        self.words.get_or_insert(words);
    }

    fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::Ask => {}
            Action::Terminate => {
                for signal in [libc::SIGTERM, libc::SIGCONT] {
                    let _ = self.signal(signal);
                }
            }
            Action::Kill => _ = self.send_kill(now),
        }
    }

    fn send_kill(&mut self, now: Instant) -> Result<(), SignalError> {
        let result = self.signal(libc::SIGKILL);
        if result.is_err() {
            self.life.on_kill_failed(now);
        }
        result
    }

    fn signal(&mut self, signal: i32) -> Result<(), SignalError> {
        let result = self.process.signal(signal);
        if let Err(error) = result {
            self.signal_error.get_or_insert(error);
        }
        result
    }
}
