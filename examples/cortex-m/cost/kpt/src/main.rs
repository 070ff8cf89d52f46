//! The jobs as threads of kpt: a loop in a static, lines for interrupts.

#![no_std]
#![no_main]

mod jobs;

use cortex_m_rt::entry;
use cost_board::{JOBS, YIELDS, fail, finish, start};
use jobs::{Jobs, Loop, add_jobs};

#[entry]
fn main() -> ! {
    static mut LOOP: Loop<JOBS> = Loop::new(jobs::poller());
    static mut STATE: Jobs = Jobs::new();
    start();
    add_jobs(LOOP);
    let _ = LOOP.run(STATE);
    fail()
}

/// After the last tick.
fn end(jobs: &Jobs) -> ! {
    finish(&jobs.counts, 1, YIELDS)
}
