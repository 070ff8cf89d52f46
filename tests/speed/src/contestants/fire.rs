//! Timers that are added and fire, in a loop that waits for them.

use std::hint::black_box;
use std::time::Duration;

use kpt_speed::random::Random;
use kpt_std::{EventLoop, Hook, Instant, Thread, When};

use super::{Contestant, median};

/// They are spread over so many microseconds.
const SPREAD: u64 = 100_000;

/// Adds timers and runs until all have fired.
pub struct Fire {
    kpt: EventLoop<Fired, u32>,
    random: Random,
}

/// What hooks note.
#[derive(Default)]
struct Fired {
    count: usize,
    /// In microseconds, where that is asked for.
    lateness: Vec<u64>,
}

impl Fired {
    fn on_timer(&mut self, thread: Thread<'_, Self, u32>) {
        black_box(thread.arg);
        self.count += 1;
    }

    fn on_timer_late(&mut self, mut thread: Thread<'_, Self, u32>) {
        let deadline = thread.deadline().expect("a timer has one");
        let late = thread.threads().now().saturating_duration_since(deadline);
        self.lateness.push(late.as_micros() as u64);
        self.on_timer(thread);
    }
}

impl Fire {
    /// With room for so many.
    pub fn new(timers: usize, slack: Duration) -> Self {
        let mut kpt = EventLoop::with_capacity(timers).unwrap();
        if !slack.is_zero() {
            kpt.set_slack(slack);
        }
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
        self.kpt.run(&mut fired).expect("select works");
        assert_eq!(fired.count, times, "all have fired");
        fired
    }
}

impl Contestant for Fire {
    fn run(&mut self, times: usize) {
        self.fire(times, Fired::on_timer);
    }

    fn lateness(&mut self, times: usize) -> Option<Duration> {
        let mut fired = self.fire(times, Fired::on_timer_late);
        median(&mut fired.lateness).map(Duration::from_micros)
    }
}
