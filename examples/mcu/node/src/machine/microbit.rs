//! microbit: a Cortex-M0 in Nordic's nRF51.

use kpt_core::board::Counter;

use super::Interrupt;
use crate::registers::Registers;

pub use super::no_console as console;

pub const CONSOLE: Interrupt = Interrupt(2);
pub const ALARM: Interrupt = Interrupt(9);
/// One that no peripheral uses: the first for software.
pub const BUTTON: Interrupt = Interrupt(20);

const CLOCK: Interrupt = Interrupt(8);

// SAFETY: the registers of timer 0 are there.
const CLOCK_TIMER: Registers = unsafe { Registers::at(0x4000_8000) };
// SAFETY: the registers of timer 1 are there.
const ALARM_TIMER: Registers = unsafe { Registers::at(0x4000_9000) };

// Of each timer. The first compare register is for alarms, the second one for reading the count.
const START: usize = 0x000;
const STOP: usize = 0x004;
const ZERO: usize = 0x00C;
const CAPTURE_COUNT: usize = 0x044;
const REACHED: usize = 0x140;
const ENABLE_INTERRUPTS: usize = 0x304;
const DISABLE_INTERRUPTS: usize = 0x308;
const WIDTH: usize = 0x508;
const PRESCALER: usize = 0x510;
const COMPARE: usize = 0x540;
const COUNT: usize = 0x544;

const ON_REACHED: u32 = 1 << 16;

/// Timer 0, the one with 32 bits.
#[derive(Default)]
pub struct Timer;

impl Timer {
    pub const fn new() -> Self {
        Self
    }
}

impl Counter for Timer {
    const HZ: u32 = 16_000_000;

    fn count(&mut self) -> u32 {
        CLOCK_TIMER.write(CAPTURE_COUNT, 1);
        CLOCK_TIMER.read(COUNT)
    }

    fn set_alarm(&mut self, at: u32) {
        CLOCK_TIMER.write(COMPARE, at);
        CLOCK_TIMER.write(REACHED, 0);
        CLOCK_TIMER.write(ENABLE_INTERRUPTS, ON_REACHED);
    }

    fn clear_alarm(&mut self) {
        CLOCK_TIMER.write(DISABLE_INTERRUPTS, ON_REACHED);
        CLOCK_TIMER.write(REACHED, 0);
        CLOCK.unpend();
    }
}

/// Starts the counter.
pub fn start_clock() {
    CLOCK_TIMER.write(WIDTH, 3); // 32 bits.
    CLOCK_TIMER.write(PRESCALER, 0); // Every cycle.
    CLOCK_TIMER.write(START, 1);
    CLOCK.enable();
}

/// Raises `ALARM` once, after this number of cycles.
pub fn set_alarm(cycles: u32) {
    ALARM_TIMER.write(STOP, 1);
    ALARM_TIMER.write(WIDTH, 0); // 16 bits, which is all that it has.
    ALARM_TIMER.write(PRESCALER, 0);
    ALARM_TIMER.write(ZERO, 1);
    ALARM_TIMER.write(COMPARE, cycles.max(1));
    ALARM_TIMER.write(ENABLE_INTERRUPTS, ON_REACHED);
    ALARM_TIMER.write(START, 1);
}

pub fn acknowledge_alarm() {
    ALARM_TIMER.write(STOP, 1);
    ALARM_TIMER.write(REACHED, 0);
}
