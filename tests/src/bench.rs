//! A board in virtual time: lines that a test sets, and a clock that goes on as far as the board sleeps.

use std::cell::Cell;

use kpt_core::Instant;
use kpt_core::board::{Board, LinePoller, Lines};

/// How many lines a bench has.
pub const LINES: usize = 8;

/// What is outside of a [`Bench`].
pub struct Machine {
    /// The lines.
    pub lines: &'static Lines<LINES>,
    /// The time in nanoseconds.
    pub nanos: Cell<u64>,
    /// By how much each look at the clock moves it, in nanoseconds.
    pub step: Cell<u64>,
    /// How often the board has slept.
    pub sleeps: Cell<u32>,
    /// Whether a call of `sleep` is not a fault.
    pub may_sleep: Cell<bool>,
}

impl Machine {
    /// A machine at the start of its clock, with no line set, that may sleep. Its lines live as long as the process.
    pub fn new() -> Self {
        Self {
            lines: Box::leak(Box::new(Lines::new())),
            nanos: Cell::new(0),
            step: Cell::new(1_300),
            sleeps: Cell::new(0),
            may_sleep: Cell::new(true),
        }
    }

    /// A poller of this machine's lines.
    pub fn poller<const TICK: u32>(&self) -> LinePoller<Bench<'_, TICK>, LINES> {
        LinePoller::new(Bench(self))
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

/// A board whose clock ticks every `TICK` microseconds.
pub struct Bench<'m, const TICK: u32>(&'m Machine);

impl<const TICK: u32> Bench<'_, TICK> {
    const TICK_NANOS: u64 = TICK as u64 * 1_000;
}

impl<const TICK: u32> Board<LINES> for Bench<'_, TICK> {
    const TICK_MICROS: u32 = TICK;

    fn lines(&self) -> &'static Lines<LINES> {
        self.0.lines
    }

    fn now(&mut self) -> Instant {
        let nanos = self.0.nanos.get() + self.0.step.get();
        self.0.nanos.set(nanos);
        Instant::from_micros(nanos / Self::TICK_NANOS * u64::from(TICK))
    }

    /// Every other time it sleeps for half of the time only, as a timer does that is too short.
    fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
        let machine = self.0;
        assert!(machine.may_sleep.get(), "sleeps");
        machine.sleeps.set(machine.sleeps.get() + 1);
        if is_awake() {
            return;
        }
        assert!(until != Instant::NEVER, "sleeps for ever: no line is set, and nothing is to come");
        let end = until.as_micros().saturating_mul(1_000).next_multiple_of(Self::TICK_NANOS);
        let left = end.saturating_sub(machine.nanos.get());
        let slept = if machine.sleeps.get().is_multiple_of(2) { left / 2 } else { left };
        machine.nanos.set(machine.nanos.get() + slept);
    }
}
