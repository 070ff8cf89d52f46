//! The machines of QEMU: how fast each one is, and its peripherals.

#[cfg_attr(machine = "mps2-an386", path = "mps2_an386.rs")]
#[cfg_attr(machine = "lm3s6965evb", path = "lm3s6965evb.rs")]
#[cfg_attr(machine = "microbit", path = "microbit.rs")]
mod chosen;
pub mod no_console;
#[cfg(not(machine = "microbit"))]
mod systick;

pub use chosen::{
    ALARM, BUTTON, CONSOLE, Timer, acknowledge_alarm, console, set_alarm, start_clock,
};

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;

/// The number of an interrupt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Interrupt(u16);

impl Interrupt {
    /// The number that the default handler is called with.
    pub fn is(self, number: i16) -> bool {
        i16::try_from(self.0) == Ok(number)
    }

    pub fn enable(self) {
        // SAFETY: no critical section of this program rests on a masked interrupt.
        unsafe { NVIC::unmask(self) };
    }

    /// Forgets that it has come.
    pub fn unpend(self) {
        NVIC::unpend(self);
    }

    /// Has it come now.
    pub fn pend(self) {
        NVIC::pend(self);
    }
}

// SAFETY: the number is that of an interrupt, and stays so.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self.0
    }
}
