//! Five hours in virtual time, past the moment at which 32 bits of microseconds are used up: a timer of one second comes
//! 18,000 times, each time at its moment and never early, whatever the width of the machine's counter.

#![no_std]
#![no_main]

use core::time::Duration;

use kpt_core::board::{Board, LinePoller, Lines};
use kpt_core::{Exit, FixedLoop, Instant, Thread};
use kpt_node::board::{self, Core};
use kpt_node::{Interrupt, entry, machine};
use static_cell::ConstStaticCell;

const PERIOD: Duration = Duration::from_secs(1);
const TICKS: u32 = 5 * 60 * 60;
/// A sleep ends within this time. QEMU may let its clock run on for as long as a sleep of its own takes.
const MOST_LATE: Duration = Duration::from_millis(1);

static LINES: Lines<1> = Lines::new();
static KPT: ConstStaticCell<FixedLoop<LinePoller<Bench, 1>, Hours, 1>> =
    ConstStaticCell::new(FixedLoop::new(LinePoller::new(Bench(Core::new()))));

#[entry]
fn main() -> ! {
    machine::start_clock();
    let kpt = KPT.take();
    let mut hours =
        Hours { start: Instant::ZERO, ticks: 0, is_right: true, latest: Duration::ZERO };
    let mut threads = kpt.threads();
    hours.start = threads.now() + PERIOD;
    threads.add("second", kpt_core::When::At(hours.start), Hours::on_second, ()).unwrap();
    let Ok(exit) = kpt.run(&mut hours);

    let seconds = kpt.threads().now().saturating_duration_since(hours.start).as_secs();
    defmt::println!(
        "{=u32} ticks in {=u64} s, at most {=u64} us late",
        hours.ticks,
        seconds,
        hours.latest.as_micros() as u64
    );
    let is_whole = hours.ticks == TICKS && seconds == u64::from(TICKS - 1);
    let is_past = u64::from(TICKS) * 1_000_000 > u64::from(u32::MAX);
    kpt_node::exit(exit == Exit::Empty && hours.is_right && is_whole && is_past)
}

struct Hours {
    /// When the first second is over.
    start: Instant,
    ticks: u32,
    is_right: bool,
    latest: Duration,
}

impl Hours {
    fn on_second(&mut self, mut thread: Thread<Self>) {
        let expected = self.start + PERIOD * self.ticks;
        let (deadline, now) = (thread.deadline(), thread.threads().now());
        let late = now.saturating_duration_since(expected);
        self.latest = self.latest.max(late);
        self.is_right &= deadline == Some(expected) && now >= expected && late <= MOST_LATE;
        self.ticks += 1;
        if self.ticks < TICKS {
            let _ = thread.again_when(kpt_core::When::At(expected + PERIOD));
        }
    }
}

struct Bench(Core);

impl Board<1> for Bench {
    const TICK_MICROS: u32 = board::TICK_MICROS;

    fn lines(&self) -> &'static Lines<1> {
        &LINES
    }

    fn now(&mut self) -> Instant {
        self.0.now()
    }

    fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
        self.0.sleep(until, is_awake);
    }
}

#[unsafe(no_mangle)]
fn on_interrupt(interrupt: Interrupt) {
    panic!("unexpected interrupt: {interrupt:?}");
}
