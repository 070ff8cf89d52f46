//! Execute threads run in the next turn, in the order of adding. Those that add themselves again take turns.

#![forbid(unsafe_code)]

use std::error::Error;
use std::time::Duration;

use kpt_examples::Args;
use kpt_std::{AddError, EventLoop, Hook, Thread, Threads};

const HELP: &str = "
Runs ten execute threads once each; then the same ten over and over, until a
timer stops the loop after 100 ms. Prints how often each of them ran.

Usage: execute";

const DURATION: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    Args::new(HELP).finish();

    let mut kpt = EventLoop::new()?;
    let mut counts = Counts::default();
    add_ten(kpt.threads(), Counts::run_once)?;
    let exit = kpt.run(&mut counts)?;
    println!("once each:  {:?}, {}", counts.0, exit.as_str());

    let mut counts = Counts::default();
    add_ten(kpt.threads(), Counts::run_again)?;
    kpt.threads().add_timer("stop", DURATION, |_, mut thread| thread.threads().stop(), 0)?;
    let exit = kpt.run(&mut counts)?;
    println!("for {DURATION:?}: {:?}, {}", counts.0, exit.as_str());
    Ok(())
}

fn add_ten(
    mut threads: Threads<Counts, usize>,
    hook: Hook<Counts, usize>,
) -> Result<(), AddError<usize>> {
    for number in 0..10 {
        threads.add_execute("counter", hook, number)?;
    }
    Ok(())
}

/// How often each of the threads ran; a thread's argument is its number.
#[derive(Default)]
struct Counts([u32; 10]);

impl Counts {
    fn run_once(&mut self, thread: Thread<Self, usize>) {
        self.0[thread.arg] += 1;
    }

    fn run_again(&mut self, thread: Thread<Self, usize>) {
        self.0[thread.arg] += 1;
        thread.again();
    }
}
