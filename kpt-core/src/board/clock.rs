//! A board's clock on a counter of the chip: time in 64 bits, and sleep with an alarm.

use core::fmt;
use core::num::NonZeroU32;

use crate::time::{Instant, Wide};

/// A counter that runs by itself, with an alarm: a timer with a compare register, an RTC, the low word of `mtime`.
///
/// ```
/// use kpt_core::board::Counter;
/// # mod registers { // Stands for them.
/// #     pub struct Register;
/// #     impl Register {
/// #         pub fn read(&self) -> u32 { 0 }
/// #         pub fn write(&self, _: u32) {}
/// #     }
/// #     pub const COUNT: Register = Register;
/// #     pub const COMPARE: Register = Register;
/// #     pub const STATUS: Register = Register;
/// #     pub const ENABLE: Register = Register;
/// # }
/// # use registers::{COMPARE, COUNT, ENABLE, STATUS};
///
/// /// Timer 2: 32 bits, prescaled to 16 MHz.
/// struct Timer;
///
/// impl Counter for Timer {
///     const HZ: u32 = 16_000_000;
///
///     fn count(&mut self) -> u32 {
///         COUNT.read()
///     }
///
///     fn set_alarm(&mut self, at: u32) {
///         COMPARE.write(at);
///         STATUS.write(0); // What an earlier alarm has left behind.
///         ENABLE.write(1);
///     }
///
///     fn clear_alarm(&mut self) {
///         ENABLE.write(0);
///         STATUS.write(0);
///         // On Cortex-M, the NVIC has kept it: NVIC::unpend(TIM2).
///     }
/// }
/// ```
///
/// The alarm is set only while interrupts are masked, and has been cleared when they are let in again. So the timer's
/// interrupt is unmasked (in the NVIC, in `mie`), and needs no handler.
pub trait Counter {
    /// Ticks in a second. What is no multiple of 1,000 may be refused when the program is compiled; take the nearest
    /// multiple then, which is nearer than any crystal is.
    const HZ: u32;

    /// How many bits the counter and its alarm have, from 16 to 32.
    const BITS: u32 = 32;

    /// How many ticks ahead an alarm has to be to come for sure: 2 for an RTC of Nordic's, which misses one that is
    /// nearer, more where setting it takes time. For what is nearer, the core stays awake.
    const SHORTEST_ALARM: u32 = 1;

    /// The ticks since any start. MUST count up by one each tick, in all [`BITS`](Self::BITS), and begin anew with 0;
    /// bits above those are ignored.
    fn count(&mut self) -> u32;

    /// Has an interrupt pending from the tick on with which the count is `at`, at most half of the counter's range
    /// ahead. Interrupts are masked.
    ///
    /// If that tick has passed by now, what happens is all the same.
    fn set_alarm(&mut self, at: u32);

    /// Has no interrupt pending and none coming. Interrupts are still masked.
    fn clear_alarm(&mut self);
}

/// A clock and the sleep of a [`Board`](super::Board), on a [`Counter`].
///
/// ```
/// use kpt_core::Instant;
/// use kpt_core::board::{Board, Clock, Counter, Lines};
/// # struct Timer;
/// # impl Counter for Timer {
/// #     const HZ: u32 = 16_000_000;
/// #     fn count(&mut self) -> u32 { 0 }
/// #     fn set_alarm(&mut self, _: u32) {}
/// #     fn clear_alarm(&mut self) {}
/// # }
/// # mod cortex_m { // Stands for the crate, so that this can be compiled here.
/// #     pub mod asm { pub fn wfi() {} }
/// #     pub mod interrupt { pub fn free(f: impl FnOnce(())) { f(()) } }
/// # }
///
/// static LINES: Lines<1> = Lines::new();
///
/// struct Mcu {
///     clock: Clock<Timer>,
/// }
///
/// impl Board<1> for Mcu {
///     const TICK_MICROS: u32 = Clock::<Timer>::TICK_MICROS;
///
///     fn lines(&self) -> &'static Lines<1> {
///         &LINES
///     }
///
///     fn now(&mut self) -> Instant {
///         self.clock.now()
///     }
///
///     fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
///         cortex_m::interrupt::free(|_| self.clock.sleep(until, is_awake, cortex_m::asm::wfi));
///     }
/// }
/// ```
///
/// The time is exact to the tick for ever, if the clock is asked in each turn around of the counter: a sleep ends after
/// half of one at the latest, so no hook may take the other half. No interrupt on overflow is needed for it.
///
/// Neither operation has a division of 64 bits. All zero bytes, if the counter is.
#[derive(Debug)]
pub struct Clock<C> {
    counter: C,
    /// The last time the count and the microseconds since the start were whole at the same moment, as far as is known.
    start: Start,
}

/// The beginning of a period.
struct Start {
    count: u32,
    micros: Wide,
}

impl<C: Counter> Clock<C> {
    /// The time between two ticks in microseconds, rounded up: the board's
    /// [`TICK_MICROS`](super::Board::TICK_MICROS).
    pub const TICK_MICROS: u32 = 1_000_000_u32.div_ceil(C::HZ);

