//! Timers that re-arm themselves.

use std::hint::black_box;
use std::time::Duration;

use kpt_std::{EventLoop, Instant, Thread, ThreadId, When};

use super::Contestant;
use crate::random::Random;

/// A run takes so long, however often it says.
const RUN: Duration = Duration::from_secs(1);

/// Runs timers that re-arm themselves about every 10 ms, for one second.
pub struct Periodic {
    kpt: EventLoop<u64, Tick>,
    timers: usize,
    random: Random,
}

/// The argument of a timer.
struct Tick {
    period: Duration,
    /// It was added with a moment, its phase, and has no period before it has run once.
    has_period: bool,
}

impl Periodic {
    /// So many.
    pub fn new(timers: usize, slack: Duration) -> Self {
        // One more ends the run.
        let mut kpt = EventLoop::with_capacity(timers + 1).unwrap();
        kpt.set_slack(slack);
        Self { kpt, timers, random: Random::new() }
    }
}

fn on_tick(count: &mut u64, mut thread: Thread<'_, u64, Tick>) {
    *count += 1;
    black_box(thread.arg.period);
    if thread.arg.has_period {
        return thread.again();
    }
    thread.arg.has_period = true;
    let period = thread.arg.period;
    thread.again_when(When::After(period)).map_err(|_| ()).expect("a timer can be re-armed");
}

fn on_end(_: &mut u64, mut thread: Thread<'_, u64, Tick>) {
    thread.threads().stop();
}

impl Contestant for Periodic {
    fn run(&mut self, _times: usize) {
        let mut threads = self.kpt.threads();
        let start = threads.now();
        let mut add = |when, hook, period| {
            let tick = Tick { period: Duration::from_micros(period), has_period: false };
            threads.add("tick", when, hook, tick).map_err(|_| ()).expect("room for all")
        };
        let mut start_one = || {
            let period = 9_500 + self.random.below(1_000);
            let phase = 1 + self.random.below(period);
            add(When::At(Instant::from_micros(start.as_micros() + phase)), on_tick, period)
        };
        let ids: Vec<ThreadId> = (0..self.timers).map(|_| start_one()).collect();
        add(When::At(start + RUN), on_end, 0);
        black_box(self.kpt.run(black_box(&mut 0)).expect("select works"));
        let mut threads = self.kpt.threads();
        for id in ids {
            threads.cancel(id).map(|_| ()).expect("each has re-armed itself");
        }
    }
}
