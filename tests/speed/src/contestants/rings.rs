//! Work that goes on and on: threads or functions that put themselves in again.

use std::collections::VecDeque;
use std::hint::black_box;

use kpt_std::{EventLoop, Thread};

use super::Contestant;

/// A ring of execute threads that re-arm themselves.
pub struct KptRing {
    kpt: EventLoop<Count, u32>,
}

/// Calls to come.
struct Count {
    left: usize,
}

impl KptRing {
    /// So many threads.
    pub fn new(width: usize) -> Self {
        let mut kpt = EventLoop::with_capacity(width).unwrap();
        for arg in 0..width as u32 {
            kpt.threads().add_execute("ring", step, arg).expect("room for all");
        }
        Self { kpt }
    }
}

fn step(count: &mut Count, mut thread: Thread<'_, Count, u32>) {
    if count.left == 1 {
        thread.threads().stop();
    }
    count.left = count.left.wrapping_sub(1);
    black_box(thread.arg);
    thread.again();
}

impl Contestant for KptRing {
    fn run(&mut self, times: usize) {
        self.kpt.run(&mut Count { left: times }).expect("the ring is pending");
    }
}

type Step = fn(&mut Count, u32) -> bool;

/// The same with what std has: a queue of function pointers, which looks at no I/O and no timers.
pub struct QueueRing {
    queue: VecDeque<(Step, u32)>,
}

impl QueueRing {
    /// So many functions.
    pub fn new(width: usize) -> Self {
        let step: Step = |count, arg| {
            count.left = count.left.wrapping_sub(1);
            black_box(arg);
            true
        };
        Self { queue: (0..width as u32).map(|arg| (step, arg)).collect() }
    }
}

impl Contestant for QueueRing {
    fn run(&mut self, times: usize) {
        let mut count = Count { left: times };
        while count.left != 0 {
            let Some((step, arg)) = self.queue.pop_front() else { return };
            if black_box(step)(&mut count, arg) {
                self.queue.push_back((step, arg));
            }
        }
    }
}
