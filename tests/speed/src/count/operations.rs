//! What is counted. Each does one thing so many times, after what it needs for that; the difference of two numbers of
//! times is that thing alone.

use std::hint::black_box;
use std::time::Duration;

use kpt_speed::random::Random;
use kpt_std::kpt_core::FixedLoop;
use kpt_std::kpt_core::poller::{Poller, Ready};
use kpt_std::{HeapStorage, Hook, Instant, Interest, Readiness, Source, Thread, ThreadId, When};

use crate::poller::{SOURCE, Trivial};

/// As kpt-std has it, but for the poller.
type Loop<S> = kpt_std::kpt_core::large::EventLoop<Trivial, S, u32, HeapStorage<S, u32>>;

fn new_loop<S>(threads: usize) -> Loop<S> {
    Loop::with_storage(Trivial::default(), HeapStorage::new(threads).expect("there is memory"))
}

/// How often hooks are to be called.
struct Count {
    left: usize,
}

impl Count {
    /// A hook that re-arms its thread.
    fn step(&mut self, mut thread: Thread<'_, Self, u32>) {
        if self.left == 1 {
            thread.threads().stop();
        }
        self.left = self.left.wrapping_sub(1);
        black_box(thread.arg);
        thread.again();
    }
}

const IDLE: Hook<(), u32> = |_, _| {};

/// A loop with pending timers, and random numbers for more.
fn pending(timers: usize) -> (Loop<()>, Vec<ThreadId>, Random) {
    let mut kpt = new_loop(timers);
    let mut random = Random::new();
    let mut threads = kpt.threads();
    let ids = (0..timers)
        .map(|_| threads.add("timer", deadline(&mut random), IDLE, 0).expect("room"))
        .collect();
    (kpt, ids, random)
}

/// Up to 100 s ahead.
fn deadline(random: &mut Random) -> When {
    When::At(Instant::from_micros(1 + random.below(100_000_000)))
}

/// Cancels a random timer and adds another, while `timers` are pending. Two random numbers are in it.
pub fn cancel_add(timers: usize, times: usize) {
    let (mut kpt, mut ids, mut random) = pending(timers);
    let mut threads = kpt.threads();
    for _ in 0..times {
        let victim = random.below(ids.len() as u64) as usize;
        let when = deadline(&mut random);
        black_box(threads.cancel(ids[victim]).expect("it is pending"));
        ids[victim] = threads.add("timer", when, IDLE, 1).expect("room for one");
    }
}

/// Gives a random timer another deadline. Two random numbers are in it.
pub fn reschedule(timers: usize, times: usize) {
    let (mut kpt, ids, mut random) = pending(timers);
    let mut threads = kpt.threads();
    for _ in 0..times {
        let victim = random.below(ids.len() as u64) as usize;
        let when = deadline(&mut random);
        threads.reschedule(ids[victim], when).expect("it is pending");
    }
}

/// Runs execute threads that re-arm themselves.
pub fn execute_again(width: usize, times: usize) {
    let mut kpt = new_loop(width);
    for _ in 0..width {
        kpt.threads().add_execute("ring", Count::step, 0).expect("room for all");
    }
    let _ = kpt.run(&mut Count { left: times });
}

/// The same in a small loop of four slots.
pub fn fixed_execute_again(width: usize, times: usize) {
    let mut kpt = FixedLoop::<Trivial, Count, 4, u32>::new(Trivial::default());
    for _ in 0..width {
        kpt.threads().add_execute("ring", Count::step, 0).expect("room for all");
    }
    let _ = kpt.run(&mut Count { left: times });
}

/// Runs a reader that re-arms itself: a whole turn, with a wait that finds it.
pub fn read_again(_width: usize, times: usize) {
    let mut kpt = new_loop(1);
    kpt.threads().add_read("reader", SOURCE, Count::step, 0).expect("room for one");
    let _ = kpt.run(&mut Count { left: times });
}

/// What such a wait costs, of which a loop knows nothing.
pub fn wait(_width: usize, times: usize) {
    let mut poller = Trivial::default();
    poller.modify(SOURCE, Interest::READABLE).expect("it takes any");
    let mut nobody = Nobody;
    for _ in 0..times {
        let _ = black_box(poller.wait(Instant::NEVER, &mut Ready::new(&mut nobody)));
    }
}

/// Threads that there are not.
struct Nobody;

impl kpt_std::kpt_core::poller::Waiting for Nobody {
    fn push(&mut self, source: Source, readiness: Readiness) {
        black_box((source, readiness));
    }

    fn ask(&mut self, _answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        false
    }
}

/// Runs timers that re-arm themselves, with periods of about 10 ms and each with a phase of its own.
pub fn timer_again(timers: usize, times: usize) {
    let mut kpt = new_loop(timers);
    let mut random = Random::new();
    for _ in 0..timers {
        let period = Duration::from_micros(9_500 + random.below(1_000));
        kpt.threads().add_timer("tick", period, Count::step, 0).expect("room for all");
    }
    let _ = kpt.run(&mut Count { left: times });
}
