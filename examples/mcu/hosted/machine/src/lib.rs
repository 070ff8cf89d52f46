//! mps2-an386 in QEMU, a Cortex-M4: as much of it as a chip's own crates give to a firmware, for the programs beside.

#![no_std]

pub mod clock;
mod interrupts;
#[cfg(feature = "time-driver")]
pub mod time_driver;

pub use interrupts::{Interrupt, Interrupt as interrupt, wait_for_interrupt};

use core::panic::PanicInfo;

pub use cortex_m_rt::interrupt;
use cortex_m_rt::{ExceptionFrame, exception};
use cortex_m_semihosting::debug;
use defmt_semihosting as _;

/// Ends QEMU, and tells it how it went.
pub fn exit(is_success: bool) -> ! {
    debug::exit(if is_success { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    // Without QEMU, nothing ends the program.
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn on_panic(panic: &PanicInfo<'_>) -> ! {
    let line = panic.location().map_or(0, |location| location.line());
    defmt::error!("panic in line {=u32}", line);
    exit(false)
}

#[exception]
unsafe fn HardFault(_frame: &ExceptionFrame) -> ! {
    exit(false)
}
