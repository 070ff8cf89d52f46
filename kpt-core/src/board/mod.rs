//! Microcontrollers without an operating system: the parts of a port, so that it is little more than registers.
//!
//! | a port provides | and receives |
//! |---|---|
//! | a line for each interrupt: `static LINES: Lines<2>` | threads that wait for lines, numbered from 0 |
//! | mailboxes for data: `static RX: Mailbox<u8, 64>` (feature `critical-section`) | data in order, in a hook |
//! | the registers of a timer and of its alarm: [`Counter`] | [`Clock`]: time that never wraps, and sleep |
//! | how the core masks interrupts and waits for one: [`Board`] | [`LinePoller`], the poller of the loop |
//!
//! The docs of [`Clock`] have a complete port. `examples/mcu/node` in the repository has ports for four machines.
//!
//! # Timers
//! | timer | bits | shortest alarm | note |
//! |---|---|---|---|
//! | 32 bits with a compare register (nRF TIMER, STM32 TIM2, RP2040) | 32 | 1 | |
//! | `mtime` of RISC-V, low word | 32 | 1 | `mtimecmp = mtime + (at - low word)`, with `wrapping_sub` |
//! | 16 bits (most of STM32's) | 16 | 1 | no hook may run for longer than half a wrap: 32 ms at 1 MHz |
//! | RTC of nRF, 32,768 Hz | 24 | 2 | in sleep, only the RTC draws current |
//! | SysTick | 24 | 100 | has no compare register; see `systick.rs` of the example |

mod clock;
mod lines;
#[cfg(feature = "critical-section")]
mod mailbox;
mod poller;

pub use clock::{Clock, Counter};
pub use lines::Lines;
#[cfg(feature = "critical-section")]
pub use mailbox::{Buffer, Mailbox};
pub use poller::{Board, LinePoller};
