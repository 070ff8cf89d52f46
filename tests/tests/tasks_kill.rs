//! The kill matrix: the parent or one of its tasks is killed at any moment. 50 rounds, or 1,000 with `KPT_DEEP=1`;
//! `KPT_SEED` says which.

use std::error::Error;
use std::io::{Read, pipe};
use std::os::fd::AsFd;
use std::time::{Duration, Instant as Stopwatch};

use kpt_std::{
    Child, EventLoop, Parent, StopStep, TaskConfig, TaskEvent, TaskHandle, TaskStatus, Thread,
    Threads,
};
use kpt_tests::chance::{Chance, is_deep};
use kpt_tests::scenario::descriptors;
use kpt_tests::sys;
use libc::SIGKILL;

const GRACE: Duration = Duration::from_secs(5);

/// Whoever is left is gone so long after a kill.
const PATIENCE: Duration = Duration::from_secs(3);

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
            assert_eq!((exit.status, exit.stopped), (TaskStatus::Code(0), Some(StopStep::Asked)));
        }
    }

    fn on_kill(&mut self, _: Thread<Self, usize>) {
        if let Some(victim) = self.victim {
            sys::kill(self.tasks[victim].id());
        }
    }
}

/// In a process of its own: three busy tasks, of which one is killed after a while, if there is a victim. All of it is
/// there no more at the end.
fn run_matrix(victim: Option<usize>, after: Duration) {
    let before = descriptors();
    run_tasks(victim, after);
    assert_eq!(descriptors(), before);
    assert!(!sys::has_children(), "a child or a zombie is left");
}

fn run_tasks(victim: Option<usize>, after: Duration) {
    let mut kpt: EventLoop<Matrix, usize> = EventLoop::with_capacity(8).unwrap();
    let spawner = kpt.spawner();
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
    let (mut longest, mut parents) = (Duration::ZERO, 0);
    for round in 0..rounds {
        let after = Duration::from_micros(chance.below(15_000));
        let victim = (chance.below(2) == 0).then(|| chance.below(3) as usize);
        // All processes of the round have the writer; when all are gone, the reader sees the end.
        let (mut reader, writer) = pipe().expect("a pipe");
        let parent = sys::fork_and(|| {
            // The parent and its tasks hold it, and not through this process.
            let _ = writer.as_fd();
            run_matrix(victim, after);
        })
        .expect("a fork");
        drop(writer);
        if victim.is_none() {
            parents += 1;
            std::thread::sleep(after);
            sys::kill(parent);
        }
        let end = Stopwatch::now();
        assert_eq!(reader.read(&mut [0; 1]).expect("it can be read"), 0);
        assert!(end.elapsed() < PATIENCE, "round {round}: {:?}", end.elapsed());
        let code = sys::exit_code(parent).expect("a child");
        assert_eq!(code, victim.map(|_| 0), "round {round}: the parent's exit code");
        if victim.is_none() {
            longest = longest.max(end.elapsed());
        }
    }
    println!(
        "NOTE {rounds} rounds, {parents} with the parent killed; the last task gone {longest:?} later at most"
    );
}

kpt_tests::scenarios! {
    whoever_is_killed_nobody_is_left,
}
