//! A loop's slack: wake-ups merge within it, and no timer is early.

use std::time::Duration;

use kpt_core::large::EventLoop;
use kpt_core::sim::{SimPoller, World};
use kpt_core::{Exit, Thread};
use kpt_std::HeapStorage;
use kpt_tests::pollers::{Calls, Counting};
use kpt_tests::time::{micros, millis};

struct App<'w> {
    world: &'w World,
    runs: u32,
    latest: Duration,
}

#[test]
fn wake_ups_merge_within_the_slack_and_no_timer_is_early() {
    for (slack, most_waits) in [(0, 1_001), (100, 11), (1_000, 2), (u64::MAX, 1)] {
        let (world, calls) = (World::new(), Calls::default());
        let poller = Counting::<_>::new(SimPoller::new(&world), &calls);
        let storage: HeapStorage<App, ()> = HeapStorage::new(1_000).unwrap();
        let mut kpt = EventLoop::with_storage(poller, storage);
        kpt.set_slack(micros(slack));
        for at in 0..1_000 {
            let hook = |app: &mut App, thread: Thread<App>| {
                let now = app.world.now();
                let deadline = thread.deadline().expect("it is a timer");
                assert!(now >= deadline, "early");
                app.latest = app.latest.max(now - deadline);
                app.runs += 1;
            };
            kpt.threads().add_timer("timer", micros(1_000 + at), hook, ()).unwrap();
        }
        calls.waits.set(0);
        let mut app = App { world: &world, runs: 0, latest: Duration::ZERO };
        if slack == u64::MAX {
            // It would sleep for ever, as asked.
            assert!(kpt.turn(&mut app).is_err());
            continue;
        }
        assert_eq!(kpt.run(&mut app), Ok(Exit::Empty));
        assert_eq!(app.runs, 1_000);
        assert!(app.latest <= micros(slack), "late by {:?} of {slack} µs", app.latest);
        assert!(calls.waits.get() <= most_waits, "{} waits of {most_waits}", calls.waits.get());
    }
}

/// A deadline soon after another waits a little for more: each wake-up costs as much as many timers.
#[test]
fn a_burst_of_deadlines_wakes_epoll_every_60_microseconds() {
    let mut kpt = kpt_std::EventLoop::<u32>::with_capacity(4_000).unwrap();
    for at in 0..4_000 {
        let hook = |runs: &mut u32, _: Thread<u32>| *runs += 1;
        kpt.threads().add_timer("timer", micros(10_000 + at), hook, ()).unwrap();
    }
    let (mut runs, mut turns, mut first, mut last) = (0, 0, None, None);
    while runs < 4_000 {
        kpt.turn(&mut runs).unwrap();
        turns += 1;
        last = Some(kpt.threads().turn_time());
        first = first.or(last);
    }
    let micros = last.zip(first).map(|(last, first)| (last - first).as_micros()).unwrap();
    let most = micros / 60 + 5;
    assert!(turns <= most, "{turns} turns in {micros} µs");
}

/// What is due already, and what has no delay, does not wait for the slack.
#[test]
fn what_is_due_has_no_slack() {
    let world = World::<32>::new();
    let storage: HeapStorage<u32, ()> = HeapStorage::new(2).unwrap();
    let mut kpt = EventLoop::with_storage(SimPoller::new(&world), storage);
    kpt.set_slack(millis(5));
    kpt.threads().add_timer("due", Duration::ZERO, |runs, _| *runs += 1, ()).unwrap();
    kpt.threads().add_execute("execute", |runs, _| *runs += 1, ()).unwrap();
    let mut runs = 0;
    assert_eq!(kpt.run(&mut runs), Ok(Exit::Empty));
    assert_eq!((runs, world.now()), (2, kpt_core::Instant::ZERO));
}
