//! Faults R11 and R13: lines and clocks of microcontrollers.

use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use kpt_core::board::{Board, Clock, LinePoller, Lines};
use kpt_core::{Exit, FixedLoop, Instant, Source, Thread};
use kpt_tests::counter::{Chip, Hostile};

/// Rounds of R11; each has a line of its own in a batch.
const ROUNDS: u32 = 2_000_000;
const BATCH: u32 = 32;

/// One OS thread writes data and then sets a line, another one clears the line and then looks at the data. If it has not
/// seen the data, then the line is still set.
///
/// In the literature on memory models this is the litmus test R, two writes against a write and a read: a processor with
/// store buffers may read before others see its write.
#[test]
fn r11_what_is_set_while_a_line_is_cleared_is_not_lost() {
    static LINES: Lines<{ BATCH as usize }> = Lines::new();
    static DATA: [AtomicU32; BATCH as usize] = [const { AtomicU32::new(0) }; BATCH as usize];
    static MEETING: Meeting = Meeting::new();

    let setter = thread::spawn(|| {
        for batch in 1..=ROUNDS / BATCH {
            MEETING.meet(2 * batch - 1);
            for (line, data) in (0..).zip(&DATA) {
                data.store(batch, Ordering::Relaxed);
                LINES.set(Source::new(line));
            }
            MEETING.meet(2 * batch);
        }
    });
    let mut lost = 0;
    for batch in 1..=ROUNDS / BATCH {
        MEETING.meet(2 * batch - 1);
        let seen: Vec<_> = (0..)
            .zip(&DATA)
            .map(|(line, data)| {
                LINES.clear(Source::new(line));
                data.load(Ordering::Relaxed) == batch
            })
            .collect();
        MEETING.meet(2 * batch);
        lost += (0..)
            .zip(seen)
            .filter(|&(line, seen)| !seen && !LINES.is_set(Source::new(line)))
            .count();
    }
    setter.join().unwrap();
    assert_eq!(lost, 0, "wake-ups lost in {ROUNDS} rounds");
}

/// Where two OS threads wait for each other: none goes on before the other is there.
struct Meeting {
    arrivals: AtomicU32,
}

impl Meeting {
    const fn new() -> Self {
        Self { arrivals: AtomicU32::new(0) }
    }

    /// The `number`-th time, counted from 1.
    fn meet(&self, number: u32) {
        self.arrivals.fetch_add(1, Ordering::AcqRel);
        let mut looks = 0;
        while self.arrivals.load(Ordering::Acquire) < 2 * number {
            looks += 1;
            if looks % 1_000 == 0 { thread::yield_now() } else { hint::spin_loop() }
        }
    }
}

/// A counter of 32 bits at 16 MHz, which begins anew every 268 seconds.
type Timer = Hostile<16_000_000, 32, 1>;

struct Mcu {
    lines: &'static Lines<1>,
    chip: Chip,
    clock: Clock<Timer>,
}

impl Mcu {
    fn new(seed: u64) -> Self {
        let chip = Chip::new(16_000_000, 32, 1, seed);
        let lines = Box::leak(Box::default());
        Self { lines, clock: Clock::new(Hostile(chip.clone())), chip }
    }
}

impl Board<1> for Mcu {
    const TICK_MICROS: u32 = Clock::<Timer>::TICK_MICROS;

    fn lines(&self) -> &'static Lines<1> {
        self.lines
    }

    fn now(&mut self) -> Instant {
        self.clock.now()
    }

    fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
        self.clock.sleep(until, is_awake, || {
            self.chip.sleep();
        });
        if self.chip.has_interrupt() {
            self.chip.take_interrupt();
            self.lines.set(Source::new(0));
        }
    }
}

/// What hooks saw: the time, and the chip's own.
struct App {
    chip: Chip,
    times: Vec<(Instant, u64)>,
}

impl App {
    fn on_interrupt(&mut self, mut thread: Thread<Self>) {
        self.times.push((thread.threads().now(), self.chip.micros()));
    }

    fn on_hour(&mut self, mut thread: Thread<Self>) {
        self.times.push((thread.threads().now(), self.chip.micros()));
        if self.times.len() < 5 {
            thread.again();
        }
    }
}

/// No timer is there, and the only interrupt comes after the counter has gone around some times: the time is right.
#[test]
fn r13_a_sleep_without_end_does_not_lose_a_turn_of_the_counter() {
    for turns in 1..20 {
        let mcu = Mcu::new(turns);
        let chip = mcu.chip.clone();
        chip.interrupt_in((turns << 32) - 10);
        let mut kpt = FixedLoop::<_, _, 1>::new(LinePoller::new(mcu));
        kpt.threads().add_read("line", Source::new(0), App::on_interrupt, ()).unwrap();
        let mut app = App { chip, times: Vec::new() };
        assert_eq!(kpt.run(&mut app), Ok(Exit::Empty));
        let (now, true_now) = app.times[0];
        // The counter is read some times before the hook runs, which takes time.
        let off = now.as_micros().abs_diff(true_now);
        assert!(off < 40, "{turns} turns: {now:?} is {true_now} us");
    }
}

/// Hours later, past 2^32 microseconds, a timer runs when it shall, to the microsecond.
#[test]
fn r13_timers_do_not_drift_when_the_counter_begins_anew() {
    for seed in 0..20 {
        let mcu = Mcu::new(seed);
        let chip = mcu.chip.clone();
        let mut kpt = FixedLoop::<_, _, 1>::new(LinePoller::new(mcu));
        let start = kpt.threads().now();
        kpt.threads().add_timer("hourly", Duration::from_secs(3_600), App::on_hour, ()).unwrap();
        let mut app = App { chip, times: Vec::new() };
        assert_eq!(kpt.run(&mut app), Ok(Exit::Empty));
        for (hour, (now, true_now)) in (1..).zip(app.times) {
            let due = start + hour * Duration::from_secs(3_600);
            let late = now.saturating_duration_since(due).as_micros();
            let off = now.as_micros().abs_diff(true_now);
            assert!(due <= now && late < 40 && off < 40, "seed {seed}: {due:?} {now:?} {true_now}");
        }
    }
}
