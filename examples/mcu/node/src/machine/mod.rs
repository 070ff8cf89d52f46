//! The machines of QEMU: how fast each one is, and its peripherals.

#[cfg_attr(machine = "mps2-an386", path = "mps2_an386.rs")]
#[cfg_attr(machine = "lm3s6965evb", path = "lm3s6965evb.rs")]
#[cfg_attr(machine = "microbit", path = "microbit.rs")]
#[cfg_attr(machine = "virt", path = "virt.rs")]
mod chosen;
pub mod no_console;

pub use chosen::{ALARM, BUTTON, CONSOLE, CYCLES, MICROS, acknowledge_alarm, console, set_alarm};

use crate::Interrupt;
