//! The same jobs, and a thread that uses every operation that a hook has: what the rest of kpt costs, once a program
//! uses it.

#![no_std]
#![no_main]

mod jobs;

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use cost_board::{Count, GROUPS, JOBS, YIELDS, entry, fail, finish, must, start};
use jobs::{Jobs, Loop, add_jobs};
use kpt_core::{Exit, Kind, Source, Thread, Threads, When};

/// Not one of the lines: the poller refuses to watch it, and its threads are told so at once.
const NO_LINE: Source = Source::new(GROUPS as u32);
const MILLISECOND: Duration = Duration::from_millis(1);

const NAME: &str = "probe";

/// How often the probe has run.
static STEPS: Count = Count::zero();

/// What the probe has seen of itself: lengths of its name, kinds, and whether it had a source, an error, a deadline.
static SEEN: AtomicU32 = AtomicU32::new(0);
const RIGHT: u32 = {
    let name = NAME.len() as u32;
    let (timer, execute) = (name + Kind::Timer as u32 + 4, name + Kind::Execute as u32);
    let (reader, writer) = (name + Kind::Read as u32 + 3, name + Kind::Write as u32 + 3);
    5 * timer + execute + reader + writer
};

/// The jobs, the probe, and what it adds.
static mut LOOP: Loop<{ JOBS + 3 }> = Loop::new(jobs::poller());
static mut STATE: Jobs = Jobs::new();

#[entry]
fn main() -> ! {
    let (kpt, state) = (&raw mut LOOP, &raw mut STATE);
    // SAFETY: `main` runs once, and nothing else knows these statics.
    let (kpt, state) = unsafe { (&mut *kpt, &mut *state) };
    add_jobs(kpt);
    must(kpt.threads().add_timer(NAME, MILLISECOND, on_probe, ()));
    start();
    if kpt.run(state) != Ok(Exit::Stopped) {
        fail();
    }
    let _ = kpt.run(state);
    fail()
}

/// After the last tick.
fn end(jobs: &Jobs) -> ! {
    if SEEN.load(Ordering::Relaxed) != RIGHT {
        fail();
    }
    finish(&jobs.counts, 1, YIELDS)
}

/// In each step it goes on in another way.
fn on_probe(_: &mut Jobs, mut thread: Thread<Jobs>) {
    // Short, as the program's own code counts, too.
    let seen = thread.name().len() as u32
        + thread.kind() as u32
        + u32::from(thread.source().is_some())
        + u32::from(thread.readiness().is_error()) * 2
        + u32::from(thread.deadline().is_some()) * 4;
    SEEN.store(SEEN.load(Ordering::Relaxed) + seen, Ordering::Relaxed);
    match STEPS.add() {
        1 => {
            add_and_cancel(&mut thread.threads());
            thread.again();
        }
        2 => must(thread.try_again()),
        3 => must(thread.again_when(When::Now)),
        4 => must(thread.again_when(When::Readable(NO_LINE))),
        5 => must(thread.again_when(When::Writable(NO_LINE))),
        6 => {
            let now = thread.threads().now();
            must(thread.again_when(When::At(now)));
        }
        7 => must(thread.again_when(When::After(MILLISECOND))),
        _ => {
            let id = thread.id();
            let ((), mut threads) = thread.end();
            if threads.cancel(id).is_err() {
                threads.stop();
            }
        }
    }
}

/// Adds one thread of each kind, and takes all back.
fn add_and_cancel(threads: &mut Threads<'_, Jobs>) {
    let timer = must(threads.add_timer(NAME, MILLISECOND, on_probe, ()));
    must(threads.cancel(timer));
    let execute = must(threads.add_execute(NAME, on_probe, ()));
    must(threads.cancel(execute));
    must(threads.add_read(NAME, NO_LINE, on_probe, ()));
    must(threads.add_write(NAME, NO_LINE, on_probe, ()));
    threads.cancel_source(NO_LINE);
    if threads.len() != JOBS + 1 {
        fail();
    }
}
