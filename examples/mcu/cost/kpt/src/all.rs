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

/// What the probe has seen of itself in its steps, and what it should see.
static SEEN: AtomicU32 = AtomicU32::new(0);
const RIGHT: u32 = {
    let timer = look(NAME, Kind::Timer, false, false, true);
    let execute = look(NAME, Kind::Execute, false, false, false);
    let reader = look(NAME, Kind::Read, true, true, false);
    let writer = look(NAME, Kind::Write, true, true, false);
    let mut seen = 0;
    let mut steps: &[u32] = &[timer, timer, timer, execute, reader, writer, timer, timer];
    while let [step, rest @ ..] = steps {
        seen = and(seen, *step);
        steps = rest;
    }
    seen
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
    let seen = look(
        thread.name(),
        thread.kind(),
        thread.source() == Some(NO_LINE),
        thread.readiness().is_error(),
        thread.deadline().is_some(),
    );
    SEEN.store(and(SEEN.load(Ordering::Relaxed), seen), Ordering::Relaxed);
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

/// Short, as the program's own code counts, too.
const fn look(name: &str, kind: Kind, has_source: bool, is_error: bool, has_deadline: bool) -> u32 {
    name.len() as u32 * 64
        + kind as u32
        + has_source as u32 * 8
        + is_error as u32 * 16
        + has_deadline as u32 * 32
}

const fn and(seen: u32, step: u32) -> u32 {
    seen.wrapping_mul(31).wrapping_add(step)
}
