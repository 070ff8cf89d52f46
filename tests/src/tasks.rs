//! Tasks for tests.

use std::error::Error;

use kpt_std::{Child, Parent, Spawner, TaskConfig, TaskEvent, TaskExit, TaskHandle, Threads};

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

/// Receives until the task has ended: its messages, and how it ended.
///
/// # Panics
/// If nothing comes any more, or something comes after the end.
pub fn receive_all(task: &TaskHandle) -> (Vec<Vec<u8>>, TaskExit) {
    let mut messages = Vec::new();
    loop {
        match task.receive_until(None).expect("an event comes") {
            TaskEvent::Message(message) => messages.push(message),
            TaskEvent::Exit(exit) => {
                assert_eq!(task.receive(), None, "something came after the exit event");
                return (messages, exit);
            }
        }
    }
}
