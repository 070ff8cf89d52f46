//! Timers that never fire: cancelled and added again, or given another deadline.

use std::hint::black_box;

use kpt_std::{EventLoop, Hook, Instant, ThreadId, When};

use super::Contestant;
use crate::random::Random;

/// Deadlines lie up to 100 s ahead.
pub const HORIZON: u64 = 100_000_000;

const HOOK: Hook<(), u32> = |_, _| {};

/// A loop of kpt-std with a number of pending timers.
pub struct Pending {
    kpt: EventLoop<(), u32>,
    start: Instant,
    ids: Vec<ThreadId>,
    random: Random,
    next: u32,
}

impl Pending {
    fn new(timers: usize) -> Self {
        let mut kpt = EventLoop::with_capacity(timers).unwrap();
        let start = kpt.threads().now();
        let mut random = Random::new();
        let mut threads = kpt.threads();
        let ids = (0..timers)
            .map(|_| threads.add("timer", deadline(start, &mut random), HOOK, 0).expect("room"))
            .collect();
        Self { kpt, start, ids, random, next: 0 }
    }
}

fn deadline(start: Instant, random: &mut Random) -> When {
    When::At(Instant::from_micros(start.as_micros() + 1 + random.below(HORIZON)))
}

/// Cancels one and adds another in its place.
pub struct CancelAdd(Pending);

impl CancelAdd {
    /// While so many are pending.
    pub fn new(timers: usize) -> Self {
        Self(Pending::new(timers))
    }
}

impl Contestant for CancelAdd {
    fn run(&mut self, times: usize) {
        let Pending { kpt, start, ids, random, next } = &mut self.0;
        let mut threads = kpt.threads();
        for _ in 0..times {
            let victim = random.below(ids.len() as u64) as usize;
            let when = deadline(*start, random);
            black_box(threads.cancel(ids[victim]).expect("it is pending"));
            *next = next.wrapping_add(1);
            ids[victim] = threads.add("timer", when, HOOK, *next).expect("room for one");
        }
    }
}

/// Gives one another deadline.
pub struct Reschedule(Pending);

impl Reschedule {
    /// While so many are pending.
    pub fn new(timers: usize) -> Self {
        Self(Pending::new(timers))
    }
}

impl Contestant for Reschedule {
    fn run(&mut self, times: usize) {
        let Pending { kpt, start, ids, random, .. } = &mut self.0;
        let mut threads = kpt.threads();
        for _ in 0..times {
            let victim = random.below(ids.len() as u64) as usize;
            let when = deadline(*start, random);
            threads.reschedule(ids[victim], when).expect("it is pending");
        }
    }
}
