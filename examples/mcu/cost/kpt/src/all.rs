//! The same jobs, and a thread that uses every operation on threads: what the rest of kpt costs, once a program uses it.
//! The hook itself, which counts as well, takes about 350 bytes.

#![no_std]
#![no_main]

mod jobs;

use core::time::Duration;

use cost_board::{Count, GROUPS, JOBS, YIELDS, entry, fail, finish, must, start};
use jobs::{Jobs, Loop, add_jobs};
use kpt_core::{Exit, Source, Thread, When};

/// Not one of the lines: the poller refuses to watch it, and its threads are told so at once.
const NO_LINE: Source = Source::new(GROUPS as u32);
const MILLISECOND: Duration = Duration::from_millis(1);

const NAME: &str = "probe";

/// How often the probe has run.
static STEPS: Count = Count::zero();

/// The jobs, the probe, and what it adds.
static mut LOOP: Loop<{ JOBS + 3 }> = Loop::new(jobs::poller());
static mut STATE: Jobs = Jobs::new();

#[entry]
fn main() -> ! {
    let (kpt, state) = (&raw mut LOOP, &raw mut STATE);
    // SAFETY: `main` runs once, and nothing else knows these statics.
    let (kpt, state) = unsafe { (&mut *kpt, &mut *state) };
    let mut threads = kpt.threads();
    add_jobs(threads.reborrow());
    must(threads.add_timer(NAME, MILLISECOND, on_probe, ()));
    start();
    if kpt.run(state) != Ok(Exit::Stopped) {
        fail();
    }
    let _ = kpt.run(state);
    fail()
}

/// After the last tick.
fn end(jobs: &Jobs) -> ! {
    if STEPS.get() != 4 {
        fail();
    }
    finish(&jobs.counts, 1, YIELDS)
}

/// In each step it goes on in another way.
fn on_probe(_: &mut Jobs, mut thread: Thread<Jobs>) {
    match STEPS.add() {
        1 => {
            let mut threads = thread.threads();
            let id = must(threads.add_write(NAME, NO_LINE, on_probe, ()));
            must(threads.cancel(id));
            threads.cancel_source(NO_LINE);
            thread.again();
        }
        2 => must(thread.try_again()),
        3 => must(thread.again_when(When::Readable(NO_LINE))),
        4 => thread.end().1.stop(),
        _ => fail(),
    }
}
