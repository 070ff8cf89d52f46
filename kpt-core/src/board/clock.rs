//! The clock of a board, on a counter of the chip: time in 64 bits, and sleep with an alarm.

use core::fmt;
use core::num::NonZeroU32;

use crate::time::{Instant, Wide};

/// A free-running counter with an alarm: a timer with a compare register, an RTC, the low word of `mtime`.
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
/// The alarm is set only while interrupts are masked, and is cleared before they are unmasked. The timer's interrupt
/// must therefore be enabled (in the NVIC, in `mie`), but needs no handler.
pub trait Counter {
    /// Ticks per second. A number that has too few factors in common with a million is refused at compile time. The
    /// nearest multiple of 1,000 is accepted, up to 4 GHz, and differs from the number by at most 500 Hz.
    const HZ: u32;

    /// The number of bits of the counter and of its alarm, from 16 to 32.
    const BITS: u32 = 32;

    /// The number of ticks that an alarm must be ahead so that the hardware does not miss it: 2 for the RTC of an nRF,
    /// more where setting an alarm takes long. For a moment that is nearer, the core stays awake.
    const SHORTEST_ALARM: u32 = 1;

    /// Returns the count. It MUST go up by one with each tick, and wrap to 0 when all [`BITS`](Self::BITS) are ones.
    /// Bits above those are ignored.
    fn count(&mut self) -> u32;

    /// Makes an interrupt pending when the count reaches `at`, which is at most half a wrap ahead. Called with
    /// interrupts masked.
    ///
    /// MAY miss an alarm that is less than [`SHORTEST_ALARM`](Self::SHORTEST_ALARM) ticks ahead, or that has passed in
    /// the meantime.
    fn set_alarm(&mut self, at: u32);

    /// Cancels the alarm, and its interrupt if that is pending. Called with interrupts masked.
    fn clear_alarm(&mut self);
}

/// The clock and the sleep of a [`Board`](super::Board), on a [`Counter`].
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
/// The time is exact to the tick and does not drift, provided that the clock is read at least once per wrap of the
/// counter. A sleep ends after at most half a wrap, so a hook may run for the other half. There is no overflow
/// interrupt to handle.
///
/// A clock is all zero bytes if the counter is. On Cortex-M, `now` takes 76 to 124 bytes of code and `sleep` 104 to
/// 136; neither contains a division of 64 bits. A Cortex-M0 calls a function of about 200 bytes for a division of 32
/// bits, which is not needed if [`HZ`](Counter::HZ) is 1, 2, 4, ... MHz.
#[derive(Debug)]
pub struct Clock<C> {
    counter: C,
    /// The beginning of the current period.
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

    /// A period is the shortest time that is a whole number of ticks and of microseconds. Within it, 32 bits suffice.
    const PERIODS_IN_A_SECOND: u32 = greatest_common_divisor(C::HZ, 1_000_000);
    const PERIOD_TICKS: NonZeroU32 = above_zero(quotient(C::HZ, Self::PERIODS_IN_A_SECOND));
    const PERIOD_MICROS: NonZeroU32 = above_zero(quotient(1_000_000, Self::PERIODS_IN_A_SECOND));

    const MASK: u32 = u32::MAX >> 32_u32.saturating_sub(C::BITS);
    /// Half a wrap in whole periods, which leaves the other half for delays; at most 71 minutes, which 32 bits can
    /// hold.
    const LONGEST_SLEEP_MICROS: u32 = {
        let periods = quotient(Self::MASK >> 1, Self::PERIOD_TICKS.get());
        periods.saturating_mul(Self::PERIOD_MICROS.get())
    };

    /// Creates a clock on this counter, which may be started later. The time is zero where the count is zero.
    pub const fn new(counter: C) -> Self {
        const {
            assert!(C::HZ > 0, "the counter has no speed");
            assert!(C::BITS >= 16 && C::BITS <= 32, "from 16 to 32 bits");
            assert!(C::SHORTEST_ALARM > 0, "an alarm for now is missed");
            let (ticks, micros) = (Self::PERIOD_TICKS.get(), Self::PERIOD_MICROS.get());
            assert!(
                ticks.saturating_add(1).checked_mul(micros).is_some(),
                "HZ has too little in common with a million: take the nearest multiple of 1,000"
            );
            assert!(Self::LONGEST_SLEEP_MICROS > 0, "too few bits for that many ticks per second");
        }
        Self { counter, start: Start { count: 0, micros: Wide::ZERO } }
    }

    /// Returns the time of the last tick, rounded down to a microsecond.
    pub fn now(&mut self) -> Instant {
        let ticks = self.begin_period();
        // The rest is less than a period, so it has no whole microsecond if a period is one microsecond.
        let micros = match Self::PERIOD_MICROS.get() {
            1 => 0,
            period => ticks.wrapping_mul(period) / Self::PERIOD_TICKS,
        };
        Instant::from_micros(self.start.micros.get().wrapping_add(u64::from(micros)))
    }

    /// Calls `wait_for_interrupt` with an alarm set for `until`, or for half a wrap ahead if that is earlier. Returns
    /// at once if `is_awake` returns true, or if `until` has passed or is too near for an alarm.
    ///
    /// MUST be called with interrupts masked. `wait_for_interrupt` MUST return when an interrupt is pending although
    /// they are masked, as `WFI` does on Cortex-M and RISC-V.
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
        // The moment may have passed while the alarm was being set; a timer that compares for equality has missed it.
        if self.comes(alarm) {
            wait_for_interrupt();
        }
        self.counter.clear_alarm();
    }

    /// Moves the start to the current period, and returns the ticks since then.
    fn begin_period(&mut self) -> u32 {
        let ticks = self.ticks();
        let periods = ticks / Self::PERIOD_TICKS;
        let whole = periods.wrapping_mul(Self::PERIOD_TICKS.get());
        let micros = u64::from(periods).wrapping_mul(u64::from(Self::PERIOD_MICROS.get()));
        self.start.count = self.start.count.wrapping_add(whole);
        self.start.micros = Wide::new(self.start.micros.get().wrapping_add(micros));
        ticks.wrapping_sub(whole)
    }

    /// Returns the ticks since the start.
    fn ticks(&mut self) -> u32 {
        self.counter.count().wrapping_sub(self.start.count) & Self::MASK
    }

    /// Returns the ticks from the start to a moment, rounded up; at most half a wrap.
    fn ticks_until(&self, moment: Instant) -> u32 {
        let micros = moment.as_micros().saturating_sub(self.start.micros.get());
        let micros = u32::try_from(micros).unwrap_or(u32::MAX).min(Self::LONGEST_SLEEP_MICROS);
        let (ticks, period) = (Self::PERIOD_TICKS.get(), Self::PERIOD_MICROS);
        let (periods, rest) = (micros / period, micros % period);
        let rest = rest.wrapping_mul(ticks).wrapping_add(period.get().wrapping_sub(1)) / period;
        periods.wrapping_mul(ticks).wrapping_add(rest)
    }

    /// Returns whether an alarm `alarm` ticks after the start is far enough ahead not to be missed.
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

/// Returns the quotient, rounded down. Both numbers are above zero for a counter that `Clock::new` accepts.
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
