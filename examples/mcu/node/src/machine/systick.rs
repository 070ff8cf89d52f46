//! SysTick, which every Cortex-M has, as a counter of 24 bits with an alarm.
//!
//! It counts downwards and has no compare register: an alarm is the end of a period that is started for it. The cycles
//! between reading the counter and restarting it are lost, so the clock is slow by a handful of cycles for each sleep;
//! timers are late by that, never early.

use cortex_m::peripheral::SCB;
use kpt_core::board::Counter;

use crate::registers::Registers;

// SAFETY: the registers of the core are there, and SysTick's are used here only.
const CORE: Registers = unsafe { Registers::at(0xE000_E000) };
const CONTROL: usize = 0x10;
const RELOAD: usize = 0x14;
const CURRENT: usize = 0x18;

/// On, every cycle of the core.
const COUNT: u32 = 0b101;
/// The same, and its interrupt at the end of each period.
const COUNT_AND_INTERRUPT: u32 = 0b111;

/// A period of all 24 bits: where it ends, the count begins anew.
const WHOLE: u32 = 1 << 24;

/// SysTick at the core's speed.
pub struct SysTick<const HZ: u32> {
    /// The count when the period began.
    start: u32,
}

impl<const HZ: u32> SysTick<HZ> {
    pub const fn new() -> Self {
        Self { start: 0 }
    }

    fn begin_period(&mut self, start: u32, cycles: u32, control: u32) {
        self.start = start;
        CORE.write(RELOAD, cycles - 1);
        CORE.write(CURRENT, 0);
        CORE.write(CONTROL, control);
        SCB::clear_pendst();
    }
}

impl<const HZ: u32> Counter for SysTick<HZ> {
    const HZ: u32 = HZ;
    const BITS: u32 = 24;
    /// What is shorter is over before a sleep would have begun.
    const SHORTEST_ALARM: u32 = 100;

    fn count(&mut self) -> u32 {
        let mut count = self.start + position();
        if SCB::is_pendst_pending() {
            // The period of an alarm has ended, perhaps after the look at the position.
            count = self.start + period() + position();
        }
        count % WHOLE
    }

    fn set_alarm(&mut self, at: u32) {
        let now = self.count();
        // One cycle is no period. What has passed becomes a long one.
        let cycles = (at.wrapping_sub(now) % WHOLE).max(2);
        self.begin_period(now, cycles, COUNT_AND_INTERRUPT);
    }

    fn clear_alarm(&mut self) {
        let now = self.count();
        self.begin_period(now, WHOLE, COUNT);
    }
}

/// Starts the counter.
pub fn start_clock() {
    SysTick::<0>::new().begin_period(0, WHOLE, COUNT);
}

/// The cycles of a period.
fn period() -> u32 {
    CORE.read(RELOAD) + 1
}

/// The cycles since the period began. It begins and ends where the counter is 0 and the interrupt comes.
fn position() -> u32 {
    let left = CORE.read(CURRENT);
    if left == 0 { 0 } else { period() - left }
}
