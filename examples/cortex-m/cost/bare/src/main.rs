//! The same interrupts and the same clock without tasks: what a program costs that has none.

#![no_std]
#![no_main]

use cortex_m_rt::{entry, exception};
use cost_board::{Counts, GROUPS, PERIOD_MILLIS, TICKS, fail, finish, now, start, tick};

static COUNTS: [Counts; GROUPS] = [const { Counts::zero() }; GROUPS];

#[entry]
fn main() -> ! {
    start();
    let mut next = PERIOD_MILLIS;
    loop {
        cortex_m::asm::wfi();
        if now() < next {
            continue;
        }
        next += PERIOD_MILLIS;
        for counts in &COUNTS {
            counts.ticks.add();
        }
        if COUNTS[0].ticks.get() == TICKS {
            finish(&COUNTS, 0, 0);
        }
    }
}

#[exception]
fn SysTick() {
    tick();
}

#[exception]
unsafe fn DefaultHandler(interrupt: i16) {
    match COUNTS.get(interrupt as usize) {
        Some(counts) => counts.signals.add(),
        None => fail(),
    };
}
