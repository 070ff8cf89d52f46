//! The same stories with tasks that are processes and with simulated ones: their parents see the same.

use std::error::Error;
use std::fmt::Write;
use std::fs::File;
use std::time::Duration;

use kpt_std::sim::Sim;
use kpt_std::{
    Child, Message, Parent, Passed, SendError, Spawner, TaskConfig, TaskEvent, TaskHandle, Threads,
};

const GRACE: Duration = Duration::from_secs(8);

/// Does what its messages say.
struct Obeys {
    parent: Parent,
    /// What it does before its loop runs.
    before: Before,
    panics_at_end: bool,
}

#[derive(Clone, Copy)]
enum Before {
    Runs,
    Fails,
    Stops,
}

impl Child for Obeys {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        self.parent.send(b"before the loop")?;
        match self.before {
            Before::Runs => {}
            Before::Fails => return Err("it fails".into()),
            Before::Stops => threads.stop(),
        }
        Ok(())
    }

    fn on_message(&mut self, message: Vec<u8>, mut threads: Threads<Self>) {
        match &message[..] {
            b"panic" => panic!("as it was told"),
            b"stop" => threads.stop(),
            b"panic at the end" => self.panics_at_end = true,
            b"hang up" => self.parent.hang_up(),
            b"too long" => {
                let result = self.parent.send(&[0; 1_001]);
                let _ = self.parent.send(format!("{result:?}").as_bytes());
            }
            _ => drop(self.parent.send(&message)),
        }
    }

    fn on_message_with(&mut self, message: Message, threads: Threads<Self>) {
        match message.descriptor {
            Passed::Descriptor(file) => drop(self.parent.send_with(&message.bytes, file)),
            _ => self.on_message(message.bytes, threads),
        }
    }

    fn pre_stop(&mut self, _: Threads<Self>) {
        let _ = self.parent.send(b"before the end");
        assert!(!self.panics_at_end, "at the end");
    }
}

fn config() -> TaskConfig {
    TaskConfig::new("obeys").max_message(1_000).grace(GRACE).tell_ready()
}

fn start(before: Before) -> TaskHandle {
    let build = move |parent| Obeys { parent, before, panics_at_end: false };
    Spawner::new().start_owned(config(), build).unwrap()
}

/// Receives until the task has ended.
fn rest(task: &TaskHandle, log: &mut String) {
    while let Some(event) = task.receive_blocking() {
        say(event, log);
    }
    let _ = writeln!(log, "sends {:?}, receives {:?}", task.send(b"late"), task.receive());
}

fn say(event: TaskEvent, log: &mut String) {
    let _ = match event {
        TaskEvent::Message(message) => writeln!(log, "\"{}\"", message.escape_ascii()),
        other => writeln!(log, "{other:?}"),
    };
}

fn asked(log: &mut String) {
    let task = start(Before::Runs);
    for text in ["one", "", "two", "too long"] {
        task.send(text.as_bytes()).unwrap();
    }
    let _ = writeln!(log, "{:?}", task.send(&[0; 1_001]));
    task.stop(GRACE);
    let _ = writeln!(log, "{:?}", task.send(b"after it was stopped"));
    rest(&task, log);
    task.stop(GRACE);
    task.kill().unwrap();
    let _ = writeln!(log, "{:?} {}", task.wait(), task.name());
}

fn told(log: &mut String) {
    for text in ["stop", "panic"] {
        let task = start(Before::Runs);
        task.send(b"first").unwrap();
        task.send(text.as_bytes()).unwrap();
        rest(&task, log);
    }
}

/// What comes after that is not looked at.
fn told_in_between(log: &mut String) {
    for text in ["stop", "panic", "hang up"] {
        let task = start(Before::Runs);
        for text in ["first", text, "late", "later"] {
            let _ = task.send(text.as_bytes());
        }
        rest(&task, log);
    }
    let task = start(Before::Stops);
    let _ = task.send(b"late");
    rest(&task, log);
}

fn panics_as_it_is_asked(log: &mut String) {
    let task = start(Before::Runs);
    task.send(b"panic at the end").unwrap();
    task.stop(GRACE);
    rest(&task, log);
}

fn hangs_up(log: &mut String) {
    let task = start(Before::Runs);
    task.send(b"hang up").unwrap();
    rest(&task, log);
}

fn fails(log: &mut String) {
    let task = start(Before::Fails);
    rest(&task, log);
    let built = |_| -> Obeys { panic!("before it is there") };
    let task = Spawner::new().start_owned(TaskConfig::new("never"), built).unwrap();
    rest(&task, log);
}

fn killed(log: &mut String) {
    let task = start(Before::Runs);
    task.send(b"one").unwrap();
    for _ in 0..3 {
        say(task.receive_blocking().unwrap(), log);
    }
    task.kill().unwrap();
    rest(&task, log);
}

fn waited_for(log: &mut String) {
    let task = start(Before::Runs);
    task.send(b"discarded").unwrap();
    task.send(b"stop").unwrap();
    let _ = writeln!(log, "{:?}", task.wait());
    rest(&task, log);
}

fn passes(log: &mut String) {
    let file = || File::open("/dev/null").unwrap();
    let without = start(Before::Runs);
    let _ = writeln!(log, "{:?}", without.send_with(b"none", file()).map_err(SendError::from));
    let build = |parent| Obeys { parent, before: Before::Runs, panics_at_end: false };
    let task = Spawner::new().start_owned(config().accept_descriptors(2), build).unwrap();
    for text in [&b"one"[..], b"two", &[0; 1_001]] {
        let _ = writeln!(log, "{:?}", task.send_with(text, file()).map_err(SendError::from));
    }
    task.send(b"three").unwrap();
    for _ in 0..5 {
        match task.receive_with_blocking().unwrap() {
            TaskEvent::Message(message) => {
                let has_file = matches!(message.descriptor, Passed::Descriptor(_));
                let text = message.bytes.escape_ascii();
                let _ = writeln!(log, "\"{text}\", with a file: {has_file}");
            }
            other => drop(writeln!(log, "{other:?}")),
        }
    }
    task.stop(GRACE);
    let _ = writeln!(log, "{:?}", task.send_with(b"late", file()).map_err(SendError::from));
    rest(&task, log);
}

fn main() {
    type Story = fn(&mut String);
    let stories: [(&str, Story); 9] = [
        ("asked", asked),
        ("told", told),
        ("told in between", told_in_between),
        ("panics as it is asked", panics_as_it_is_asked),
        ("hangs up", hangs_up),
        ("fails", fails),
        ("killed", killed),
        ("waited for", waited_for),
        ("passes", passes),
    ];
    for (name, story) in stories {
        let (mut real, mut simulated) = (String::new(), String::new());
        story(&mut real);
        let sim = Sim::new();
        story(&mut simulated);
        drop(sim);
        println!("{name}:\n{real}");
        assert_eq!(real, simulated, "{name}");
    }
}
