//! Timers that are added and fire, in a loop that waits for them.

use std::hint::black_box;

use kpt_std::kpt_core::poller::Poller;
use kpt_std::{EventLoop, Hook, Instant, Thread, When};

use super::Contestant;
use crate::random::Random;
use crate::stats::monotonic_nanos;

/// They are spread over so many microseconds.
pub const SPREAD: u64 = 100_000;

/// Adds timers and runs until all have fired.
pub struct Fire<P: Poller> {
    kpt: EventLoop<Fired, u32, P>,
    random: Random,
}

/// What hooks note.
#[derive(Default)]
pub struct Fired {
    count: usize,
    /// In nanoseconds, where that is asked for.
    lateness: Vec<i64>,
}

impl Fired {
    fn on_timer(&mut self, thread: Thread<'_, Self, u32>) {
        black_box(thread.arg);
        self.count += 1;
    }

    fn on_timer_late(&mut self, thread: Thread<'_, Self, u32>) {
        let deadline = thread.deadline().expect("a timer has one");
        self.lateness.push(monotonic_nanos() - deadline.as_micros() as i64 * 1_000);
        self.on_timer(thread);
    }
}

impl<P: Poller<Error: std::fmt::Debug>> Fire<P> {
    /// On a loop with room for all.
    pub fn new(kpt: EventLoop<Fired, u32, P>) -> Self {
        Self { kpt, random: Random::new() }
    }

    fn fire(&mut self, times: usize, hook: Hook<Fired, u32>) -> Fired {
        let mut fired = Fired::default();
        let mut threads = self.kpt.threads();
        let start = threads.now().as_micros();
        for arg in 0..times {
            let deadline = Instant::from_micros(start + 1 + self.random.below(SPREAD));
            threads.add("timer", When::At(deadline), hook, arg as u32).expect("room for all");
        }
        self.kpt.run(&mut fired).expect("the wait works");
        assert_eq!(fired.count, times, "all have fired");
        fired
    }
}

impl<P: Poller<Error: std::fmt::Debug>> Contestant for Fire<P> {
    fn run(&mut self, times: usize) {
        self.fire(times, Fired::on_timer);
    }

    fn lateness(&mut self, times: usize) -> Vec<i64> {
        self.fire(times, Fired::on_timer_late).lateness
    }
}
