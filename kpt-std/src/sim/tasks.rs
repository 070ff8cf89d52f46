//! Simulated tasks: the same [`Child`], as a loop in the same world in place of a process.

use std::rc::Rc;
use std::{io, panic};

use kpt_core::{Exit, Instant};

use super::Sim;
use super::channels::{Channel, Killed, SimTask};
use super::net::File;
use super::panics::{self, Caught};
use super::poller::Watches;
use super::world::{Actor, Loop};
use crate::task::MESSAGES_PER_TURN;
use crate::{Child, Parent, StartError, TaskConfig, TaskHandle, TaskStatus};

/// A task that has not ended.
struct Task<C: Child> {
    kpt: Loop<C, C::Arg>,
    state: C,
    watches: Watches,
    channel: Rc<Channel>,
    /// It has no threads, and waits for messages.
    is_empty: bool,
}

impl<C: Child> Actor for Task<C> {
    fn is_runnable(&self, sim: &Sim) -> bool {
        let state = self.channel.state.borrow();
        let is_told = state.life.last_step().is_some() || !state.down.messages.is_empty();
        state.has_ended
            || (!state.does_hang && (is_told || (!self.is_empty && self.watches.is_any_ready(sim))))
    }

    fn deadline(&self) -> Instant {
        let state = self.channel.state.borrow();
        let own =
            if state.does_hang || self.is_empty { Instant::NEVER } else { self.watches.until() };
        state.life.deadline().map_or(own, |deadline| deadline.min(own))
    }

    fn turn(&mut self, sim: &Sim) -> bool {
        let channel = self.channel.clone();
        loop {
            let action = channel.state.borrow_mut().life.on_time(sim.now());
            if action.is_none() {
                break;
            }
            channel.act(sim, action);
        }
        if !channel.state.borrow().has_ended && self.is_runnable_itself(sim) {
            self.run(sim);
        }
        let has_ended = channel.state.borrow().has_ended;
        !has_ended
    }
}

impl<C: Child> Task<C> {
    /// Returns whether it has something to do besides being ended.
    fn is_runnable_itself(&self, sim: &Sim) -> bool {
        let does_hang = self.channel.state.borrow().does_hang;
        !does_hang && (self.is_runnable(sim) || self.deadline() <= sim.now())
    }

    /// Runs one turn, in which the task may die, or from which it does not come back.
    fn run(&mut self, sim: &Sim) {
        let channel = self.channel.clone();
        match sim.choose("task", channel.who, &["runs", "dies", "hangs"]) {
            1 => return channel.end(sim, TaskStatus::Signal(libc::SIGKILL)),
            2 => {
                channel.state.borrow_mut().does_hang = true;
                return;
            }
            _ => {}
        }
        match caught(|| self.serve()) {
            Ok(None) => {}
            Ok(Some(status)) | Err(status) => channel.end(sim, status),
        }
    }

    /// Does what the loop of a task does between two waits. Returns how it ended, if it has.
    fn serve(&mut self) -> Option<TaskStatus> {
        let channel = self.channel.clone();
        if !channel.state.borrow().life.has_started() {
            if let Err(error) = self.state.pre_run(self.kpt.threads()) {
                return Some(TaskStatus::Failed(error.to_string()));
            }
            channel.on_ready();
        }
        for _ in 0..MESSAGES_PER_TURN {
            if self.kpt.threads().is_stopping() {
                break; // It gets no other call.
            }
            let mut state = channel.state.borrow_mut();
            let Some(message) = state.down.messages.pop_front() else { break };
            state.down.remove(&message);
            drop(state);
            self.state.on_message_with(message, self.kpt.threads());
        }
        let is_asked = {
            let state = channel.state.borrow();
            state.life.last_step().is_some() && state.down.messages.is_empty()
        };
        if is_asked {
            self.state.pre_stop(self.kpt.threads());
            return Some(TaskStatus::Code(0));
        }
        let exit = match self.kpt.turn(&mut self.state) {
            Ok(exit) => exit,
            Err(error) => return Some(TaskStatus::Failed(error.to_string())),
        };
        self.is_empty = exit == Some(Exit::Empty);
        let has_hung_up = channel.state.borrow().has_hung_up;
        let is_over = exit == Some(Exit::Stopped) || (self.is_empty && has_hung_up);
        is_over.then_some(TaskStatus::Code(0))
    }
}

/// Calls code of a task. Returns how the task ended if it panics or dies in it.
fn caught<R>(work: impl FnOnce() -> R) -> Result<R, TaskStatus> {
    let mut is_killed = false;
    let result = panics::catch(|| {
        panic::catch_unwind(panic::AssertUnwindSafe(work)).map_err(|payload| {
            is_killed = payload.is::<Killed>();
            if !is_killed {
                panic::resume_unwind(payload);
            }
        })
    });
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(())) => Err(TaskStatus::Signal(libc::SIGKILL)),
        Err(Caught { message, place }) => {
            Err(TaskStatus::Panicked(format!("panicked at {place}:\n{message}")))
        }
    }
}

impl Sim {
    /// Starts a task in this world, as [`Spawner::start_owned`](crate::Spawner::start_owned) does.
    pub(crate) fn start_task<C: Child + 'static>(
        &self,
        config: TaskConfig,
        build: impl FnOnce(Parent) -> C,
    ) -> Result<TaskHandle, StartError> {
        let who = self.world().next_task();
        if self.choose("start", who, &["ok", "EAGAIN"]) == 1 {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN).into());
        }
        let channel = Rc::new(Channel::new(who, &config));
        let (here, there) = {
            let mut net = self.world().net.borrow_mut();
            net.tasks.insert(who, channel.clone());
            let mut end = |of_task| -> Result<SimTask, io::Error> {
                let handle = net.open(File::Task(who, of_task))?;
                Ok(SimTask::new(channel.clone(), handle))
            };
            (end(false)?, end(true)?)
        };
        self.note(|| format!("task {who} starts: {}", config.name));
        let (kpt, watches) = self.inner_loop(config.threads);
        let parent = Parent::simulated(there);
        match self.world().as_peer(|| caught(|| build(parent))) {
            Ok(state) => {
                let task = Task { kpt, state, watches, channel, is_empty: false };
                self.world().push_actor(Box::new(task));
            }
            Err(status) => channel.end(self, status),
        }
        Ok(TaskHandle::simulated(here, config.name))
    }
}
