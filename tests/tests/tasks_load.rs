//! Tasks under load: many at once, much at once, and ends at any moment. `KPT_DEEP=1` takes more rounds.

use std::error::Error;
use std::io::{Read, pipe};
use std::os::fd::AsFd;
use std::time::{Duration, Instant as Stopwatch};

use kpt_std::{
    Child, EventLoop, Parent, Rung, Source, Spawner, TaskConfig, TaskEvent, TaskExit, TaskHandle,
    TaskStatus, Thread, Threads,
};
use kpt_tests::chance::{Chance, is_deep};
use kpt_tests::scenario::descriptors;
use kpt_tests::sys;
use kpt_tests::tasks::receive_all;
use libc::{SIGABRT, SIGKILL, SIGSEGV};

const GRACE: Duration = Duration::from_secs(5);

/// How a task ends when it has sent its frames, or is told to.
#[derive(Clone, Copy, Debug)]
enum End {
    Return,
    Exit(i32),
    Raise(i32),
    Panic,
    /// It waits for the parent to say `stop`.
    Stop,
}

impl End {
    fn status(self) -> TaskStatus {
        match self {
            Self::Return | Self::Stop => TaskStatus::Code(0),
            Self::Exit(code) => TaskStatus::Code(code),
            Self::Raise(signal) => TaskStatus::Signal(signal),
            Self::Panic => TaskStatus::Panicked(String::new()),
        }
    }

    fn is(self, exit: &TaskExit) -> bool {
        match &exit.status {
            TaskStatus::Panicked(text) => matches!(self, Self::Panic) && text.contains("as told"),
            status => *status == self.status(),
        }
    }

    fn come(self, parent: &Parent) {
        match self {
            Self::Return => parent.hang_up(),
            Self::Exit(code) => std::process::exit(code),
            Self::Raise(signal) => sys::raise(signal),
            Self::Panic => panic!("as told"),
            Self::Stop => {}
        }
    }
}

/// Sends frames, and ends.
struct Talker {
    parent: Parent,
    end: End,
    frames: u32,
}

impl Child for Talker {
    type Arg = ();

    fn pre_run(&mut self, _: Threads<Self>) -> Result<(), Box<dyn Error>> {
        for frame in 0..self.frames {
            self.parent.send(&[&frame.to_le_bytes()[..], &[7; 5_000]].concat())?;
        }
        if self.frames > 0 {
            self.end.come(&self.parent);
        }
        Ok(())
    }

    fn on_message(&mut self, _: Vec<u8>, _: Threads<Self>) {
        self.end.come(&self.parent);
    }
}

fn start_talker(spawner: &Spawner, end: End, frames: u32) -> TaskHandle {
    let config = TaskConfig::new("talker").queue(2 << 20);
    spawner.start(config, |parent| Talker { parent, end, frames }).expect("it starts")
}

fn all_200_frames_arrive_before_the_exit_event() {
    let spawner = Spawner::new();
    for end in [End::Return, End::Exit(3), End::Panic, End::Stop] {
        let task = start_talker(&spawner, end, 200);
        if matches!(end, End::Stop) {
            task.stop(GRACE);
        }
        // More than any socket holds is on its way.
        std::thread::sleep(Duration::from_millis(20));
        let (messages, exit) = receive_all(&task);
        let numbers: Vec<u32> = messages
            .iter()
            .map(|message| u32::from_le_bytes(message[..4].try_into().expect("four bytes")))
            .collect();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>(), "{end:?}: {exit}");
        assert!(messages.iter().all(|message| message[4..] == [7; 5_000]));
        assert!(end.is(&exit) && !exit.is_truncated, "{end:?}: {exit}");
    }
}

/// The parent's state: tasks, and what came of them.
struct Tasks {
    tasks: Vec<(TaskHandle, End)>,
    exits: Vec<Option<TaskExit>>,
}

impl Tasks {
    /// The argument is the number of the task.
    fn on_task(&mut self, thread: Thread<Self, usize>) {
        let at = thread.arg;
        match self.tasks[at].0.receive() {
            Some(TaskEvent::Exit(exit)) => {
                let before = self.exits[at].replace(exit);
                assert_eq!(before, None, "a second exit event");
            }
            _ => thread.again(),
        }
    }
}

