//! virt: QEMU's own machine for RISC-V.

use super::Interrupt;
use crate::registers::Registers;

pub use super::no_console as console;

/// Of the timer.
const HZ: u32 = 10_000_000;

pub use super::mtime::start_clock;
pub type Timer = super::mtime::Mtime<HZ>;

pub const CONSOLE: Interrupt = Interrupt::Peripheral(10);
pub const ALARM: Interrupt = Interrupt::Peripheral(11);
pub const BUTTON: Interrupt = Interrupt::Software;

// SAFETY: the registers of the real-time clock (a Goldfish) are there.
const CLOCK: Registers = unsafe { Registers::at(0x0010_1000) };
const CLOCK_TIME_LOW: usize = 0x00;
const CLOCK_TIME_HIGH: usize = 0x04;
const CLOCK_ALARM_LOW: usize = 0x08;
const CLOCK_ALARM_HIGH: usize = 0x0C;
const CLOCK_INTERRUPTS: usize = 0x10;
const CLOCK_CLEAR: usize = 0x1C;

/// Raises `ALARM` once, after this number of cycles.
pub fn set_alarm(cycles: u32) {
    // In nanoseconds. Reading the lower word keeps the upper one; writing the lower one sets the alarm.
    let low = CLOCK.read(CLOCK_TIME_LOW);
    let now = u64::from(CLOCK.read(CLOCK_TIME_HIGH)) << 32 | u64::from(low);
    let at = now + u64::from(cycles) * 1_000_000_000 / u64::from(HZ);
    CLOCK.write(CLOCK_INTERRUPTS, 1);
    CLOCK.write(CLOCK_ALARM_HIGH, (at >> 32) as u32);
    CLOCK.write(CLOCK_ALARM_LOW, at as u32);
}

pub fn acknowledge_alarm() {
    CLOCK.write(CLOCK_CLEAR, 1);
}
