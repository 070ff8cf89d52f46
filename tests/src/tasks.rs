//! Tasks for tests.

use std::error::Error;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_core::poller::Poller;
use kpt_std::{
    Child, EventLoop, Parent, Spawner, TaskConfig, TaskEvent, TaskExit, TaskHandle, TaskStatus,
    Thread, Threads, kpt_core,
};

use crate::scenario::descriptors;
use crate::sys;

/// What a scripted task does before its loop.
pub type Script = fn(&mut Scripted, Threads<'_, Scripted>) -> Result<(), Box<dyn Error>>;

/// A task that does `run` before its loop, and then what its parent says: see [`Scripted::on_message`].
pub struct Scripted {
    /// The way to the parent.
    pub parent: Parent,
    run: Script,
}

impl Scripted {
    /// For a start of the test's own.
    pub fn new(parent: Parent, run: Script) -> Self {
        Self { parent, run }
    }
}

impl Child for Scripted {
    type Arg = ();

    fn pre_run(&mut self, threads: Threads<'_, Self>) -> Result<(), Box<dyn Error>> {
        (self.run)(self, threads)
    }

    /// Sends each message back.
    fn on_message(&mut self, message: Vec<u8>, _: Threads<'_, Self>) {
        self.parent.send(&message).expect("the parent reads");
    }
}

/// Starts a task that does `run` before its loop, and then echoes.
///
/// # Panics
/// If it can't be started.
pub fn start(spawner: &Spawner, run: Script) -> TaskHandle {
    spawner
        .start(TaskConfig::new("scripted"), |parent| Scripted { parent, run })
        .expect("the task starts")
}

/// Starts a task that neither reads nor ends by itself, and waits until it runs.
///
/// # Panics
/// If it can't be started.
pub fn start_deaf(spawner: &Spawner) -> TaskHandle {
    let task = start(spawner, |child, _| {
        child.parent.send(b"deaf")?;
        loop {
            std::thread::sleep(Duration::from_secs(8));
        }
    });
    message_of(&task);
    task
}

/// Receives until the task has ended: its messages, and how it ended.
///
/// # Panics
/// If nothing comes any more, or something comes after the end.
pub fn receive_all(task: &TaskHandle) -> (Vec<Vec<u8>>, TaskExit) {
    let mut messages = Vec::new();
    loop {
        match task.receive_blocking().expect("an event comes") {
            TaskEvent::Message(message) => messages.push(message),
            TaskEvent::Ready => {}
            TaskEvent::Exit(exit) => {
                assert_eq!(task.receive(), None, "something came after the exit event");
                return (messages, exit);
            }
        }
    }
}

/// The next message of a task.
///
/// # Panics
/// If it ends instead.
pub fn message_of(task: &TaskHandle) -> Vec<u8> {
    match task.receive_blocking() {
        Some(TaskEvent::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// The socket of a task's channel, in the task.
///
/// # Panics
/// If it has none.
pub fn own_channel() -> UnixStream {
    let mut sockets = descriptors().into_iter().filter(|(_, file)| file.starts_with("socket:"));
    let (number, _) = sockets.next_back().expect("a task has a channel");
    UnixStream::from(sys::duplicate(number).expect("room for one"))
}

/// Sends a message to a task that sends it back, and stops it.
///
/// # Panics
/// If it does anything else.
pub fn use_and_end(task: &TaskHandle) {
    task.send(b"echo").expect("room");
    assert_eq!(message_of(task), b"echo");
    task.stop(Duration::from_secs(8));
    assert_eq!(task.wait().status, TaskStatus::Code(0));
}

/// A parent's state on a loop: one task, and what it has said.
pub struct One {
    /// The task.
    pub task: TaskHandle,
    /// In order.
    pub events: Vec<TaskEvent>,
}

impl One {
    /// Runs a loop until the task has ended.
    ///
    /// # Panics
    /// If the loop has no room.
    pub fn run<P: Poller<Error: std::fmt::Debug>>(
        kpt: &mut EventLoop<Self, (), P>,
        task: TaskHandle,
    ) -> Vec<TaskEvent> {
        kpt.threads().add_read("task", task.source(), Self::on_task, ()).expect("room");
        let mut state = Self { task, events: Vec::new() };
        kpt.run(&mut state).expect("the loop runs");
        state.events
    }

    /// For a read thread of the task's source: until its exit event has come.
    pub fn on_task(&mut self, thread: Thread<Self>) {
        let event = self.task.receive();
        if !matches!(event, Some(TaskEvent::Exit(_))) {
            thread.again();
        }
        self.events.extend(event);
    }
}
