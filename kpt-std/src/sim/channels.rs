//! The two ends of a simulated task.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::panic;
use std::rc::Rc;
use std::time::Duration;

use kpt_core::{Instant, Readiness, Source};

use super::Sim;
use super::net::Handle;
use super::world;
use crate::task::{Action, Life};
use crate::{
    Message, Passed, ProtocolError, SendError, TaskConfig, TaskEvent, TaskExit, TaskStatus, source,
};

/// One less than the process ID of the first task.
const FIRST_PROCESS: i32 = 1_000;
/// A kind of frame that does not exist.
const GARBAGE: u8 = 0xFF;

/// The two ends of a task's channel, as the world sees them.
#[derive(Debug)]
pub struct Channel {
    pub who: u32,
    grace: Duration,
    /// The length of the longest message, and of all messages that may be queued in one direction, in bytes.
    longest: usize,
    most: usize,
    /// The number of descriptors that may be queued in one direction.
    descriptors: usize,
    tells_ready: bool,
    pub state: RefCell<State>,
}

#[derive(Debug, Default)]
pub struct State {
    /// From the parent to the task, and back.
    pub down: Queue<Message>,
    pub up: Queue<TaskEvent<Message>>,
    pub life: Life,
    pub does_hang: bool,
    pub is_closed: bool,
    pub has_hung_up: bool,
    pub has_ended: bool,
    pub exit: Option<TaskExit>,
    pub protocol_error: Option<ProtocolError>,
}

#[derive(Debug)]
pub struct Queue<M> {
    pub messages: VecDeque<M>,
    pub bytes: usize,
    pub descriptors: usize,
}

impl<M> Default for Queue<M> {
    fn default() -> Self {
        Self { messages: VecDeque::new(), bytes: 0, descriptors: 0 }
    }
}

impl<M> Queue<M> {
    /// Counts a message that is added.
    fn add(&mut self, message: &Message) {
        self.bytes += message.bytes.len();
        self.descriptors += usize::from(!matches!(message.descriptor, Passed::Nothing));
    }

    /// Counts a message that was taken.
    pub fn remove(&mut self, message: &Message) {
        self.bytes -= message.bytes.len();
        self.descriptors -= usize::from(!matches!(message.descriptor, Passed::Nothing));
    }
}

impl Channel {
    pub fn new(who: u32, config: &TaskConfig) -> Self {
        Self {
            who,
            grace: config.grace,
            longest: config.max_message,
            most: config.queue.max(2 * config.max_message),
            descriptors: config.descriptors,
            tells_ready: config.tells_ready,
            state: RefCell::default(),
        }
    }

    /// Checks that a message of this length fits, and its descriptor if it has one.
    fn check_room<M>(
        &self,
        queue: &Queue<M>,
        more: usize,
        has_descriptor: bool,
    ) -> Result<(), SendError> {
        if has_descriptor && self.descriptors == 0 {
            return Err(SendError::NoDescriptors);
        }
        if more > self.longest {
            return Err(SendError::TooLong);
        }
        let is_full = has_descriptor && queue.descriptors >= self.descriptors;
        if is_full || queue.bytes + more > self.most { Err(SendError::Full) } else { Ok(()) }
    }

    /// Returns whether a message of any allowed length fits, with a descriptor where there may be any.
    fn is_writable<M>(&self, queue: &Queue<M>) -> bool {
        self.check_room(queue, self.longest, self.descriptors > 0).is_ok()
    }

    /// Returns what is found on one of its ends: that of the parent, or that of the task.
    pub fn readiness(&self, of_task: bool) -> Readiness {
        let state = self.state.borrow();
        let is_writable = if of_task {
            state.has_ended || self.is_writable(&state.up)
        } else {
            state.is_closed || state.has_hung_up || self.is_writable(&state.down)
        };
        let mut found = Readiness::NONE;
        if is_writable {
            found = found | Readiness::WRITABLE;
        }
        if !of_task && !state.up.messages.is_empty() {
            found = found | Readiness::READABLE;
        }
        found
    }