    /// A period is the shortest time of whole ticks and whole microseconds.
    const PERIODS_IN_A_SECOND: u32 = greatest_common_divisor(C::HZ, 1_000_000);
    const PERIOD_TICKS: NonZeroU32 = above_zero(quotient(C::HZ, Self::PERIODS_IN_A_SECOND));
    const PERIOD_MICROS: NonZeroU32 = above_zero(quotient(1_000_000, Self::PERIODS_IN_A_SECOND));

    const MASK: u32 = u32::MAX >> 32_u32.saturating_sub(C::BITS);
    /// Half of the counter's range in whole periods, so that there is as much time to be late.
    const LONGEST_SLEEP_MICROS: u32 = {
        let periods = quotient(Self::MASK >> 1, Self::PERIOD_TICKS.get());
        periods.saturating_mul(Self::PERIOD_MICROS.get())
    };

    /// A clock on this counter, which need not have been started. The time begins with a count of 0.
    pub const fn new(counter: C) -> Self {
        const {
            assert!(C::HZ > 0, "the counter has no speed");
            assert!(C::BITS >= 16 && C::BITS <= 32, "from 16 to 32 bits");
            let (ticks, micros) = (Self::PERIOD_TICKS.get(), Self::PERIOD_MICROS.get());
            assert!(
                ticks.saturating_add(1).checked_mul(micros).is_some(),
                "HZ has too little in common with a million: take the nearest multiple of 1,000"
            );
            assert!(Self::LONGEST_SLEEP_MICROS > 0, "too few bits for that many ticks in a second");
        }
        Self { counter, start: Start { count: 0, micros: Wide::ZERO } }
    }

    /// The counter.
    pub const fn counter(&self) -> &C {
        &self.counter
    }

    /// The time of the last tick, rounded down to a microsecond.
    pub fn now(&mut self) -> Instant {
        let ticks = self.begin_period();
        // Less than a period, so that there are no whole microseconds in a period of one, and 32 bits are enough.
        let micros = match Self::PERIOD_MICROS.get() {
            1 => 0,
            period => ticks.wrapping_mul(period) / Self::PERIOD_TICKS,
        };
        Instant::from_micros(self.start.micros.get().wrapping_add(u64::from(micros)))
    }

    /// Asks `is_awake`, and if it says no, calls `wait_for_interrupt` with an alarm that makes an interrupt pending at
    /// `until`, or after half of the counter's range if that is earlier.
    ///
    /// MUST be called with interrupts masked, and `wait_for_interrupt` MUST return when one is pending all the same, as
    /// `WFI` does on Cortex-M and RISC-V. It is not called when `until` has passed or is too near for an alarm.
    pub fn sleep(
        &mut self,
        until: Instant,
        is_awake: &dyn Fn() -> bool,
        wait_for_interrupt: impl FnOnce(),
    ) {
        if is_awake() {
            return;
        }
        self.begin_period();
        let alarm = self.ticks_until(until);
        if !self.comes(alarm) {
            return;
        }
        self.counter.set_alarm(self.start.count.wrapping_add(alarm) & Self::MASK);
        // The time may have come while the alarm was being set. A counter that compares for equality would miss it.
        if self.comes(alarm) {
            wait_for_interrupt();
        }
        self.counter.clear_alarm();
    }

    /// Moves the start over the periods that are over, and returns the ticks since then.
    fn begin_period(&mut self) -> u32 {
        let ticks = self.ticks();
        let periods = ticks / Self::PERIOD_TICKS;
        let whole = periods.wrapping_mul(Self::PERIOD_TICKS.get());
        let micros = u64::from(periods).wrapping_mul(u64::from(Self::PERIOD_MICROS.get()));
        self.start.count = self.start.count.wrapping_add(whole);
        self.start.micros = Wide::new(self.start.micros.get().wrapping_add(micros));
        ticks.wrapping_sub(whole)
    }

    /// The ticks since the start.
    fn ticks(&mut self) -> u32 {
        self.counter.count().wrapping_sub(self.start.count) & Self::MASK
    }

    /// How many ticks after the start a moment has come, rounded up; at most half of the counter's range.
    fn ticks_until(&self, moment: Instant) -> u32 {
        let micros = moment.as_micros().saturating_sub(self.start.micros.get());
        let micros = u32::try_from(micros).unwrap_or(u32::MAX).min(Self::LONGEST_SLEEP_MICROS);
        let (ticks, period) = (Self::PERIOD_TICKS.get(), Self::PERIOD_MICROS);
        let (periods, rest) = (micros / period, micros % period);
        let rest = rest.wrapping_mul(ticks).wrapping_add(period.get().wrapping_sub(1)) / period;
        periods.wrapping_mul(ticks).wrapping_add(rest)
    }

    /// Whether an alarm so many ticks after the start is so far ahead that it comes for sure.
    fn comes(&mut self, alarm: u32) -> bool {
        alarm.saturating_sub(self.ticks()) >= C::SHORTEST_ALARM
    }
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} us at count {}", self.micros.get(), self.count)
    }
}

const fn greatest_common_divisor(mut one: u32, mut other: u32) -> u32 {
    while let Some(rest) = one.checked_rem(other) {
        (one, other) = (other, rest);
    }
    one
}

/// Rounded down. Both are above zero where `Clock::new` takes the counter.
const fn quotient(dividend: u32, divisor: u32) -> u32 {
    match dividend.checked_div(divisor) {
        Some(quotient) => quotient,
        None => 0,
    }
}

const fn above_zero(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}
