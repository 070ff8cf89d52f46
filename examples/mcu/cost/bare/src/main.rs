//! The same interrupts and the same clock without tasks: what a program costs that has none.

#![no_std]
#![no_main]

use cost_board::{
    Counts, GROUPS, PERIOD_MILLIS, TICKS, entry, fail, finish, handlers, now, start, tick, wfi,
};

static COUNTS: [Counts; GROUPS] = [const { Counts::zero() }; GROUPS];

#[entry]
fn main() -> ! {
    start();
    let mut next = PERIOD_MILLIS;
    loop {
        wfi();
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

handlers!(on_tick, on_interrupt);

fn on_tick() {
    tick();
}

fn on_interrupt(number: usize) {
    match COUNTS.get(number) {
        Some(counts) => counts.signals.add(),
        None => fail(),
    };
}
