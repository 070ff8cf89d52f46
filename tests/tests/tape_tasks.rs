//! Tasks on a tape: what they have sent, and how they have ended.

use std::error::Error;
use std::fs::File;
use std::time::Duration;

use kpt_core::poller::Poller;
use kpt_std::tape::{Recording, Replay};
use kpt_std::{
    Builder, Child, EventLoop, Exit, Parent, SendError, Spawner, TaskConfig, TaskEvent, TaskHandle,
    TaskStatus, Thread, Threads,
};
use kpt_tests::tape::Memory;

/// Sends back what it is sent, and panics at a word.
struct Mirror {
    parent: Parent,
}

impl Child for Mirror {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        // More than one wait of the parent, of which the application sees none.
        threads.add_timer("tick", Duration::from_micros(300), |_, thread| thread.again(), ())?;
        Ok(())
    }

    fn on_message(&mut self, message: Vec<u8>, _: Threads<Self>) {
        assert!(message != b"panic", "as it was told");
        let _ = self.parent.send_with(&message, File::open("/dev/zero").expect("it is there"));
    }
}

fn start(spawner: &Spawner, name: &str) -> TaskHandle {
    let config = TaskConfig::new(name).tell_ready().grace(Duration::from_secs(5));
    let config = config.max_message(100).accept_descriptors(4);
    spawner.start(config, |parent| Mirror { parent }).unwrap()
}

struct App {
    tasks: Vec<TaskHandle>,
    said: Vec<String>,
}

impl App {
    fn on_event(&mut self, mut thread: Thread<Self, usize>) {
        let number = thread.arg;
        let task = &self.tasks[number];
        let Some(event) = task.receive_with() else { return thread.again() };
        let text = format!("{} {event:?}", task.name());
        // The number of the descriptor is another one.
        self.said.push(text.split("fd: ").next().unwrap_or_default().to_owned());
        match event {
            TaskEvent::Ready => {
                task.send(b"hello").unwrap();
                assert_eq!(task.send(&[0; 101]), Err(SendError::TooLong));
            }
            TaskEvent::Message(_) if number == 0 => task.send(b"panic").unwrap(),
            TaskEvent::Message(_) if number == 1 => task.stop(Duration::from_secs(5)),
            TaskEvent::Message(_) => task.kill().unwrap(),
            TaskEvent::Exit(_) => {
                assert_eq!(task.send(b"late"), Err(SendError::Closed));
                if self.said.iter().filter(|line| line.contains("Exit")).count() == 3 {
                    thread.threads().stop();
                }
                return;
            }
        }
        thread.again();
    }
}

/// What tasks of a loop do, and one that is waited for without a loop.
fn run<P: Poller>(mut kpt: EventLoop<App, usize, P>) -> Vec<String> {
    let spawner = kpt.spawner();
    let tasks: Vec<_> = ["one", "two", "three"].map(|name| start(&spawner, name)).into();
    let mut threads = kpt.threads();
    for (number, task) in tasks.iter().enumerate() {
        threads.add_read("task", task.source(), App::on_event, number).unwrap();
    }
    threads.add_timer("tick", Duration::from_millis(1), |_, thread| thread.again(), 0).unwrap();
    let mut app = App { tasks, said: Vec::new() };
    assert!(matches!(kpt.run(&mut app), Ok(Exit::Stopped)));
    let App { tasks, mut said } = app;
    said.extend(tasks.iter().map(|task| format!("{}: {}", task.id(), task.wait())));
    let alone = start(&Spawner::new(), "alone");
    said.push(format!("{:?}", alone.receive_blocking()));
    said.push(format!("{:?}", alone.receive_timeout(Duration::ZERO)));
    alone.stop(Duration::from_secs(5));
    said.push(alone.wait().to_string());
    said
}

fn messages_and_ends_are_those_of_the_tape() {
    let tape = Memory::default();
    let recording = Recording::start(tape.clone()).unwrap();
    let said = run(EventLoop::new().unwrap());
    recording.stop().unwrap();
    let count = |word: &str| said.iter().filter(|line| line.contains(word)).count();
    assert_eq!((count("Ready"), count("Message"), count("as it was told")), (4, 3, 2), "{said:?}");
    assert_eq!(count("Descriptor(OwnedFd"), 3, "{said:?}");
    let mut digests = Vec::new();
    for _ in 0..3 {
        let replay = Replay::start(&tape.bytes()).unwrap();
        assert_eq!(run(Builder::new().build_on(replay.poller().unwrap()).unwrap()), said);
        assert_eq!((replay.left(), replay.divergence().is_none()), (0, true));
        digests.push(replay.digest());
    }
    assert!(digests[0] != 0 && digests.iter().all(|digest| *digest == digests[0]));
}

/// The task has the parent's tape in its memory, and what has not been written.
fn a_task_does_not_write_to_the_tape_of_its_parent() {
    struct Talks;

    impl Child for Talks {
        type Arg = ();

        fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
            kpt_std::tape::value(7, || 7);
            threads.add_execute("over", |_, mut thread| thread.threads().stop(), ())?;
            Ok(())
        }
    }

    let path = std::env::temp_dir().join(format!("kpt-tests-tape-{}", std::process::id()));
    let recording = Recording::start(File::create(&path).unwrap()).unwrap();
    let _kpt = EventLoop::<()>::new().unwrap();
    let task = Spawner::new().start(TaskConfig::new("talks"), |_| Talks).unwrap();
    assert_eq!(task.wait().status, TaskStatus::Code(0));
    assert!(std::fs::metadata(&path).unwrap().len() < 20, "nothing has been written");
    recording.stop().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let text: Vec<_> =
        kpt_std::tape::Records::new(&bytes).unwrap().map(|r| r.to_string()).collect();
    assert!(text.last().unwrap().ends_with("the tape ends"), "{text:?}");
    assert!(!text.iter().any(|line| line.contains("value")), "{text:?}");
    std::fs::remove_file(path).unwrap();
}

/// A start that fails fails in the replay, too, and its error is the same.
fn a_start_that_failed_fails() {
    let story = || {
        let result = Spawner::new().start(TaskConfig::new("one"), |parent| Mirror { parent });
        result.map(|task| task.wait()).unwrap_err().to_string()
    };
    let tape = Memory::default();
    let recording = Recording::start(tape.clone()).unwrap();
    let _kpt = EventLoop::<()>::new().unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || stopped.recv());
    let said = story();
    drop(stop);
    let _ = other.join();
    recording.stop().unwrap();
    assert!(said.contains("more than one OS thread"), "{said}");
    let _replay = Replay::start(&tape.bytes()).unwrap();
    assert_eq!(story(), said);
}

kpt_tests::scenarios! {
    messages_and_ends_are_those_of_the_tape,
    a_task_does_not_write_to_the_tape_of_its_parent,
    a_start_that_failed_fails,
}
