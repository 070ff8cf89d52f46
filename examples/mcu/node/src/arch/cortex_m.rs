//! Cortex-M: its interrupts are numbers, and software can raise each of them.

use cortex_m::asm;
use cortex_m::interrupt::{self, InterruptNumber};
use cortex_m::peripheral::{NVIC, SCB};
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

    /// Forgets that it has come.
    pub fn unpend(self) {
        NVIC::unpend(self);
    }
}

/// Begins anew.
pub fn reset() -> ! {
    SCB::sys_reset()
}

/// Calls `f` with interrupts masked.
pub(crate) fn without_interrupts(f: impl FnOnce()) {
    interrupt::free(|_| f());
}

/// Returns when an interrupt is pending, also if it is masked.
pub(crate) fn wait_for_interrupt() {
    asm::dsb();
    asm::wfi();
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
