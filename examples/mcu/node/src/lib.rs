//! What a loop needs of a microcontroller: a clock, sleep, and a way to say how it went.

#![no_std]

#[cfg_attr(target_arch = "arm", path = "arch/cortex_m.rs")]
#[cfg_attr(target_arch = "riscv32", path = "arch/riscv.rs")]
mod arch;
pub mod board;
pub mod machine;
mod registers;
pub mod retained;

use core::panic::PanicInfo;

use defmt_semihosting as _;
use semihosting::process;

pub use arch::{Interrupt, entry, reset};

// SAFETY: each program defines it like this.
unsafe extern "Rust" {
    /// Called for each interrupt, while all are masked.
    safe fn on_interrupt(interrupt: Interrupt);
}

/// Ends QEMU, and tells it how it went.
pub fn exit(is_success: bool) -> ! {
    process::exit(i32::from(!is_success))
}

#[panic_handler]
fn on_panic(panic: &PanicInfo) -> ! {
    defmt::error!("{}", defmt::Display2Format(panic));
    exit(false)
}
