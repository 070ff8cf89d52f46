//! A clock and tickless sleep on SysTick, which every Cortex-M has: a counter of 24 bits, downwards.
//!
//! While the loop works, the counter runs in periods of 2^24 cycles. For a sleep a period is begun that ends when the
//! sleep shall. The cycles of the periods that are over are added up in 64 bits.
//!
//! Beginning a period loses the few cycles between reading the counter and starting it, so the clock is slow by a
//! handful of cycles for each sleep; timers are late by that, never early.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SCB;
use cortex_m::{asm, interrupt};
use cortex_m_rt::exception;
use kpt_core::Instant;

use crate::machine::{CYCLES, MICROS};
use crate::registers::Registers;

/// The longest sleep in cycles. What shall last longer is slept in parts.
pub const LONGEST: u64 = 1 << 24;
/// What is shorter is over before a sleep would have begun. The loop asks again until then.
const SHORTEST: u64 = 100;

// SAFETY: the registers of the core are there, and SysTick's are used here only.
const CORE: Registers = unsafe { Registers::at(0xE000_E000) };
const CONTROL: usize = 0x10;
const RELOAD: usize = 0x14;
const CURRENT: usize = 0x18;

/// How often the period has ended since it was begun, while interrupts were not masked.
static WRAPS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    WRAPS.store(WRAPS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// The clock, and how often the core has slept. All zero bytes when new.
#[derive(Default)]
pub struct Clock {
    /// When the period began, in cycles.
    period_start: u64,
    sleeps: u32,
}

impl Clock {
    pub const fn new() -> Self {
        Self { period_start: 0, sleeps: 0 }
    }

    /// How often the core has slept.
    pub fn sleeps(&self) -> u32 {
        self.sleeps
    }

    pub fn now(&self) -> Instant {
        let cycles = interrupt::free(|_| self.cycles());
        Instant::from_micros(cycles / CYCLES * MICROS + cycles % CYCLES * MICROS / CYCLES)
    }

    /// What [`Board::sleep`](kpt_core::Board::sleep) asks for.
    pub fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
        // An interrupt that comes after the question stays pending while they are masked, and ends the sleep at once.
        interrupt::free(|_| {
            if is_awake() {
                return;
            }
            let until = cycles_at(until);
            let cycles = until.saturating_sub(self.cycles()).min(LONGEST);
            if cycles >= SHORTEST {
                self.begin_period(cycles);
                asm::dsb();
                asm::wfi();
                self.begin_period(LONGEST);
                self.sleeps += 1;
            }
        });
    }

    /// The cycles since the start. Interrupts are masked.
    fn cycles(&self) -> u64 {
        let mut position = position();
        let mut wraps = WRAPS.load(Ordering::Relaxed);
        if SCB::is_pendst_pending() {
            // It has ended once more, perhaps after the look at the position.
            position = self::position();
            wraps += 1;
        }
        self.period_start + u64::from(wraps) * u64::from(period()) + u64::from(position)
    }

    /// Begins a period, which ends with an interrupt, as do those after it. Interrupts are masked.
    fn begin_period(&mut self, cycles: u64) {
        self.period_start = self.cycles();
        CORE.write(RELOAD, cycles as u32 - 1);
        CORE.write(CURRENT, 0);
        SCB::clear_pendst();
        WRAPS.store(0, Ordering::Relaxed);
    }
}

/// Starts the counter.
pub fn start() {
    CORE.write(RELOAD, LONGEST as u32 - 1);
    CORE.write(CURRENT, 0);
    // On, with interrupts, every cycle of the core.
    CORE.write(CONTROL, 0b111);
}

/// The cycles of a period.
fn period() -> u32 {
    CORE.read(RELOAD) + 1
}

/// The cycles since the period began. It begins and ends where the counter is 0 and the interrupt comes.
fn position() -> u32 {
    let left = CORE.read(CURRENT);
    if left == 0 { 0 } else { period() - left }
}

/// Rounded up.
fn cycles_at(instant: Instant) -> u64 {
    instant.as_micros().saturating_mul(CYCLES).div_ceil(MICROS)
}