    /// Notes that the loop of the task runs.
    pub fn on_ready(&self) {
        let mut state = self.state.borrow_mut();
        state.life.on_ready();
        if self.tells_ready && state.protocol_error.is_none() {
            state.up.messages.push_back(TaskEvent::Ready);
        }
    }

    /// Carries out a step to end the task.
    pub fn act(&self, sim: &Sim, action: Option<Action>) {
        match action {
            Some(Action::Terminate) => self.end(sim, TaskStatus::Signal(libc::SIGTERM)),
            Some(Action::Kill) => self.end(sim, TaskStatus::Signal(libc::SIGKILL)),
            Some(Action::Ask) | None => {}
        }
    }

    fn stop(&self, sim: &Sim, grace: Duration) {
        let mut state = self.state.borrow_mut();
        state.is_closed = true;
        let action = state.life.stop(sim.now(), grace);
        drop(state);
        self.act(sim, action);
    }

    /// Ends the task. Its parent learns of it at once, or late.
    pub fn end(&self, sim: &Sim, status: TaskStatus) {
        let mut state = self.state.borrow_mut();
        if std::mem::replace(&mut state.has_ended, true) {
            return;
        }
        state.is_closed = true;
        let exit = TaskExit {
            status,
            stopped: state.life.last_step(),
            has_started: state.life.has_started(),
            is_truncated: false,
            protocol_error: state.protocol_error,
            signal_error: None,
        };
        drop(state);
        let who = self.who;
        sim.note(|| format!("task {who} ends: {exit}"));
        if sim.choose("exit", who, &["at-once", "late"]) == 0 {
            return self.reap(exit);
        }
        sim.after(sim.world().late.get(), move |sim| {
            if let Some(channel) = sim.world().task(who) {
                channel.reap(exit);
            }
        });
    }

    fn reap(&self, exit: TaskExit) {
        let mut state = self.state.borrow_mut();
        state.life.on_ended(crate::sys::Ended::Unknown);
        state.exit = Some(exit.clone());
        state.up.messages.push_back(TaskEvent::Exit(exit));
    }
}

/// An end of a task: what [`TaskHandle`] and [`Parent`] have in a simulation.
pub struct SimTask {
    channel: Rc<Channel>,
    handle: Handle,
}

impl SimTask {
    pub fn new(channel: Rc<Channel>, handle: Handle) -> Self {
        Self { channel, handle }
    }

    pub fn source(&self) -> Source {
        source(&self.handle)
    }

    pub fn id(&self) -> i32 {
        FIRST_PROCESS + self.channel.who as i32
    }

    fn sim(&self) -> Option<Sim> {
        world::find(self.handle.simulation())
    }

    fn state(&self) -> std::cell::RefMut<'_, State> {
        self.channel.state.borrow_mut()
    }
}

/// What the parent does.
impl SimTask {
    /// Takes the descriptor, if there is one, unless it fails.
    pub fn send_down(
        &self,
        message: &[u8],
        descriptor: &mut Option<OwnedFd>,
    ) -> Result<(), SendError> {
        let mut state = self.state();
        if state.is_closed || state.has_hung_up {
            return Err(SendError::Closed);
        }
        self.channel.check_room(&state.down, message.len(), descriptor.is_some())?;
        let message = self.message(message, descriptor.take());
        state.down.add(&message);
        state.down.messages.push_back(message);
        Ok(())
    }

    /// Returns a message as it arrives: its descriptor may be lost on the way.
    fn message(&self, bytes: &[u8], descriptor: Option<OwnedFd>) -> Message {
        let does_pass =
            |sim: Sim| sim.choose("descriptor", self.channel.who, &["passed", "lost"]) == 0;
        let descriptor = match descriptor {
            None => Passed::Nothing,
            Some(descriptor) if self.sim().is_some_and(does_pass) => Passed::Descriptor(descriptor),
            Some(_) => Passed::Lost,
        };
        Message { bytes: bytes.to_vec(), descriptor }
    }

