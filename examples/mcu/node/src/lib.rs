//! What a loop needs of a Cortex-M: a clock, sleep, and a way to say how it went.

#![no_std]

pub mod board;
pub mod machine;
mod registers;

use core::panic::PanicInfo;

use cortex_m_rt::{ExceptionFrame, exception};
use cortex_m_semihosting::debug;
use defmt_semihosting as _;

/// Ends QEMU, and tells it how it went.
pub fn exit(is_success: bool) -> ! {
    debug::exit(if is_success { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    // Without QEMU there is nobody to end the program.
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn on_panic(panic: &PanicInfo) -> ! {
    defmt::error!("{}", defmt::Display2Format(panic));
    exit(false)
}

#[exception]
unsafe fn HardFault(_frame: &ExceptionFrame) -> ! {
    exit(false)
}
