//! The clock of a board and its sleep, on the timer of the machine.

use core::time::Duration;

use kpt_core::Instant;
use kpt_core::board::{Clock, Counter};

use crate::arch::{wait_for_interrupt, without_interrupts};
use crate::machine::Timer;

pub const TICK_MICROS: u32 = Clock::<Timer>::TICK_MICROS;

/// The longest sleep: half of what the timer counts. A longer one is split.
pub const LONGEST_SLEEP: Duration =
    Duration::from_micros((1 << (Timer::BITS - 1)) * 1_000_000 / Timer::HZ as u64);

/// The clock, and how often the core has slept. All zero bytes when new.
pub struct Core {
    clock: Clock<Timer>,
    sleeps: u32,
}

impl Core {
    pub const fn new() -> Self {
        Self { clock: Clock::new(Timer::new()), sleeps: 0 }
    }

    /// How often the core has slept.
    pub fn sleeps(&self) -> u32 {
        self.sleeps
    }

    pub fn now(&mut self) -> Instant {
        self.clock.now()
    }

    /// What [`Board::sleep`](kpt_core::board::Board::sleep) asks for.
    pub fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
        let Self { clock, sleeps } = self;
        // An interrupt that comes after the question stays pending while they are masked, and ends the sleep at once.
        without_interrupts(|| {
            clock.sleep(until, is_awake, || {
                *sleeps += 1;
                wait_for_interrupt();
            });
        });
    }
}

impl Default for Core {
    fn default() -> Self {
        Self::new()
    }
}