fn a_hundred_that_die_at_once_have_their_exact_reasons() {
    let mut kpt = EventLoop::with_capacity(200);
    let spawner = kpt.poller().spawner();
    let others = [End::Raise(SIGKILL), End::Raise(SIGSEGV), End::Raise(SIGABRT), End::Panic];
    let ends = (0..=40).map(End::Exit).chain(others.into_iter().cycle()).take(100);
    let mut state = Tasks { tasks: Vec::new(), exits: vec![None; 100] };
    for (at, end) in ends.enumerate() {
        let task = start_talker(&spawner, end, 0);
        kpt.threads().add_read("task", task.source(), Tasks::on_task, at).expect("room");
        state.tasks.push((task, end));
    }
    let own = sys::fork_and(|| {}).expect("a child of the test's own");
    for (task, _) in &state.tasks {
        task.send(b"now").expect("it listens");
    }
    kpt.run(&mut state).expect("the loop runs");
    for ((_, end), exit) in state.tasks.iter().zip(&state.exits) {
        let exit = exit.as_ref().expect("each has ended");
        assert!(end.is(exit), "{end:?}: {exit}");
    }
    sys::wait_for(own).expect("nobody else has waited for it");
}

fn starting_and_stopping_leaks_nothing() {
    let rounds = if is_deep() { 400 } else { 20 };
    let mut kpt: EventLoop<Tasks, usize> = EventLoop::with_capacity(64);
    let spawner = kpt.poller().spawner();
    let mut memory = Vec::new();
    for round in 0..rounds {
        let mut state = Tasks { tasks: Vec::new(), exits: vec![None; 50] };
        for at in 0..50 {
            let task = start_talker(&spawner, End::Stop, 0);
            kpt.threads().add_read("task", task.source(), Tasks::on_task, at).expect("room");
            task.stop(GRACE);
            state.tasks.push((task, End::Stop));
        }
        kpt.run(&mut state).expect("the loop runs");
        assert!(state.exits.iter().flatten().all(|exit| exit.status == TaskStatus::Code(0)));
        drop(state);
        if round == rounds / 4 || round == rounds - 1 {
            memory.push((sys::resident_bytes(), descriptors().len()));
        }
    }
    let [(early, open), (late, still_open)] = memory[..] else { panic!("two readings") };
    println!("NOTE {} tasks: {early} bytes after a quarter, {late} at the end", rounds * 50);
    assert!(late <= early + (256 << 10), "{early} bytes became {late}");
    // The last handles' descriptors are closed in the next wait.
    assert!(still_open <= open, "{open} descriptors became {still_open}");
}

fn a_thousand_tasks_live_at_once() {
    let count = 1_000;
    let mut kpt: EventLoop<Tasks, usize> = EventLoop::with_capacity(count);
    let spawner = kpt.poller().spawner();
    let start = Stopwatch::now();
    let mut state = Tasks { tasks: Vec::new(), exits: vec![None; count] };
    for at in 0..count {
        let task = start_talker(&spawner, End::Exit(at as i32 % 256), 0);
        kpt.threads().add_read("task", task.source(), Tasks::on_task, at).expect("room");
        state.tasks.push((task, End::Exit(at as i32 % 256)));
    }
    let started = start.elapsed();
    state.tasks.iter().for_each(|(task, _)| task.send(b"now").expect("it listens"));
    kpt.run(&mut state).expect("the loop runs");
    println!("NOTE {count} tasks started in {started:?}, ended after {:?}", start.elapsed());
    for ((_, end), exit) in state.tasks.iter().zip(&state.exits) {
        assert!(end.is(exit.as_ref().expect("each has ended")));
    }
}

/// Works a little, now and then.
struct Busy {
    parent: Parent,
}

impl Child for Busy {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        threads.add_timer("work", Duration::from_micros(300), Self::on_work, ())?;
        Ok(())
    }
}

impl Busy {
    fn on_work(&mut self, thread: Thread<Self>) {
        let _ = self.parent.send(&[1; 1_000]);
        thread.again();
    }
}

