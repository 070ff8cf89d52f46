//! Hostile tasks that send descriptors: their parent holds no more than it may, and closes at once what belongs to no
//! message.

use std::error::Error;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_std::{
    EventLoop, Parent, Passed, ProtocolError, Spawner, TaskConfig, TaskEvent, TaskHandle,
    TaskStatus, Thread,
};
use kpt_tests::attack::send_descriptors;
use kpt_tests::chance::is_checked;
use kpt_tests::scenario::descriptors;
use kpt_tests::sys;
use kpt_tests::tasks::{Scripted, own_channel, receive_all};

/// At most so many descriptors in each queue.
const MOST: usize = 8;
/// So many are sent.
const MANY: usize = 10_000;
const TICK: Duration = Duration::from_millis(10);
const WITH: [u8; 5] = [7, 0, 0, 0, 0];

fn config() -> TaskConfig {
    TaskConfig::new("hostile").accept_descriptors(MOST).grace(Duration::from_millis(20))
}

/// Sends them as fast as the channel takes them, past all queues of the task.
fn send_many(parent: Parent, file: &impl AsFd) -> Scripted {
    let channel = own_channel();
    for _ in 0..MANY {
        // The channel does not block, and it is closed when nobody wants more.
        while let Err(error) = send_descriptors(&channel, &WITH, &[file.as_fd()]) {
            if error.kind() != std::io::ErrorKind::WouldBlock {
                std::process::exit(0);
            }
            std::thread::yield_now();
        }
    }
    Scripted::new(parent, |_, _| Ok(()))
}

fn count_pipes() -> usize {
    descriptors().iter().filter(|(_, file)| file.starts_with("pipe:")).count()
}

/// A parent that looks at itself again and again.
struct Watcher {
    task: TaskHandle,
    most_pipes: usize,
    latest: Duration,
    received: usize,
    ticks_left: usize,
}

impl Watcher {
    fn on_tick(&mut self, mut thread: Thread<Self>) {
        let deadline = thread.deadline().expect("a timer has one");
        let late = thread.threads().now().saturating_duration_since(deadline);
        self.latest = self.latest.max(late);
        self.most_pipes = self.most_pipes.max(count_pipes());
        self.ticks_left -= 1;
        if self.ticks_left == 0 {
            return thread.threads().stop();
        }
        thread.again();
    }

    fn on_task(&mut self, mut thread: Thread<Self>) {
        match self.task.receive_with() {
            Some(TaskEvent::Message(message)) => {
                assert!(matches!(message.descriptor, Passed::Descriptor(_)));
                self.received += 1;
            }
            Some(TaskEvent::Exit(exit)) => panic!("{exit}"),
            Some(TaskEvent::Ready) | None => {}
        }
        if self.received == MANY {
            return thread.threads().stop();
        }
        thread.again();
    }
}

/// Runs a parent with a timer beside the flood.
fn run_flood(ticks: usize, receives: bool) -> usize {
    let mut kpt = EventLoop::new().expect("a loop");
    let file = pipe().expect("a pipe").1;
    let task = kpt.spawner().start(config(), |parent| send_many(parent, &file));
    let task = task.expect("it starts");
    let (before, resident) = (count_pipes(), sys::resident_bytes());
    let mut threads = kpt.threads();
    threads.add_timer("tick", TICK, Watcher::on_tick, ()).expect("room");
    if receives {
        threads.add_read("task", task.source(), Watcher::on_task, ()).expect("room");
    }
    let mut watcher =
        Watcher { task, most_pipes: 0, latest: Duration::ZERO, received: 0, ticks_left: ticks };
    kpt.run(&mut watcher).expect("the loop runs");
    let grown = sys::resident_bytes().saturating_sub(resident);
    println!(
        "NOTE {} received; at most {} open, a 10 ms timer at most {:?} late, {} KiB grown",
        watcher.received,
        watcher.most_pipes - before,
        watcher.latest,
        grown >> 10
    );
    assert!(watcher.most_pipes <= before + MOST);
    assert!(is_checked() || grown < 2 << 20, "{grown}");
    watcher.received
}

fn ten_thousand_descriptors_are_received_one_by_one() {
    assert_eq!(run_flood(usize::MAX, true), MANY);
}

fn ten_thousand_descriptors_that_nobody_receives_wait_in_the_channel() {
    assert_eq!(run_flood(20, false), 0);
}

type Attack = fn(&UnixStream, &PipeWriter) -> Result<(), Box<dyn Error>>;

