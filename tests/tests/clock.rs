//! Clocks on counters, against counters that are as hostile as chips get, with a slow twin in 128 bits.

use kpt_core::Instant;
use kpt_core::board::{Clock, Counter};
use kpt_tests::chance::{Chance, is_deep};
use kpt_tests::counter::{Chip, Hostile};

/// Each speed and width with hardware that compares for equality and hardware that compares for "not before", whose
/// alarms come for sure from the next tick on, or from some later one.
#[test]
fn a_clock_agrees_with_its_twin() {
    let seed = std::env::var("KPT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = if is_deep() { 0..30_000 } else { 0..1_000 };
    for seed in seed.map_or(seeds, |seed| seed..seed + 1) {
        run::<1_000_000, 32, 1>(seed); // RP2040, ESP32, nRF TIMER
        run::<16_000_000, 32, 1>(seed); // nRF TIMER, mtime
        run::<64_000_000, 32, 3>(seed); // STM32
        run::<25_000_000, 24, 100>(seed); // SysTick
        run::<12_500_000, 24, 100>(seed);
        run::<480_000_000, 32, 1>(seed);
        run::<32_768, 32, 1>(seed); // mtime of the HiFive
        run::<32_768, 24, 2>(seed); // nRF RTC
        run::<32_768, 16, 4>(seed); // STM32 LPTIM
        run::<31_250, 16, 1>(seed);
        run::<1_000_000, 16, 1>(seed);
        run::<4_194_304, 32, 1>(seed);
        run::<11_059_200, 32, 1>(seed);
        run::<33_333_000, 32, 1>(seed);
        run::<3_999_999_000, 32, 1>(seed);
        run::<1_000, 32, 1>(seed);
        run::<1, 32, 1>(seed);
    }
}

/// A life of some thousand sleeps and works.
fn run<const HZ: u32, const BITS: u32, const SHORTEST: u32>(seed: u64) {
    let chip = Chip::new(HZ, BITS, SHORTEST, seed);
    let mut clock = Clock::new(Hostile::<HZ, BITS, SHORTEST>(chip.clone()));
    let mut chance = Chance::new(seed ^ 0x5EED);
    let context = || format!("seed {seed}: {HZ} Hz, {BITS} bits, shortest {SHORTEST}");
    let mut last = 0;
    for _ in 0..200 {
        check_now(&mut clock, &chip, &mut last, &context);
        let until = some_moment(&mut chance, last, &chip);
        match chance.below(4) {
            0 => chip.work(chance.below(chip.half() * 3 / 4)),
            1 => chip.interrupt_in(1 + chance.below(chip.half() * 2)),
            2 => chip.interrupt_in(1 + chance.below(50)),
            _ => {}
        }
        sleep(&mut clock, &chip, until, &context);
    }
}

fn check_now<C: Counter>(
    clock: &mut Clock<C>,
    chip: &Chip,
    last: &mut u64,
    context: &impl Fn() -> String,
) {
    let before = chip.micros();
    let now = clock.now().as_micros();
    assert!(
        before <= now && now <= chip.micros(),
        "{}: {before} {now} {}",
        context(),
        chip.micros()
    );
    assert!(*last <= now, "{}: {now} after {last}", context());
    *last = now;
}

/// Near, far, passed, or never.
fn some_moment(chance: &mut Chance, now: u64, chip: &Chip) -> Instant {
    let longest = chip.micros_of(chip.longest());
    let moment = match chance.below(8) {
        0 => return Instant::NEVER,
        1 => now.saturating_sub(chance.below(1_000)),
        2 => now + chance.below(3),
        3 => now + chance.below(200),
        4 => now + longest - chance.below(3),
        5 => now + longest + chance.below(3),
        6 => now + chance.below(5 * longest),
        _ => now + chance.below(longest),
    };
    Instant::from_micros(moment)
}

/// Sleeps as a loop does, until the moment has come or an interrupt has.
///
/// Never too long: an alarm comes in the first tick at which the moment has come, or about half of the counter's range
/// after the sleep has begun. Never for nothing: not before that without an interrupt, and not awake for longer than the
/// shortest alarm. No alarm is set that would not come.
fn sleep<C: Counter>(
    clock: &mut Clock<C>,
    chip: &Chip,
    until: Instant,
    context: &impl Fn() -> String,
) {
    let is_never = until == Instant::NEVER;
    let due = if is_never { u64::MAX } else { chip.first_tick_at(until.as_micros()) };
    let (mut sleeps, mut awake) = (0, 0);
    while !chip.has_interrupt() && chip.ticks() < due && (!is_never || sleeps < 3) {
        let (is_too_near, alarms) = (due - chip.ticks() < chip.shortest(), chip.alarms());
        let mut slept = None;
        clock.sleep(until, &|| chip.has_interrupt(), || slept = Some((chip.ticks(), chip.sleep())));
        chip.check_alarm_is_off();
        assert!(!is_too_near || chip.alarms() == alarms, "{}", context());
        let Some((from, to)) = slept else {
            awake += 1;
            continue;
        };
        sleeps += 1;
        let context = || format!("{}: due {due}, slept from {from} to {to}", context());
        assert!(to <= due.max(from), "{}", context());
        assert!(to - from < chip.half(), "{}", context());
        let is_longest = to - from > chip.longest() * 8 / 10;
        assert!(to >= due || is_longest || chip.has_interrupt(), "{}", context());
    }
    assert!(awake <= chip.shortest() + 1, "{}: looked {awake} times, awake", context());
    chip.take_interrupt();
}
