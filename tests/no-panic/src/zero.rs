//! Static loops lie in `.bss`, whatever the type of their threads' arguments (R10): `tests/no-panic.sh` looks where the
//! compiler has put these. Types with spare values are those that could get it wrong, since `None` is one of them.

#![allow(non_upper_case_globals, reason = "they become names of sections")]

use core::cmp::Ordering;
use core::num::NonZeroU32;
use core::time::Duration;

use kpt_core::board::{Board, LinePoller, Lines};
use kpt_core::{FixedLoop, Instant};

static LINES: Lines<1> = Lines::new();

/// A board of zero bytes.
struct Nothing;

impl Board<1> for Nothing {
    const TICK_MICROS: u32 = 1;

    fn lines(&self) -> &'static Lines<1> {
        &LINES
    }

    fn now(&mut self) -> Instant {
        Instant::ZERO
    }

    fn sleep(&mut self, _: Instant, _: &dyn Fn() -> bool) {}
}

#[repr(transparent)]
struct Static<T>(T);

// SAFETY: nothing ever refers to one of these.
unsafe impl<T> Sync for Static<T> {}

#[allow(dead_code)]
pub enum Job {
    One,
    Two(bool),
    Three,
}

macro_rules! loops {
    ($($small:ident $large:ident: $arg:ty;)*) => {
        $(
            #[unsafe(no_mangle)]
            static $small: Static<FixedLoop<LinePoller<Nothing, 1>, (), 10, $arg>> =
                Static(FixedLoop::new(LinePoller::new(Nothing)));
            #[cfg(feature = "large")]
            #[unsafe(no_mangle)]
            static $large: Static<kpt_core::large::LargeLoop<LinePoller<Nothing, 1>, (), 10, $arg>> =
                Static(kpt_core::large::LargeLoop::new(LinePoller::new(Nothing)));
        )*
    };
}

loops! {
    zero_unit zero_large_unit: ();
    zero_bool zero_large_bool: bool;
    zero_char zero_large_char: char;
    zero_enum zero_large_enum: Job;
    zero_option zero_large_option: Option<u32>;
    zero_number zero_large_number: NonZeroU32;
    zero_str zero_large_str: &'static str;
    zero_ordering zero_large_ordering: Ordering;
    zero_duration zero_large_duration: Duration;
}