    pub fn receive(&self) -> Option<TaskEvent<Message>> {
        let mut state = self.state();
        let event = state.up.messages.pop_front()?;
        if let TaskEvent::Message(message) = &event {
            state.up.remove(message);
        }
        Some(event)
    }

    pub fn stop(&self, grace: Duration) {
        if let Some(sim) = self.sim() {
            self.channel.stop(&sim, grace);
        }
    }

    pub fn kill(&self) {
        let Some(sim) = self.sim() else { return };
        let mut state = self.state();
        state.is_closed = true;
        let action = state.life.kill();
        drop(state);
        self.channel.act(&sim, action);
    }

    /// Forgets the messages that were not received.
    fn discard(&self) {
        let mut state = self.state();
        state.up.messages.retain(|event| matches!(event, TaskEvent::Exit(_)));
        (state.up.bytes, state.up.descriptors) = (0, 0);
    }

    /// Drops the handle: the task is stopped.
    pub fn release(&self) {
        self.stop(self.channel.grace);
        self.discard();
    }

    /// Lets the simulation go on until something happens to the task, or until the given moment. Returns whether time is
    /// left.
    ///
    /// # Panics
    /// If nothing can happen any more, or the run has failed.
    fn drive(&self, until: Instant) -> bool {
        let Some(sim) = self.sim() else { return false };
        sim.world().settle(&sim);
        let who = self.channel.who;
        assert!(!sim.has_failed(), "the run has failed while it waited for task {who}");
        if !self.state().up.messages.is_empty() {
            return true;
        }
        let next = sim.world().next_moment().min(until);
        assert!(
            next != Instant::NEVER,
            "task {who} is waited for, and nothing can happen any more"
        );
        sim.run().set_now(sim.now().max(next));
        sim.world().settle(&sim);
        next < until
    }

    /// Returns the next event that comes within this time. It does not return before the task has ended, or the time is
    /// over.
    pub fn receive_within(&self, timeout: Option<Duration>) -> Option<TaskEvent<Message>> {
        let until = timeout.map_or(Instant::NEVER, |timeout| self.now() + timeout);
        loop {
            if let Some(event) = self.receive() {
                return Some(event);
            }
            if self.state().exit.is_some() || !self.drive(until) {
                return self.receive();
            }
        }
    }

    pub fn wait(&self) -> TaskExit {
        loop {
            self.discard();
            if let Some(exit) = self.state().exit.clone() {
                return exit;
            }
            self.drive(Instant::NEVER);
        }
    }

    fn now(&self) -> Instant {
        self.sim().map_or(Instant::ZERO, |sim| sim.now())
    }
}

/// The payload that unwinds a task that dies in a hook.
pub struct Killed;

/// What the task does.
impl SimTask {
    /// Takes the descriptor, if there is one, unless it fails.
    pub fn send_up(
        &self,
        message: &[u8],
        descriptor: &mut Option<OwnedFd>,
    ) -> Result<(), SendError> {
        let Some(sim) = self.sim() else { return Err(SendError::Closed) };
        let mut state = self.state();
        if state.has_ended {
            return Err(SendError::Closed);
        }
        self.channel.check_room(&state.up, message.len(), descriptor.is_some())?;
        match sim.choose("message", self.channel.who, &["sent", "dies", "garbage"]) {
            1 => {
                drop(state);
                panic::resume_unwind(Box::new(Killed));
            }
            2 if state.protocol_error.is_none() => {
                state.protocol_error = Some(ProtocolError::Unexpected { kind: GARBAGE });
                drop(state);
                self.channel.stop(&sim, self.channel.grace);
            }
            _ if state.protocol_error.is_some() => {} // Nothing is read any more.
            _ => {
                let message = self.message(message, descriptor.take());
                state.up.add(&message);
                state.up.messages.push_back(TaskEvent::Message(message));
            }
        }
        Ok(())
    }

    pub fn hang_up(&self) {
        let mut state = self.state();
        state.has_hung_up = true;
        state.down = Queue::default();
    }
}

impl fmt::Debug for SimTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimTask").field("task", &self.channel.who).finish_non_exhaustive()
    }
}
