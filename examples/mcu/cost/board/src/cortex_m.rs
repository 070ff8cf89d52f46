//! Cortex-M: SysTick is the clock, and the interrupts are the first of the vector table.

use cortex_m::Peripherals;
use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{NVIC, SCB};
use cortex_m_rt::{ExceptionFrame, exception};

pub use cortex_m::asm::wfi;
pub use cortex_m_rt::entry;

use crate::{GROUPS, fail, must};

/// The processor's clock: that of mps2-an386, or of microbit.
pub const CLOCK_HERTZ: u32 = if cfg!(target_abi = "eabihf") { 25_000_000 } else { 16_000_000 };

/// What the stack is filled with before the program starts.
pub(crate) const STACK_PAINT: u32 = cortex_m_rt::STACK_PAINT_VALUE;

/// Calls the first function each millisecond, and the second one with the number of each interrupt.
#[macro_export]
macro_rules! handlers {
    ($on_tick:path, $on_interrupt:path) => {
        #[allow(non_snake_case)]
        #[unsafe(no_mangle)]
        extern "C" fn SysTick() {
            $on_tick();
        }
        $crate::handlers!($on_interrupt);
    };
    ($on_interrupt:path) => {
        #[allow(non_snake_case)]
        #[unsafe(no_mangle)]
        extern "C" fn DefaultHandler() {
            $on_interrupt($crate::active_interrupt());
        }
    };
}

#[derive(Clone, Copy)]
struct Line(usize);

// SAFETY: every number below `GROUPS` is that of an interrupt, as both machines have at least 32.
unsafe impl InterruptNumber for Line {
    fn number(self) -> u16 {
        self.0 as u16
    }
}

/// Starts clock and interrupts.
pub fn start() {
    let mut board = must(Peripherals::take().ok_or(()));
    board.SYST.set_clock_source(SystClkSource::Core);
    board.SYST.set_reload(CLOCK_HERTZ / 1_000 - 1);
    board.SYST.clear_current();
    board.SYST.enable_counter();
    board.SYST.enable_interrupt();
    enable_interrupts();
}

/// Unmasks the interrupts that the jobs wait for.
pub fn enable_interrupts() {
    for line in 0..GROUPS {
        // SAFETY: no code relies on a critical section by masking one interrupt.
        unsafe { NVIC::unmask(Line(line)) };
    }
}

/// Lets all interrupts come.
pub fn raise_interrupts() {
    for line in 0..GROUPS {
        NVIC::pend(Line(line));
    }
}

/// The number of the interrupt whose handler runs.
pub fn active_interrupt() -> usize {
    // SAFETY: the register is there, and reading it changes nothing.
    let state = unsafe { (*SCB::PTR).icsr.read() };
    usize::from(state as u8).wrapping_sub(16)
}

/// Where the stack may end, and where it starts, which is above.
pub(crate) fn stack() -> (*const u32, *const u32) {
    unsafe extern "C" {
        static _stack_end: u32;
        static _stack_start: u32;
    }
    (&raw const _stack_end, &raw const _stack_start)
}

#[exception]
unsafe fn HardFault(_frame: &ExceptionFrame) -> ! {
    fail()
}
