//! A loop of kpt that sleeps by embassy's time driver, without an executor: 10,000 timers and interrupts, each a little after
//! the one before.
//!
//! There is one at a time, and its hook orders the next. So if the core slept in spite of one, nothing would wake it but the
//! driver's longest alarm, after most of a minute, and the lateness of the hook tells.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use cortex_m_rt::entry;
// Only for its feature.
use embassy_time_queue_utils as _;
use hosted_machine::clock::{self, Alarm};
use hosted_machine::{Interrupt, interrupt, time_driver};
use kpt_core::board::{Board, LinePoller, Lines};
use kpt_core::{Exit, FixedLoop, Instant, Source, Thread, Threads};
use kpt_on_embassy::{TICK_MICROS, now, sleep};

const EVENTS: u32 = 10_000;
/// The longest way to the next one: some ticks of the driver, and more than it takes from a hook into the sleep.
const MOST_MICROS: u32 = 200;
const CYCLES_EACH_MICRO: u32 = 25;
/// More than that, and shorter than the longest alarm.
const TOO_LATE_MICROS: u32 = 10_000;

const EDGE: Source = Source::new(0);
static LINES: Lines<1> = Lines::new();
/// When the interrupt came: the low 32 bits of the microseconds.
static EDGE_AT: AtomicU32 = AtomicU32::new(0);

type Kpt = FixedLoop<LinePoller<OnEmbassy, 1>, App, 2>;

#[entry]
fn main() -> ! {
    static mut KPT: Kpt = Kpt::new(LinePoller::new(OnEmbassy));
    time_driver::start();
    Interrupt::TIMER1.enable(0x80);

    let mut app = App { timers: 0, edges: 0, early: 0, latest: 0, random: Random(1) };
    KPT.threads().add_read("edge", EDGE, App::on_edge, ()).unwrap();
    app.order_next(KPT.threads());
    let Ok(exit) = KPT.run(&mut app);

    defmt::println!("{=u32} timers, {=u32} interrupts", app.timers, app.edges);
    defmt::println!("{=u32} early, at most {=u32} us late", app.early, app.latest);
    let is_in_time = app.early == 0 && app.latest < TOO_LATE_MICROS;
    hosted_machine::exit(exit == Exit::Stopped && is_in_time)
}

/// Lines, and clock and sleep of embassy.
struct OnEmbassy;

impl Board<1> for OnEmbassy {
    const TICK_MICROS: u32 = TICK_MICROS;

    fn lines(&self) -> &'static Lines<1> {
        &LINES
    }

    fn now(&mut self) -> Instant {
        now()
    }

    fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
        sleep(until, is_awake);
    }
}

/// What the hooks work on.
struct App {
    timers: u32,
    edges: u32,
    /// Timers whose hook ran before its deadline.
    early: u32,
    /// The most microseconds that a hook ran after its deadline or interrupt.
    latest: u32,
    random: Random,
}

impl App {
    fn on_timer(&mut self, thread: Thread<Self>) {
        let deadline = thread.deadline().unwrap().as_micros();
        self.early += u32::from(clock::micros() < deadline);
        self.timers += 1;
        self.note_late(deadline as u32);
        // Its slot is for the next one.
        let ((), threads) = thread.end();
        self.order_next(threads);
    }

    fn on_edge(&mut self, mut thread: Thread<Self>) {
        LINES.clear(EDGE);
        self.edges += 1;
        self.note_late(EDGE_AT.load(Ordering::Relaxed));
        self.order_next(thread.threads());
        thread.again();
    }

    fn note_late(&mut self, due: u32) {
        self.latest = self.latest.max((clock::micros() as u32).wrapping_sub(due));
    }

    fn order_next(&mut self, mut threads: Threads<'_, Self>) {
        let micros = self.random.below(MOST_MICROS);
        if self.timers + self.edges == EVENTS {
            threads.stop();
        } else if self.random.below(2) == 0 {
            Alarm::TIMER1.repeat(micros * CYCLES_EACH_MICRO);
        } else {
            let delay = Duration::from_micros(micros.into());
            threads.add_timer("timer", delay, Self::on_timer, ()).unwrap();
        }
    }
}

#[interrupt]
fn TIMER1() {
    Alarm::TIMER1.stop();
    EDGE_AT.store(clock::micros() as u32, Ordering::Relaxed);
    LINES.set(EDGE);
}

/// Marsaglia's xorshift of 32 bits.
struct Random(u32);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % bound
    }
}
