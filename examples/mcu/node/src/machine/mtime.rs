//! The timer of RISC-V as a counter with an alarm: `mtime` counts upwards in 64 bits, of which the lower word is enough, and
//! there is an interrupt while it is at `mtimecmp` or beyond.

use kpt_core::board::Counter;
use riscv::interrupt::{self, Interrupt};

use crate::registers::Registers;

// SAFETY: the timer's registers are there, and are used here only.
const COMPARE: Registers = unsafe { Registers::at(0x0200_4000) };
const COMPARE_LOW: usize = 0;
const COMPARE_HIGH: usize = 4;
// SAFETY: as before.
const TIME: Registers = unsafe { Registers::at(0x0200_B000) };
const TIME_LOW: usize = 0xFF8;
const TIME_HIGH: usize = 0xFFC;

/// `mtime` at that many ticks in a second.
pub struct Mtime<const HZ: u32>;

impl<const HZ: u32> Mtime<HZ> {
    pub const fn new() -> Self {
        Self
    }
}

impl<const HZ: u32> Counter for Mtime<HZ> {
    const HZ: u32 = HZ;

    fn count(&mut self) -> u32 {
        TIME.read(TIME_LOW)
    }

    fn set_alarm(&mut self, at: u32) {
        let now = ticks();
        compare_with(now + u64::from(at.wrapping_sub(now as u32)));
    }

    fn clear_alarm(&mut self) {
        compare_with(u64::MAX);
    }
}

/// Starts the counter, and unmasks interrupts.
pub fn start_clock() {
    compare_with(u64::MAX);
    TIME.write(TIME_LOW, 0);
    TIME.write(TIME_HIGH, 0);
    // SAFETY: no critical section of this program rests on a masked interrupt, and there is none yet.
    unsafe {
        interrupt::enable_interrupt(Interrupt::MachineTimer);
        interrupt::enable();
    }
}

/// All 64 bits. The upper word is read twice, as the lower one may overflow in between.
fn ticks() -> u64 {
    loop {
        let (high, low) = (TIME.read(TIME_HIGH), TIME.read(TIME_LOW));
        if high == TIME.read(TIME_HIGH) {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

/// The upper word is as for never until the lower one is right, so that no alarm comes in between.
fn compare_with(ticks: u64) {
    COMPARE.write(COMPARE_HIGH, u32::MAX);
    COMPARE.write(COMPARE_LOW, ticks as u32);
    COMPARE.write(COMPARE_HIGH, (ticks >> 32) as u32);
}
