//! One loop for each priority: hooks of the high loop run in the middle of a hook of the low one that takes 20 ms.
//!
//! | file | what it has |
//! |---|---|
//! | this one | the start, and who calls whom |
//! | `high.rs` | the high loop, which lives in an interrupt handler |
//! | `low.rs` | the low loop, which lives in `main` |
//!
//! A loop belongs to one context, which owns it, so that nothing is locked, and nothing is shared but lines, mailboxes and
//! atomics. There can be a loop for each priority: one in `main`, each of the others in a handler of its own.
//!
//! # A loop in a handler
//! The loop's part: [`poll`](kpt_core::FixedLoop::poll) runs what is ready and due, never sleeps, and says until when
//! nothing is to be done unless a line is set.
//!
//! The handler's part:
//! 1. It owns the loop and its state: each is a `static mut` at the start of the handler, of which `#[interrupt]` makes an
//!    exclusive `&mut`.
//! 2. It stops the alarm before it polls, so that an alarm that comes later pends the handler anew.
//! 3. It polls until [`Next::Wait`](kpt_core::Next::Wait), sets the alarm for that moment, and returns.
//!
//! The others' part: whoever sets a line of that loop, or posts to a mailbox of it, pends the handler after that. If the
//! handler runs already, it runs once more when it has returned. So nothing is lost between its last look and its return.
//!
//! The alarm's interrupt is also the one that the others pend, so that there is one handler.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod high;
mod low;

use cortex_m_rt::entry;
use hosted_machine::clock;

/// The most that a hook of the high loop may run after its deadline, or after its line was set.
const LATEST_MICROS: u32 = 100;

#[entry]
fn main() -> ! {
    clock::start();
    low::INTERRUPT.enable(0x80);
    high::INTERRUPT.enable(0x00);
    high::INTERRUPT.pend(); // Its first call.
    let (report, low) = low::run();
    defmt::println!(
        "{=u32} ticks at most {=u32} us late, {=u32} requests at most {=u32} us late",
        report.ticks,
        report.latest_tick,
        report.requests,
        report.latest_request,
    );
    defmt::println!(
        "{=u32} slices of 20 ms, {=u32} requests answered in them",
        low.slices,
        low.answered
    );
    let is_in_time = report.latest_tick.max(report.latest_request) <= LATEST_MICROS;
    hosted_machine::exit(is_in_time && low.slices > 0 && low.answered == low.slices)
}
