//! Faults of time in this field that need a real clock, by their numbers.

use std::time::{Duration, Instant};

use kpt_std::{EventLoop, Exit, Thread};
use kpt_tests::loops::{any_loop, real_loop};
use kpt_tests::pollers::{Calls, Counting};
use kpt_tests::process::{all_in_own_process, command, is_own_process, wait_or_kill};
use kpt_tests::real::Real;
use kpt_tests::sys;
use kpt_tests::time::{micros, millis};
use kpt_tests::wall_clock::with_wall_clock_step;

/// The clock is the poller's, whatever the loop.
#[test]
fn t01_wall_clock_step() {
    with_wall_clock_step("t01_wall_clock_step", 3_600, || {
        let mut kpt = EventLoop::with_capacity(1).unwrap();
        let start = Instant::now();
        kpt.threads().add_timer("timer", millis(200), |runs, _| *runs += 1, ()).unwrap();
        let mut runs = 0;
        assert_eq!(kpt.run(&mut runs).unwrap(), Exit::Empty);
        assert!(runs == 1 && start.elapsed() >= millis(200), "and not when the clock steps");
    });
}

/// The process is stopped while its timers become due: once in each kind of loop on each poller.
#[test]
fn t02_a_stopped_process() {
    const NAME: &str = "t02_a_stopped_process";
    if !is_own_process(NAME) {
        let child = command(NAME).spawn().unwrap();
        let pid = child.id();
        for _ in Real::all() {
            sys::wait_until_stopped(pid).unwrap();
            // Time that passes is what this is about.
            std::thread::sleep(millis(30));
            sys::resume(pid);
        }
        let output = wait_or_kill(child);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    for real in Real::all() {
        let mut kpt = real_loop(8, real);
        let record = |ran: &mut Vec<u64>, thread: Thread<Vec<u64>, u64>| ran.push(thread.arg);
        for delay in [20, 5, 15, 10] {
            kpt.threads().add_timer("once", millis(delay), record, delay).unwrap();
        }
        kpt.threads().add_execute("stop", |_, _| sys::stop_myself(), 0).unwrap();
        let mut ran = Vec::new();
        assert_eq!(kpt.run_verified(&mut ran).unwrap(), Exit::Empty);
        assert_eq!(ran, [5, 10, 15, 20]);
    }
}

/// The timeout is neither rounded down to nothing, which spins, nor cut short.
#[test]
fn t12_timeouts_of_less_than_a_millisecond() {
    all_in_own_process("t12_timeouts_of_less_than_a_millisecond", |real| {
        let calls = Calls::default();
        let poller: Counting<_> = Counting::new(real.backend.poller(), &calls);
        let mut kpt = any_loop(poller, 1, real.shape);
        let start = Instant::now();
        let again = |runs: &mut u32, thread: Thread<u32>| {
            *runs += 1;
            if *runs < 200 {
                thread.again();
            }
        };
        kpt.threads().add_timer("timer", micros(300), again, ()).unwrap();
        let (mut runs, before) = (0, sys::sleeps());
        assert_eq!(kpt.run_verified(&mut runs).unwrap(), Exit::Empty);
        assert!(start.elapsed() >= micros(300 * 200));
        // Fewer than runs only where the machine was too slow for the next deadline to be ahead.
        let sleeps = sys::sleeps() - before;
        assert!(sleeps > 50, "spins: slept {sleeps} times for {runs} runs");
        let waits = calls.waits.get();
        assert!(waits <= 2 * runs, "{waits} wake-ups for {runs} runs");
    });
}

/// Days, weeks and ages: no error, no wake-up, nothing early.
#[test]
fn t13_timeouts_too_long_for_the_system() {
    all_in_own_process("t13_timeouts_too_long_for_the_system", |real| {
        let calls = Calls::default();
        let poller: Counting<_> = Counting::new(real.backend.poller(), &calls);
        let mut kpt = any_loop(poller, 16, real.shape);
        let (reader, writer) = std::io::pipe().unwrap();
        let day = 86_400_000;
        for days in [25, 50, 365, 365_000, 365_000_000] {
            kpt.threads().add_timer("age", millis(day * days), |_, _| panic!("early"), ()).unwrap();
        }
        kpt.threads().add_timer("age", Duration::MAX, |_, _| panic!("early"), ()).unwrap();
        // Only another OS thread ends that wait; how soon does not matter.
        let on_end = |is_done: &mut bool, _: Thread<bool>| *is_done = true;
        kpt.threads().add_read("reader", kpt_std::source(&reader), on_end, ()).unwrap();
        let closer = std::thread::spawn(move || drop(writer));
        kpt.turn_until(&mut false, &mut |&is_done| is_done);
        closer.join().unwrap();
        // The first one does not sleep, and tells the loop the time.
        assert!(calls.waits.get() <= 3, "a short timeout: {} waits", calls.waits.get());
        assert_eq!(kpt.threads().len(), 6);
    });
}
