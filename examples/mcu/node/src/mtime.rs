//! A clock and tickless sleep on the timer of RISC-V: `mtime` counts upwards in 64 bits, and there is an interrupt while
//! it is at `mtimecmp` or beyond.
//!
//! The interrupt only ends a sleep. It comes while interrupts are masked, and is off before they are not, so it needs no
//! handler.

use kpt_core::Instant;
use riscv::asm::wfi;
use riscv::interrupt::{self, Interrupt};

use crate::machine::{CYCLES, MICROS};
use crate::registers::Registers;

/// The longest sleep in cycles. The counter needs no limit; but this way an interrupt that got lost makes a long sleep,
/// which the stress test notices, and not one without end.
pub const LONGEST: u64 = 1 << 24;
const NEVER: u64 = u64::MAX;

// SAFETY: the timer's registers are there, and are used here only.
const COMPARE: Registers = unsafe { Registers::at(0x0200_4000) };
const COMPARE_LOW: usize = 0;
const COMPARE_HIGH: usize = 4;
// SAFETY: as before.
const TIME: Registers = unsafe { Registers::at(0x0200_B000) };
const TIME_LOW: usize = 0xFF8;
const TIME_HIGH: usize = 0xFFC;

/// The clock, and how often the core has slept. All zero bytes when new.
#[derive(Default)]
pub struct Clock {
    sleeps: u32,
}

impl Clock {
    pub const fn new() -> Self {
        Self { sleeps: 0 }
    }

    /// How often the core has slept.
    pub fn sleeps(&self) -> u32 {
        self.sleeps
    }

    pub fn now(&self) -> Instant {
        let cycles = cycles();
        Instant::from_micros(cycles / CYCLES * MICROS + cycles % CYCLES * MICROS / CYCLES)
    }

    /// What [`Board::sleep`](kpt_core::Board::sleep) asks for.
    pub fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
        // An interrupt that comes after the question stays pending while they are masked, and ends the sleep at once.
        interrupt::free(|| {
            if is_awake() {
                return;
            }
            let (now, until) = (cycles(), if until == Instant::NEVER { NEVER } else { cycles_at(until) });
            if now < until {
                set_alarm(until.min(now + LONGEST));
                wfi();
                set_alarm(NEVER);
                self.sleeps += 1;
            }
        });
    }
}

/// Starts the clock, and unmasks interrupts.
pub fn start() {
    set_alarm(NEVER);
    TIME.write(TIME_LOW, 0);
    TIME.write(TIME_HIGH, 0);
    // SAFETY: no critical section of this program rests on a masked interrupt, and there is none yet.
    unsafe {
        interrupt::enable_interrupt(Interrupt::MachineTimer);
        interrupt::enable();
    }
}

/// The cycles since the start. The upper word is read twice, as the lower one may overflow in between.
fn cycles() -> u64 {
    loop {
        let (high, low) = (TIME.read(TIME_HIGH), TIME.read(TIME_LOW));
        if high == TIME.read(TIME_HIGH) {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

/// The upper word is as for never until the lower one is right, so that no alarm comes in between.
fn set_alarm(at: u64) {
    COMPARE.write(COMPARE_HIGH, u32::MAX);
    COMPARE.write(COMPARE_LOW, at as u32);
    COMPARE.write(COMPARE_HIGH, (at >> 32) as u32);
}

/// Rounded up.
fn cycles_at(instant: Instant) -> u64 {
    instant.as_micros().saturating_mul(CYCLES).div_ceil(MICROS)
}
