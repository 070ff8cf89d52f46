//! microbit: a Cortex-M0 in Nordic's nRF51.

use super::Interrupt;
use crate::registers::Registers;

pub use super::no_console as console;

/// So many cycles take so many microseconds.
pub const CYCLES: u64 = 16;
pub const MICROS: u64 = 1;

pub const CONSOLE: Interrupt = Interrupt(2);
pub const ALARM: Interrupt = Interrupt(8);
/// One that no peripheral uses: the first for software.
pub const BUTTON: Interrupt = Interrupt(20);

// SAFETY: the registers of timer 0 are there.
const TIMER: Registers = unsafe { Registers::at(0x4000_8000) };
const TIMER_START: usize = 0x000;
const TIMER_STOP: usize = 0x004;
const TIMER_ZERO: usize = 0x00C;
const TIMER_REACHED: usize = 0x140;
const TIMER_INTERRUPTS: usize = 0x304;
const TIMER_WIDTH: usize = 0x508;
const TIMER_PRESCALER: usize = 0x510;
const TIMER_COMPARE: usize = 0x540;

/// Has `ALARM` come once, in so many cycles.
pub fn set_alarm(cycles: u32) {
    TIMER.write(TIMER_STOP, 1);
    TIMER.write(TIMER_WIDTH, 3); // 32 bits.
    TIMER.write(TIMER_PRESCALER, 0); // Every cycle.
    TIMER.write(TIMER_ZERO, 1);
    TIMER.write(TIMER_COMPARE, cycles.max(1));
    TIMER.write(TIMER_INTERRUPTS, 1 << 16);
    TIMER.write(TIMER_START, 1);
}

pub fn acknowledge_alarm() {
    TIMER.write(TIMER_STOP, 1);
    TIMER.write(TIMER_REACHED, 0);
}
