//! The end of a channel at the parent: the task's messages, its process, its life and its end.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_core::Instant;

use super::channel::{Channel, Read, Scratch};
use super::config::TaskConfig;
use super::exit::{TaskEvent, TaskExit, TaskStatus};
use super::frame::{Frame, Kind, Sender};
use super::life::{Action, Life};
use super::process::Process;
use super::watch::Watch;
use crate::sys::Ended;

/// The end of a channel at the other end of which is a task.
pub struct TaskEnd {
    channel: Channel,
    process: Process,
    life: Life,
    grace: Duration,
    /// The reason for its end that the task has sent.
    words: Option<TaskStatus>,
    is_reported: bool,
}

/// Calls of the application.
impl TaskEnd {
    /// Takes the socket to a process that has just been forked.
    pub fn new(config: &TaskConfig, socket: UnixStream, process: Process) -> Self {
        Self {
            channel: Channel::new(config, socket, Sender::Child),
            process,
            life: Life::new(),
            grace: config.grace,
            words: None,
            is_reported: false,
        }
    }

    /// Returns the next event.
    pub fn receive(&mut self) -> Option<TaskEvent> {
        self.handle_controls();
        if let Some(frame) = self.channel.receive() {
            self.on_control(&frame);
            self.handle_controls();
            return Some(match frame.kind {
                Kind::Ready => TaskEvent::Ready,
                _ => TaskEvent::Message(frame.payload),
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
            stopped: self.life.rung(),
            has_started: self.life.has_started(),
            is_truncated: self.channel.is_partial(),
            protocol_error: self.channel.error(),
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
        let action = self.life.stop(now, grace);
        self.act(action);
        self.channel.refuse();
    }

    /// Kills the task.
    pub fn kill(&mut self) {
        let action = self.life.kill();
        self.act(action);
        self.channel.refuse();
    }

    /// Stops a task whose messages nobody will receive any more.
    pub fn release(&mut self, now: Instant) {
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

    /// Asks whether the process has ended, and handles its end.
    pub fn on_process(&mut self, scratch: &mut Scratch) {
        if self.reap(false) {
            self.channel.abandon();
            self.read_rest(scratch);
        }
    }

    /// Does the work that is due at `now`.
    pub fn on_time(&mut self, now: Instant, scratch: &mut Scratch) {
        let is_look = self.process.watch().take_look(now);
        if is_look || self.life.deadline().is_some_and(|deadline| deadline <= now) {
            // The process may have ended unnoticed.
            self.on_process(scratch);
        }
        while let Some(action) = self.life.on_time(now) {
            self.act(Some(action));
        }
        if self.channel.watch().take_look(now) {
            self.on_socket(scratch);
        }
    }

    /// Returns the time at which work is due.
    pub fn deadline(&self) -> Option<Instant> {
        let looks = [self.channel.look_at(), self.process.look_at()];
        looks.into_iter().chain([self.life.deadline()]).flatten().min()
    }

    /// Reads the remaining bytes of a process that has ended, while there is room. Returns whether it has read.
    pub fn read_rest(&mut self, scratch: &mut Scratch) -> bool {
        let mut has_read = false;
        while self.life.ended().is_some() && self.read(scratch).is_some() {
            has_read = true;
        }
        has_read
    }

    /// Stops a task that has broken the protocol.
    pub fn stop_if_broken(&mut self, now: Instant) {
        if self.channel.error().is_some() && self.life.rung().is_none() {
            self.stop(now, self.grace);
        }
    }

    /// Kills the process, and waits for its end.
    pub fn kill_and_wait(&mut self) {
        self.kill();
        self.reap(true);
    }

    /// In a forked process: releases the channel and the process, which are the parent's.
    pub fn disown(&mut self) {
        self.channel.disown();
        self.process.disown();
        self.life.on_ended(Ended::Unknown);
        self.is_reported = true;
    }

    fn read(&mut self, scratch: &mut Scratch) -> Option<Read> {
        let read = self.channel.read(scratch)?;
        // A process that has ended sends nothing more, even if another process holds its end.
        if read == Read::Nothing && self.life.ended().is_some() {
            self.channel.close();
        }
        self.handle_controls();
        Some(read)
    }

    /// Asks whether the process has ended, or waits until it has. Returns whether its end is new.
    fn reap(&mut self, is_blocking: bool) -> bool {
        if self.life.ended().is_some() {
            return false;
        }
        let ended = self.process.reap(is_blocking);
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
        let text = || String::from_utf8_lossy(&frame.payload).into_owned();
        match frame.kind {
            Kind::Ready => self.life.on_ready(),
            Kind::HangUp => self.channel.refuse(),
            Kind::Failed => self.on_words(TaskStatus::Failed(text())),
            Kind::Panicked => self.on_words(TaskStatus::Panicked(text())),
            Kind::Message | Kind::Stop => {}
        }
    }

    /// Notes the reason for its end that the task has sent. The first reason counts: a drop after a panic may panic,
    /// too.
    fn on_words(&mut self, words: TaskStatus) {
        self.words.get_or_insert(words);
    }

    fn act(&mut self, action: Option<Action>) {
        match action {
            None => {}
            Some(Action::Ask) => {
                self.channel.queue_control(Kind::Stop, "");
                self.channel.write();
            }
            Some(Action::Terminate) => {
                self.process.signal(libc::SIGTERM);
                self.process.signal(libc::SIGCONT);
            }
            Some(Action::Kill) => self.process.signal(libc::SIGKILL),
        }
    }
}
