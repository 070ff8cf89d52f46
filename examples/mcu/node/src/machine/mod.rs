//! The machines of QEMU: how fast each one is, and its peripherals.

#[cfg_attr(machine = "mps2-an386", path = "mps2_an386.rs")]
#[cfg_attr(machine = "lm3s6965evb", path = "lm3s6965evb.rs")]
#[cfg_attr(machine = "microbit", path = "microbit.rs")]
#[cfg_attr(machine = "virt", path = "virt.rs")]
mod chosen;
#[cfg(machine = "virt")]
mod mtime;
pub mod no_console;
#[cfg(any(machine = "mps2-an386", machine = "lm3s6965evb"))]
mod systick;

pub use chosen::{
    ALARM, BUTTON, CONSOLE, Timer, acknowledge_alarm, console, set_alarm, start_clock,
};

use crate::Interrupt;
