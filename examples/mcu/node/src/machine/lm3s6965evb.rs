//! lm3s6965evb: a Cortex-M3 of Texas Instruments' Stellaris, at the speed that QEMU has it after a reset.

use super::Interrupt;
use crate::registers::Registers;

pub use super::no_console as console;

pub use super::systick::start_clock;
pub type Timer = super::systick::SysTick<12_500_000>;

pub const CONSOLE: Interrupt = Interrupt(5);
pub const ALARM: Interrupt = Interrupt(19);
/// One that no peripheral uses.
pub const BUTTON: Interrupt = Interrupt(43);

// SAFETY: the registers that control the chip are there.
const SYSTEM: Registers = unsafe { Registers::at(0x400F_E000) };
const SYSTEM_RUN_CLOCKS_1: usize = 0x104;

// SAFETY: the registers of timer 0 are there.
const TIMER: Registers = unsafe { Registers::at(0x4003_0000) };
const TIMER_CONFIG: usize = 0x00;
const TIMER_MODE: usize = 0x04;
const TIMER_CONTROL: usize = 0x0C;
const TIMER_INTERRUPTS: usize = 0x18;
const TIMER_CLEAR: usize = 0x24;
const TIMER_LOAD: usize = 0x28;

/// Raises `ALARM` once, after this number of cycles.
pub fn set_alarm(cycles: u32) {
    SYSTEM.write(SYSTEM_RUN_CLOCKS_1, 1 << 16);
    TIMER.write(TIMER_CONTROL, 0);
    TIMER.write(TIMER_CONFIG, 0); // 32 bits.
    TIMER.write(TIMER_MODE, 1); // Once.
    TIMER.write(TIMER_LOAD, cycles.max(1));
    TIMER.write(TIMER_INTERRUPTS, 1);
    TIMER.write(TIMER_CONTROL, 1);
}

pub fn acknowledge_alarm() {
    TIMER.write(TIMER_CLEAR, 1);
}
