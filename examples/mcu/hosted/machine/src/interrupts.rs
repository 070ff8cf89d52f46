//! Interrupts of the chip, as its peripheral access crate has them.

use cortex_m::Peripherals;
use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::{NVIC, SCB};

/// An interrupt. `#[interrupt] fn TIMER0() { .. }` is its handler.
#[derive(Clone, Copy)]
pub enum Interrupt {
    TIMER0 = 8,
    TIMER1 = 9,
}

// SAFETY: the numbers are those of the chip, and stay so.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

impl Interrupt {
    /// Enables the interrupt, with a priority from 0, the highest, to 255, the lowest.
    pub fn enable(self, priority: u8) {
        // SAFETY: critical sections of these programs mask all interrupts, and rest neither on a priority nor on one
        // masked interrupt. What is stolen is used in this function only, before two contexts could do so.
        unsafe {
            Peripherals::steal().NVIC.set_priority(self, priority);
            NVIC::unmask(self);
        }
    }

    /// Raises the interrupt. Its handler runs now, or when no handler of its priority or above runs any more.
    pub fn pend(self) {
        NVIC::pend(self);
    }
}

/// Waits until an interrupt is pending, with interrupts masked: what `WFI` does.
///
/// Without that instruction, since QEMU's clock (7.2, with `sleep=off`) jumps too far in it, by as much again as the core
/// slept. Then all hooks would be late by that.
pub fn wait_for_interrupt() {
    const IS_PENDING: u32 = 1 << 22;
    // SAFETY: the register can be read at any time.
    while unsafe { (*SCB::PTR).icsr.read() } & IS_PENDING == 0 {}
}

#[repr(C)]
union Vector {
    handler: unsafe extern "C" fn(),
    reserved: usize,
}

unsafe extern "C" {
    fn TIMER0();
    fn TIMER1();
}

const NONE: Vector = Vector { reserved: 0 };

// SAFETY: the section is that of the interrupts in the vector table, with a word for each, and nothing else is in it.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
static __INTERRUPTS: [Vector; 10] = [
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    Vector { handler: TIMER0 },
    Vector { handler: TIMER1 },
];
