//! What a [`Board`](kpt_core::board::Board) needs, on the time driver of embassy. With it every chip that embassy supports is a
//! board for kpt. No executor is needed, and no `embassy-time`.
//!
//! To copy from: [`now`], [`sleep`] and [`TICK_MICROS`] are the three items of a `Board`. A loop that is hosted by an
//! executor takes [`now`] and [`ticks_at`].
//!
//! # The waker
//! `schedule_wake` wants a waker. [`Waker::noop`] is enough, which needs no allocation and no unsafe code:
//! - For a moment in the future the driver sets its alarm. The interrupt of that alarm ends `WFI`, whatever its handler does
//!   with the waker after that.
//! - For a moment that has come the driver may wake the waker at once, and set no alarm. That waker does nothing, and no
//!   interrupt would end `WFI`. So the clock is read once more after `schedule_wake`: what the driver found expired is
//!   expired then, since its clock does not go back, and there is no sleep.
//!
//! The driver's queue has one entry for this waker, with the earliest moment that was asked for. So a sleep that was cut
//! short leaves its moment behind, and there is a wake-up for nothing when it comes.
//!
//! The queue has to take wakers that are not of embassy's executor: a feature `generic-queue-8` (or more) of
//! `embassy-time-queue-utils` in the application's `Cargo.toml`. With the default one, a program without an executor does not
//! link, and one with an executor panics.

#![no_std]
#![forbid(unsafe_code)]

use core::task::Waker;

use embassy_time_driver::TICK_HZ;
use kpt_core::Instant;

const MICROS_EACH_SECOND: u64 = 1_000_000;

/// [`Board::TICK_MICROS`](kpt_core::board::Board::TICK_MICROS).
pub const TICK_MICROS: u32 = MICROS_EACH_SECOND.div_ceil(TICK_HZ) as u32;

/// [`Board::now`](kpt_core::board::Board::now).
pub fn now() -> Instant {
    instant(embassy_time_driver::now())
}

/// [`Board::sleep`](kpt_core::board::Board::sleep).
pub fn sleep(until: Instant, is_awake: &dyn Fn() -> bool) {
    // An interrupt that comes after the question stays pending while they are masked, and ends the sleep at once.
    cortex_m::interrupt::free(|_| {
        if is_awake() {
            return;
        }
        let at = ticks_at(until);
        embassy_time_driver::schedule_wake(at, Waker::noop());
        if embassy_time_driver::now() < at {
            cortex_m::asm::dsb();
            cortex_m::asm::wfi();
        }
    });
}

/// The first tick at which `deadline` has come: [`now`] is not before `deadline` then.
///
/// `embassy_time::Instant::from_micros` rounds down. A task that waits for that waits for nothing, again and again, until
/// the next tick.
pub const fn ticks_at(deadline: Instant) -> u64 {
    let (seconds, micros) = split(deadline.as_micros(), MICROS_EACH_SECOND);
    let ticks = (micros * TICK_HZ).div_ceil(MICROS_EACH_SECOND);
    seconds.saturating_mul(TICK_HZ).saturating_add(ticks)
}

/// Rounded down.
const fn instant(ticks: u64) -> Instant {
    let (seconds, ticks) = split(ticks, TICK_HZ);
    let micros = ticks * MICROS_EACH_SECOND / TICK_HZ;
    Instant::from_micros(seconds.saturating_mul(MICROS_EACH_SECOND).saturating_add(micros))
}

/// Whole seconds, and the rest, which can be multiplied.
const fn split(time: u64, each_second: u64) -> (u64, u64) {
    (time / each_second, time % each_second)
}

/// For some seconds around moments of interest, at the tick that was chosen.
const _: () = {
    let starts = [0, 1 << 32, 1 << 52];
    let mut number = 0;
    while number < starts.len() * 1_000 {
        let deadline = starts[number % starts.len()] + number as u64 * 997;
        let at = ticks_at(Instant::from_micros(deadline));
        assert!(instant(at).as_micros() >= deadline, "a wake-up comes early");
        assert!(at == 0 || instant(at - 1).as_micros() < deadline, "a wake-up comes late");
        number += 1;
    }
    assert!(ticks_at(Instant::NEVER) > 1 << 40, "never has come");
};
