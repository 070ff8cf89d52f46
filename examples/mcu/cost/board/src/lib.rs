//! What the programs share, so that they differ in nothing but who runs the jobs: the clock, the interrupts, the counts,
//! and the end of the program.
//!
//! Four jobs make a group: a timer of 10 ms, one that waits for an interrupt, a timer that runs once, and one that gives
//! way 1,000 times. Each job of each group is a function of its own, as in a program that does as many different things.

#![no_std]

#[cfg_attr(target_arch = "arm", path = "cortex_m.rs")]
#[cfg_attr(target_arch = "riscv32", path = "riscv.rs")]
mod machine;

use core::cell::Cell;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};

use critical_section::Mutex;
use semihosting::process;
use semihosting::sys::arm_compat::sys_writec;

pub use machine::*;

/// How many groups of four jobs there are.
pub const GROUPS: usize = if cfg!(feature = "jobs-32") {
    8
} else if cfg!(feature = "jobs-16") {
    4
} else if cfg!(feature = "jobs-8") {
    2
} else {
    1
};

/// How many jobs there are.
pub const JOBS: usize = 4 * GROUPS;

/// How often each timer of 10 ms runs before the program ends.
pub const TICKS: u32 = 100;

/// How often each job that gives way does so.
pub const YIELDS: u32 = 1_000;

/// When each timer that runs once does so.
pub const SHOT_MILLIS: u64 = 25;

/// The time between two ticks.
pub const PERIOD_MILLIS: u64 = 10;

/// Calls a macro with the names and numbers of all groups.
#[cfg(not(feature = "jobs-8"))]
#[macro_export]
macro_rules! with_groups {
    ($call:ident) => {
        $call! { g0 0 }
    };
}

/// Calls a macro with the names and numbers of all groups.
#[cfg(all(feature = "jobs-8", not(feature = "jobs-16")))]
#[macro_export]
macro_rules! with_groups {
    ($call:ident) => {
        $call! { g0 0 g1 1 }
    };
}

/// Calls a macro with the names and numbers of all groups.
#[cfg(all(feature = "jobs-16", not(feature = "jobs-32")))]
#[macro_export]
macro_rules! with_groups {
    ($call:ident) => {
        $call! { g0 0 g1 1 g2 2 g3 3 }
    };
}

/// Calls a macro with the names and numbers of all groups.
#[cfg(feature = "jobs-32")]
#[macro_export]
macro_rules! with_groups {
    ($call:ident) => {
        $call! { g0 0 g1 1 g2 2 g3 3 g4 4 g5 5 g6 6 g7 7 }
    };
}

/// Milliseconds since the start, and how many are left until the interrupts.
static CLOCK: Mutex<Cell<(u64, u32)>> = Mutex::new(Cell::new((0, 0)));

/// When the interrupts come for the first time; then once in each period. In the middle between two ticks, so that it
/// is clear which comes first.
pub const FIRST_INTERRUPT_MILLIS: u64 = 5;

/// What the clock does in all programs: a millisecond has passed. Each tenth one, all interrupts come.
pub fn tick() -> u64 {
    let (now, until_interrupts) = critical_section::with(|token| {
        let clock = CLOCK.borrow(token);
        let (millis, left) = clock.get();
        let left = if left == 0 { PERIOD_MILLIS as u32 } else { left } - 1;
        clock.set((millis + 1, left));
        (millis + 1, left)
    });
    if until_interrupts == (PERIOD_MILLIS - FIRST_INTERRUPT_MILLIS) as u32 {
        raise_interrupts();
    }
    now
}

/// Milliseconds since the start.
pub fn now() -> u64 {
    critical_section::with(|token| CLOCK.borrow(token).get().0)
}

/// A number that jobs and interrupt handlers count up, each its own: load and store, which a Cortex-M0 has.
pub struct Count(AtomicU32);

impl Count {
    /// Not yet.
    pub const fn zero() -> Self {
        Self(AtomicU32::new(0))
    }

    /// One more.
    pub fn add(&self) -> u32 {
        let count = self.get().wrapping_add(1);
        self.0.store(count, Ordering::Relaxed);
        count
    }

    /// How many.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often the jobs of a group have run.
pub struct Counts {
    pub ticks: Count,
    pub signals: Count,
    pub shots: Count,
    pub yields: Count,
}

impl Counts {
    /// Not at all.
    pub const fn zero() -> Self {
        Self {
            ticks: Count::zero(),
            signals: Count::zero(),
            shots: Count::zero(),
            yields: Count::zero(),
        }
    }
}

/// Ends the program after the last tick of all groups: says how much stack was used, and fails unless each job has run
/// as often as it should.
#[inline(never)]
pub fn finish(counts: &[Counts; GROUPS], shots: u32, yields: u32) -> ! {
    // First of all, as this function's own calls would count.
    let stack = stack_used();
    let is_right = counts.iter().all(|count| {
        count.ticks.get() == TICKS
            && count.signals.get() == TICKS
            && count.shots.get() == shots
            && count.yields.get() == yields
    });
    print(stack);
    process::exit(i32::from(!is_right))
}

/// What came out, or the end of the program.
pub fn must<T, E>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(_) => fail(),
    }
}

/// Ends the program.
#[inline(never)]
pub fn fail() -> ! {
    process::exit(1)
}

/// The bytes of stack in which the paint of the start is gone.
#[inline(never)]
fn stack_used() -> u32 {
    let (mut at, start) = stack();
    // SAFETY: `at` walks upwards through the words of the stack. It is read as volatile since the words are no Rust
    // object, and the only other writer is an interrupt on the same stack.
    while at < start && unsafe { at.read_volatile() } == STACK_PAINT {
        at = at.wrapping_add(1);
    }
    start.addr().wrapping_sub(at.addr()) as u32
}

/// Four hexadecimal digits on QEMU's standard error.
fn print(number: u32) {
    for shift in [12, 8, 4, 0] {
        let digit = (number >> shift) as u8 & 0xF;
        sys_writec(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit });
    }
}

#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    fail()
}
