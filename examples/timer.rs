//! One timer. The loop waits for it, calls its hook once, and returns, since no thread is left.

#![forbid(unsafe_code)]

use std::error::Error;
use std::time::{Duration, Instant};

use kpt_examples::Args;
use kpt_std::{EventLoop, Thread};

const HELP: &str = "
Runs one timer of 2 seconds and says when it fired.

Usage: timer";

const DELAY: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    Args::new(HELP).finish();

    let mut kpt = EventLoop::new()?;
    let mut stopwatch = Stopwatch { started: Instant::now() };
    kpt.threads().add_timer("alarm", DELAY, Stopwatch::on_alarm, ())?;
    println!("a timer of {DELAY:?} runs");

    let exit = kpt.run(&mut stopwatch)?;
    println!("the loop has returned: {}", exit.as_str());
    Ok(())
}

struct Stopwatch {
    started: Instant,
}

impl Stopwatch {
    fn on_alarm(&mut self, thread: Thread<Self>) {
        println!("{} fired after {:?}", thread.name(), self.started.elapsed());
    }
}