/// What the parent that is killed, or loses a child, does in a round.
struct Matrix {
    tasks: Vec<TaskHandle>,
    victim: Option<usize>,
    left: usize,
}

impl Matrix {
    fn on_task(&mut self, thread: Thread<Self, usize>) {
        let at = thread.arg;
        let Some(TaskEvent::Exit(exit)) = self.tasks[at].receive() else { return thread.again() };
        self.left -= 1;
        if self.victim == Some(at) {
            assert_eq!(exit.status, TaskStatus::Signal(SIGKILL));
            assert_eq!(exit.stopped, None);
            self.tasks.iter().for_each(|task| task.stop(GRACE));
        } else {
            assert_eq!((exit.status, exit.stopped), (TaskStatus::Code(0), Some(Rung::Asked)));
        }
    }

    fn on_kill(&mut self, _: Thread<Self, usize>) {
        if let Some(victim) = self.victim {
            sys::kill(self.tasks[victim].id() as u32);
        }
    }
}

/// In a process of its own: three busy tasks, of which one is killed after a while, if there is a victim.
fn run_matrix(victim: Option<usize>, after: Duration) {
    let mut kpt: EventLoop<Matrix, usize> = EventLoop::with_capacity(8);
    let spawner = kpt.poller().spawner();
    let mut state = Matrix { tasks: Vec::new(), victim, left: 3 };
    for at in 0..3 {
        let task =
            spawner.start(TaskConfig::new("busy"), |parent| Busy { parent }).expect("it starts");
        kpt.threads().add_read("task", task.source(), Matrix::on_task, at).expect("room");
        state.tasks.push(task);
    }
    kpt.threads().add_timer("kill", after, Matrix::on_kill, 0).expect("room");
    kpt.run(&mut state).expect("the loop runs");
    assert_eq!(state.left, 0);
}

/// Whoever is killed at whatever moment: nobody survives for 3 s, and what survivors say is exact.
fn whoever_is_killed_nobody_is_left() {
    let rounds = if is_deep() { 1_000 } else { 50 };
    let seed = std::env::var("KPT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("NOTE KPT_SEED={seed}");
    let mut chance = Chance::new(seed);
    for round in 0..rounds {
        let after = Duration::from_micros(chance.below(15_000));
        let victim = (chance.below(2) == 0).then(|| chance.below(3) as usize);
        // All processes of the round have the writer; when all are gone, the reader sees the end.
        let (mut reader, writer) = pipe().expect("a pipe");
        let parent = sys::fork_and(|| {
            // Only the parent and its tasks hold it, not through this process.
            let _ = writer.as_fd();
            run_matrix(victim, after);
        })
        .expect("a fork");
        drop(writer);
        if victim.is_none() {
            std::thread::sleep(after);
            sys::kill(parent);
        }
        let end = Stopwatch::now();
        assert_eq!(reader.read(&mut [0; 1]).expect("it can be read"), 0);
        assert!(end.elapsed() < Duration::from_secs(3), "round {round}: {:?}", end.elapsed());
        let code = sys::exit_code(parent).expect("a child");
        assert_eq!(code, victim.map(|_| 0), "round {round}: the parent's exit code");
    }
}

/// Which source a task has is nobody else's, as long as it lives.
fn sources_of_live_tasks_differ() {
    let spawner = Spawner::new();
    let tasks: Vec<_> = (0..20).map(|_| start_talker(&spawner, End::Stop, 0)).collect();
    let mut sources: Vec<Source> = tasks.iter().map(TaskHandle::source).collect();
    sources.sort_unstable();
    sources.dedup();
    assert_eq!(sources.len(), 20);
    tasks.iter().for_each(|task| task.stop(GRACE));
    assert!(tasks.iter().all(|task| task.wait().status == TaskStatus::Code(0)));
}

kpt_tests::scenarios! {
    all_200_frames_arrive_before_the_exit_event,
    a_hundred_that_die_at_once_have_their_exact_reasons,
    starting_and_stopping_leaks_nothing,
    a_thousand_tasks_live_at_once,
    whoever_is_killed_nobody_is_left,
    sources_of_live_tasks_differ,
}
