//! Tasks under load: many at once, much at once, and ends at any moment. `KPT_DEEP=1` takes more rounds.

use std::error::Error;
use std::time::{Duration, Instant as Stopwatch};

use kpt_std::{
    Child, EventLoop, Parent, Source, Spawner, TaskConfig, TaskEvent, TaskExit, TaskHandle,
    TaskStatus, Thread, Threads,
};
use kpt_tests::chance::{is_checked, is_deep};
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
        check_200_frames(end, &messages, &exit);
    }
}

fn check_200_frames(end: End, messages: &[Vec<u8>], exit: &TaskExit) {
    let number = |message: &Vec<u8>| message[..4].try_into().map(u32::from_le_bytes);
    let numbers: Vec<u32> = messages.iter().flat_map(number).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>(), "{end:?}: {exit}");
    assert!(messages.iter().all(|message| message[4..] == [7; 5_000]));
    assert!(end.is(exit) && !exit.is_truncated, "{end:?}: {exit}");
}

/// All four at once, on one loop.
fn all_200_frames_arrive_on_a_loop_before_the_exit_event() {
    struct Receivers(Vec<(TaskHandle, Vec<Vec<u8>>, Option<TaskExit>)>);
    let receive = |state: &mut Receivers, thread: Thread<Receivers, usize>| {
        let (task, messages, end) = &mut state.0[thread.arg];
        match task.receive() {
            Some(TaskEvent::Exit(exit)) => assert_eq!(end.replace(exit), None),
            event => {
                if let Some(TaskEvent::Message(message)) = event {
                    messages.push(message);
                }
                thread.again();
            }
        }
    };
    let mut kpt = EventLoop::with_capacity(4).unwrap();
    let ends = [End::Return, End::Exit(3), End::Panic, End::Stop];
    let mut state = Receivers(Vec::new());
    for (at, end) in ends.into_iter().enumerate() {
        let task = start_talker(&kpt.spawner(), end, 200);
        kpt.threads().add_read("task", task.source(), receive, at).expect("room");
        if matches!(end, End::Stop) {
            task.stop(GRACE);
        }
        state.0.push((task, Vec::new(), None));
    }
    kpt.run(&mut state).expect("the loop runs");
    for (end, (_, messages, exit)) in ends.into_iter().zip(&state.0) {
        check_200_frames(end, messages, exit.as_ref().expect("each has ended"));
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
    let mut kpt = EventLoop::with_capacity(200).unwrap();
    let spawner = kpt.spawner();
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
    let mut kpt: EventLoop<Tasks, usize> = EventLoop::with_capacity(64).unwrap();
    let spawner = kpt.spawner();
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
    println!(
        "NOTE {} tasks: {early} bytes and {open} descriptors after a quarter, {late} and {still_open} at the end",
        rounds * 50
    );
    assert!(is_checked() || late <= early + (256 << 10), "{early} bytes became {late}");
    // The last handles' descriptors are closed in the next wait.
    assert!(still_open <= open, "{open} descriptors became {still_open}");
}

/// Four times. What the allocator keeps has settled after the second.
fn a_thousand_tasks_live_at_once() {
    let mut kpt: EventLoop<Tasks, usize> = EventLoop::with_capacity(1_000).unwrap();
    let [_, early, _, late] = [(); 4].map(|()| {
        run_a_thousand(&mut kpt);
        (sys::resident_bytes(), descriptors().len())
    });
    println!(
        "NOTE bytes and descriptors after the second thousand: {early:?}, the fourth: {late:?}"
    );
    assert!(is_checked() || late.0 <= early.0 + (256 << 10), "{early:?} became {late:?}");
    assert!(late.1 <= early.1, "{early:?} became {late:?}");
}

fn run_a_thousand(kpt: &mut EventLoop<Tasks, usize>) {
    // A thousand processes under valgrind are no test of kpt.
    let live = if is_checked() { 100 } else { 1_000 };
    let spawner = kpt.spawner();
    let start = Stopwatch::now();
    let mut state = Tasks { tasks: Vec::new(), exits: vec![None; live] };
    for at in 0..live {
        let task = start_talker(&spawner, End::Exit(at as i32 % 256), 0);
        kpt.threads().add_read("task", task.source(), Tasks::on_task, at).expect("room");
        state.tasks.push((task, End::Exit(at as i32 % 256)));
    }
    let started = start.elapsed();
    let open = descriptors().len();
    state.tasks.iter().for_each(|(task, _)| task.send(b"now").expect("it listens"));
    kpt.run(&mut state).expect("the loop runs");
    println!(
        "NOTE {live} tasks started in {started:?}, ended after {:?}; {open} descriptors",
        start.elapsed()
    );
    for ((_, end), exit) in state.tasks.iter().zip(&state.exits) {
        assert!(end.is(exit.as_ref().expect("each has ended")));
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
    all_200_frames_arrive_on_a_loop_before_the_exit_event,
    a_hundred_that_die_at_once_have_their_exact_reasons,
    starting_and_stopping_leaks_nothing,
    a_thousand_tasks_live_at_once,
    sources_of_live_tasks_differ,
}