/// What is wrong with descriptors, and does it.
const ATTACKS: [(&str, Attack); 7] = [
    ("with a message of the kind without", |channel, file| {
        send_descriptors(channel, &[1, 0, 0, 0, 0], &[file.as_fd()])?;
        Ok(())
    }),
    ("with a frame that is no message", |channel, file| {
        send_descriptors(channel, &[4, 0, 0, 0, 0], &[file.as_fd()])?;
        Ok(())
    }),
    ("with a message that says it was lost", |channel, file| {
        send_descriptors(channel, &[8, 0, 0, 0, 0], &[file.as_fd()])?;
        Ok(())
    }),
    ("several with a message", |channel, file| {
        send_descriptors(channel, &WITH, &[file.as_fd(); 8])?;
        Ok(())
    }),
    ("two with the parts of a message", |channel, file| {
        send_descriptors(channel, &[7, 2, 0, 0, 0, b'x'], &[file.as_fd()])?;
        send_descriptors(channel, b"y", &[file.as_fd()])?;
        Ok(())
    }),
    ("none with a message", |mut channel, _| Ok(channel.write_all(&WITH)?)),
    ("none with the second message", |mut channel, file| {
        send_descriptors(channel, &WITH, &[file.as_fd()])?;
        Ok(channel.write_all(&WITH)?)
    }),
];

/// Starts a task that does an attack, and waits to be killed.
fn start_attacker(attack: Attack) -> (TaskHandle, PipeReader) {
    let (reader, writer) = pipe().expect("a pipe");
    let build = |parent| {
        attack(&own_channel(), &writer).expect("it can be sent");
        std::thread::sleep(Duration::from_secs(8));
        Scripted::new(parent, |_, _| Ok(()))
    };
    (Spawner::new().start(config(), build).expect("it starts"), reader)
}

fn what_belongs_to_no_message_is_closed_and_ends_the_task() {
    for (what, attack) in ATTACKS {
        let before = descriptors();
        let (task, mut reader) = start_attacker(attack);
        let (_, exit) = receive_all(&task);
        assert_eq!(exit.protocol_error, Some(ProtocolError::Descriptor), "{what}: {exit}");
        assert_eq!(reader.read(&mut [0; 1]).expect("it can be read"), 0, "{what}: left open");
        drop((task, reader));
        // The guard's descriptors stay.
        let files: Vec<_> = descriptors().difference(&before).cloned().collect();
        assert!(!files.iter().any(|(_, file)| file.starts_with("pipe:")), "{what}: {files:?}");
    }
}

/// The queue of one that accepts none knows no such messages.
fn who_accepts_none_refuses_the_kinds_of_messages_with_descriptors() {
    for kind in [7, 8] {
        let build = move |parent| {
            own_channel().write_all(&[kind, 0, 0, 0, 0]).expect("it can be sent");
            std::thread::sleep(Duration::from_secs(8));
            Scripted::new(parent, |_, _| Ok(()))
        };
        let config = TaskConfig::new("hostile").grace(Duration::from_millis(20));
        let task = Spawner::new().start(config, build).expect("it starts");
        let (_, exit) = receive_all(&task);
        assert_eq!(exit.protocol_error, Some(ProtocolError::Unexpected { kind }));
    }
}

/// Half a message that has come with its descriptor.
fn a_task_that_dies_within_a_message_leaves_no_descriptor() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let task = Spawner::new().start(config(), |_| -> Scripted {
        let half = [7, 2, 0, 0, 0, b'x'];
        send_descriptors(&own_channel(), &half, &[writer.as_fd()]).expect("it can be sent");
        std::process::exit(0)
    });
    let task = task.expect("it starts");
    drop(writer);
    let (_, exit) = receive_all(&task);
    assert_eq!((exit.status, exit.is_truncated), (TaskStatus::Code(0), true));
    assert_eq!(reader.read(&mut [0; 1]).expect("it can be read"), 0, "left open");
    drop(task);
}

/// Bytes without rhyme, each call with a descriptor.
fn garbage_with_descriptors_leaves_none() {
    for seed in 0..20 {
        let mut chance = kpt_tests::chance::Chance::new(seed);
        let (mut reader, writer) = pipe().expect("a pipe");
        let task = Spawner::new().start(config(), |parent| {
            let channel = own_channel();
            for _ in 0..200 {
                let bytes: Vec<u8> =
                    (0..1 + chance.below(12)).map(|_| chance.below(9) as u8).collect();
                let files = vec![writer.as_fd(); chance.below(3) as usize];
                if send_descriptors(&channel, &bytes, &files).is_err() {
                    break;
                }
            }
            Scripted::new(parent, |_, _| Ok(()))
        });
        let task = task.expect("it starts");
        drop(writer);
        let (_, exit) = receive_all(&task);
        assert!(exit.protocol_error.is_some(), "seed {seed}: {exit}");
        assert_eq!(reader.read(&mut [0; 1]).expect("it can be read"), 0, "seed {seed}: left open");
    }
}

kpt_tests::scenarios! {
    ten_thousand_descriptors_are_received_one_by_one,
    ten_thousand_descriptors_that_nobody_receives_wait_in_the_channel,
    what_belongs_to_no_message_is_closed_and_ends_the_task,
    who_accepts_none_refuses_the_kinds_of_messages_with_descriptors,
    a_task_that_dies_within_a_message_leaves_no_descriptor,
    garbage_with_descriptors_leaves_none,
}
