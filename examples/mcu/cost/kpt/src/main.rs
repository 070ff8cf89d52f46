//! The jobs as threads of kpt: a loop in a static, lines for interrupts.

#![no_std]
#![no_main]

mod jobs;

use cost_board::{JOBS, YIELDS, entry, fail, finish, start};
use jobs::{Jobs, Loop, add_jobs};

static mut LOOP: Loop<JOBS> = Loop::new(jobs::poller());
static mut STATE: Jobs = Jobs::new();

#[entry]
fn main() -> ! {
    let (kpt, state) = (&raw mut LOOP, &raw mut STATE);
    // SAFETY: `main` runs once, and nothing else knows these statics.
    let (kpt, state) = unsafe { (&mut *kpt, &mut *state) };
    add_jobs(kpt.threads());
    start();
    let _ = kpt.run(state);
    fail()
}

/// After the last tick.
fn end(jobs: &Jobs) -> ! {
    finish(&jobs.counts, 1, YIELDS)
}
