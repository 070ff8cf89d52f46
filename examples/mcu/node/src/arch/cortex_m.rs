//! Cortex-M: its interrupts are numbers, and software can raise each of them.

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use cortex_m_rt::{ExceptionFrame, exception};

pub use cortex_m_rt::entry;

use crate::{exit, on_interrupt};

/// The number of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt(pub(crate) u16);

impl Interrupt {
    pub fn enable(self) {
        // SAFETY: no critical section of this program rests on a masked interrupt.
        unsafe { NVIC::unmask(self) };
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

#[exception]
unsafe fn DefaultHandler(number: i16) {
    on_interrupt(Interrupt(number as u16));
}

#[exception]
unsafe fn HardFault(_frame: &ExceptionFrame) -> ! {
    exit(false)
}
