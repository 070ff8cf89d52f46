//! mps2-an386: a Cortex-M4 with ARM's CMSDK peripherals.

use super::Interrupt;
use crate::registers::Registers;

pub use super::systick::start_clock;
pub type Timer = super::systick::SysTick<25_000_000>;

pub const CONSOLE: Interrupt = Interrupt(0);
pub const ALARM: Interrupt = Interrupt(8);
/// One that no peripheral uses.
pub const BUTTON: Interrupt = Interrupt(30);

// SAFETY: the registers of timer 0 are there.
const TIMER: Registers = unsafe { Registers::at(0x4000_0000) };
const TIMER_CONTROL: usize = 0x0;
const TIMER_RELOAD: usize = 0x8;
const TIMER_CLEAR: usize = 0xC;

/// Raises `ALARM` once, after this number of cycles.
pub fn set_alarm(cycles: u32) {
    TIMER.write(TIMER_RELOAD, cycles.max(1));
    TIMER.write(TIMER_CONTROL, 0b1001);
}

pub fn acknowledge_alarm() {
    TIMER.write(TIMER_CONTROL, 0);
    TIMER.write(TIMER_CLEAR, 1);
}

/// UART 0.
pub mod console {
    use crate::registers::Registers;

    // SAFETY: the registers of UART 0 are there.
    const UART: Registers = unsafe { Registers::at(0x4000_4000) };
    const DATA: usize = 0x00;
    const STATE: usize = 0x04;
    const CONTROL: usize = 0x08;
    const CLEAR: usize = 0x0C;
    const BAUD_DIVIDER: usize = 0x10;

    const TRANSMIT_FULL: u32 = 0b01;
    const RECEIVE_FULL: u32 = 0b10;

    pub fn start() {
        // The fastest there is, 1.5 million bits each second, since `write` waits.
        UART.write(BAUD_DIVIDER, 16);
        // To transmit, to receive, and to interrupt for what has been received.
        UART.write(CONTROL, 0b1011);
    }

    pub fn acknowledge() {
        UART.write(CLEAR, 0b10);
    }

    pub fn read() -> Option<u8> {
        (UART.read(STATE) & RECEIVE_FULL != 0).then(|| UART.read(DATA) as u8)
    }

    pub fn write(byte: u8) {
        while UART.read(STATE) & TRANSMIT_FULL != 0 {}
        UART.write(DATA, u32::from(byte));
    }
}
