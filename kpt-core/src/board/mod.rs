//! A microcontroller without an operating system: what a port needs, so that it is little more than registers.
//!
//! | a port says | and gets |
//! |---|---|
//! | which interrupts there are: `static LINES: Lines<2>` | threads that wait for them, each for a number from 0 |
//! | what they bring, if that is data: `static RX: Mailbox<u8, 64>` (feature `critical-section`) | data in order, in a hook |
//! | how a timer is read, and how its alarm is set and cleared: [`Counter`] | [`Clock`]: time that never wraps, and sleep |
//! | how the core masks interrupts and waits for one: [`Board`] | [`LinePoller`], the poller of the loop |
//!
//! A whole one is in the docs of [`Clock`]; those of five machines are in `examples/mcu/node` of the repository.
//!
//! # Timers
//! | timer | bits | shortest alarm | worth knowing |
//! |---|---|---|---|
//! | of 32 bits with a compare register (nRF TIMER, STM32 TIM2, RP2040) | 32 | 1 | |
//! | `mtime` of RISC-V, low word | 32 | 1 | `mtimecmp = mtime + (at - low word)`, with `wrapping_sub` |
//! | of 16 bits (most of STM32's) | 16 | 1 | no hook may run for longer than half a turn: 32 ms at 1 MHz |
//! | RTC of nRF, 32,768 Hz | 24 | 2 | in sleep, only the RTC needs current |
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
