//! A parent and its task send each other messages with descriptors, and one of them is killed at any moment: no descriptor
//! is left, neither in the other one nor under way. 12 rounds, or 200 with `KPT_DEEP=1`; `KPT_SEED` says which.

use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::io::{PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::time::Duration;

use kpt_std::{
    Child, EventLoop, Message, Parent, Passed, SendError, SendWithError, TaskConfig, TaskEvent,
    TaskHandle, TaskStatus, Thread, Threads,
};
use kpt_tests::chance::{Chance, is_deep};
use kpt_tests::scenario::descriptors;
use kpt_tests::sys;
use libc::SIGKILL;

/// Of each queue.
const MOST: usize = 4;
/// What each side keeps of what it has received.
const KEPT: usize = 5;

type Sent = Result<(), SendError>;

/// Whether the message with this number has one.
fn has_descriptor(number: u32) -> bool {
    !number.is_multiple_of(3)
}

/// One side: sends numbers, two of three with a descriptor, and checks those of the other side.
struct Side {
    /// What is passed, and where to say how it went: who reads it sees the end when all copies are closed.
    pipe: PipeWriter,
    next: u32,
    received: u32,
    kept: VecDeque<OwnedFd>,
}

impl Side {
    fn new(pipe: PipeWriter) -> Self {
        Self { pipe, next: 0, received: 0, kept: VecDeque::new() }
    }

    /// Sends a few messages. Returns whether it may go on.
    fn send(
        &mut self,
        plain: impl Fn(&[u8]) -> Sent,
        with: impl Fn(&[u8], PipeWriter) -> Result<(), SendWithError>,
    ) -> bool {
        for _ in 0..8 {
            let bytes = self.next.to_le_bytes();
            let sent = match has_descriptor(self.next) {
                false => plain(&bytes),
                true => with(&bytes, self.pipe.try_clone().expect("room")).map_err(SendError::from),
            };
            match sent {
                Ok(()) => self.next += 1,
                Err(SendError::Full) => return true,
                Err(_) => return false,
            }
        }
        true
    }

    fn receive(&mut self, message: Message) {
        let is_next = message.bytes == self.received.to_le_bytes();
        let is_right = match message.descriptor {
            Passed::Nothing => !has_descriptor(self.received),
            Passed::Lost => false,
            Passed::Descriptor(descriptor) => {
                self.kept.push_back(descriptor);
                has_descriptor(self.received)
            }
        };
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
        if !is_next || !is_right {
            self.say(format_args!("bad {} in place of {}", message.bytes.len(), self.received));
            std::process::abort();
        }
        self.received += 1;
    }

    fn say(&self, text: impl std::fmt::Display) {
        let _ = (&self.pipe).write_all(format!("{text}\n").as_bytes());
    }
}

/// The task.
struct Chatter {
    parent: Parent,
    side: Side,
    before: BTreeSet<(i32, String)>,
}

impl Child for Chatter {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        threads.add_write("send", self.parent.source(), Self::on_room, ())?;
        self.before = descriptors();
        Ok(())
    }

    fn on_message_with(&mut self, message: Message, _: Threads<Self>) {
        self.side.receive(message);
    }

    /// The parent has ended: what has come is the task's, and nothing else is open.
    fn pre_stop(&mut self, _: Threads<Self>) {
        self.side.kept.clear();
        let more: Vec<_> = descriptors().difference(&self.before).cloned().collect();
        match &more[..] {
            [] => self.side.say(format_args!("task {}", self.side.received)),
            _ => self.side.say(format_args!("bad task has {more:?}")),
        }
    }
}

impl Chatter {
    fn on_room(&mut self, thread: Thread<Self>) {
        let parent = &self.parent;
        if self.side.send(|bytes| parent.send(bytes), |bytes, it| parent.send_with(bytes, it)) {
            thread.again();
        }
    }
}

/// The parent.
struct Chat {
    task: TaskHandle,
    side: Side,
}

impl Chat {
    fn on_room(&mut self, thread: Thread<Self>) {
        let task = &self.task;
        if self.side.send(|bytes| task.send(bytes), |bytes, it| task.send_with(bytes, it)) {
            thread.again();
        }
    }

    fn on_task(&mut self, mut thread: Thread<Self>) {
        match self.task.receive_with() {
            Some(TaskEvent::Message(message)) => self.side.receive(message),
            Some(TaskEvent::Exit(exit)) => {
                if exit.status != TaskStatus::Signal(SIGKILL) || exit.protocol_error.is_some() {
                    self.side.say(format_args!("bad exit: {exit}"));
                }
                return thread.threads().stop();
            }
            Some(TaskEvent::Ready) | None => {}
        }
        thread.again();
    }

    fn on_kill(&mut self, _: Thread<Self>) {
        sys::kill(self.task.id());
    }
}

/// In a process of its own: both sides send until the task is killed, or this process.
fn run_round(pipe: PipeWriter, kill_task_after: Option<Duration>) {
    let before = descriptors();
    let mut kpt = EventLoop::new().expect("a loop");
    let copy = pipe.try_clone().expect("room");
    let config = TaskConfig::new("chatter").accept_descriptors(MOST).keep_only([&copy]);
    let build = |parent| Chatter { parent, side: Side::new(copy), before: BTreeSet::new() };
    let task = kpt.spawner().start(config, build).expect("it starts");
    let source = task.source();
    let mut state = Chat { task, side: Side::new(pipe) };
    let mut threads = kpt.threads();
    threads.add_write("send", source, Chat::on_room, ()).expect("room");
    threads.add_read("task", source, Chat::on_task, ()).expect("room");
    if let Some(after) = kill_task_after {
        threads.add_timer("kill", after, Chat::on_kill, ()).expect("room");
    }
    kpt.run(&mut state).expect("the loop runs");
    let Chat { task, mut side } = state;
    side.kept.clear();
    drop((kpt, task));
    let more: Vec<_> = descriptors().difference(&before).cloned().collect();
    match &more[..] {
        [] => side.say(format_args!("parent {}", side.received)),
        _ => side.say(format_args!("bad parent has {more:?}")),
    }
}

fn whoever_is_killed_no_descriptor_is_left() {
    let rounds = if is_deep() { 200 } else { 12 };
    let seed = std::env::var("KPT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("NOTE KPT_SEED={seed}");
    let mut chance = Chance::new(seed);
    let (mut messages, mut reports) = (0, 0);
    for round in 0..rounds {
        let after = Duration::from_micros(chance.below(60_000));
        let is_task_killed = chance.below(2) == 0;
        let (mut reader, writer) = pipe().expect("a pipe");
        let parent = sys::fork_and(|| run_round(writer, is_task_killed.then_some(after)));
        let parent = parent.expect("a fork");
        if !is_task_killed {
            std::thread::sleep(after);
            sys::kill(parent);
        }
        // Ends when all processes have gone, and all copies are closed that were under way.
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("it can be read");
        assert!(!text.contains("bad"), "KPT_SEED={seed}, round {round}: {text}");
        sys::wait_for(parent).expect("a child");
        let counts = text.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        let count: u64 = counts.sum();
        reports += u32::from(!text.is_empty());
        messages += count;
    }
    println!(
        "NOTE {messages} messages received by those that were not killed, in {reports} rounds"
    );
    // The others were killed before their task had begun.
    assert!(reports >= rounds / 2, "{reports} of {rounds} rounds were told");
    assert!(!is_deep() || messages >= 100_000, "{messages}");
}

kpt_tests::scenarios! {
    whoever_is_killed_no_descriptor_is_left,
}
