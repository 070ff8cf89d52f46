//! A task with a timer of its own, while its parent only sleeps, and then stops it.

#![forbid(unsafe_code)]

use std::error::Error;
use std::time::Duration;

use kpt_examples::Args;
use kpt_std::{Child, Parent, Spawner, TaskConfig, TaskEvent, Thread, Threads};

const HELP: &str = "
Starts a task: a process with a loop of its own, which counts the ticks of a
timer and sends each number to its parent. The parent has no loop. It sleeps,
stops the task, and prints what the task has sent and how it ended.

Usage: task [options]
    --ticks N      stop it after N ticks (5)
    --period-ms N  the time between two ticks (200)";

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new(HELP);
    let ticks = args.number("--ticks", 5, 1..=10_000);
    let period = Duration::from_millis(args.number("--period-ms", 200, 1..=60_000));
    args.finish();

    let spawner = Spawner::new();
    let config = TaskConfig::new("clock");
    let task = spawner.start(config, |parent| Clock { parent, period, ticks: 0 })?;
    println!("the task {} is process {}", task.name(), task.id());

    std::thread::sleep(period * ticks + period / 2);
    task.stop(Duration::from_secs(1));
    while let Some(event) = task.receive_blocking() {
        match event {
            TaskEvent::Message(text) => println!("from the task: {}", String::from_utf8(text)?),
            TaskEvent::Ready => {}
            TaskEvent::Exit(exit) => println!("the task has ended: {exit}"),
        }
    }
    Ok(())
}

/// The state of the task.
struct Clock {
    parent: Parent,
    period: Duration,
    ticks: u32,
}

impl Child for Clock {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        threads.add_timer("tick", self.period, Self::on_tick, ())?;
        Ok(())
    }

    fn pre_stop(&mut self, _: Threads<Self>) {
        println!("the task says good-bye");
    }
}

impl Clock {
    fn on_tick(&mut self, thread: Thread<Self>) {
        self.ticks += 1;
        match self.parent.send(format!("tick {}", self.ticks).as_bytes()) {
            Ok(()) => thread.again(),
            Err(error) => eprintln!("{}: {error}", thread.name()),
        }
    }
}
