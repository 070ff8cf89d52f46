//! The low loop, in `main`: it computes for 20 of each 25 ms, and sleeps for the rest.

use core::hint::black_box;
use core::sync::atomic::Ordering;
use core::time::Duration;

use hosted_machine::clock::{self, Alarm};
use hosted_machine::{Interrupt, interrupt, wait_for_interrupt};
use kpt_core::board::{Board, Buffer, LinePoller, Lines, Mailbox};
use kpt_core::{FixedLoop, Instant, Source, Thread};

use crate::high::{self, Report};

const PERIOD: Duration = Duration::from_millis(25);
const SLICE_MICROS: u64 = 20_000;

/// Wakes the loop for a deadline.
pub const INTERRUPT: Interrupt = Interrupt::TIMER1;
const ALARM: Alarm = Alarm::TIMER1;

static LINES: Lines<1> = Lines::new();
static REPORT: Buffer<Report, 1> = Buffer::new();

/// From the high loop.
pub static REPORTS: Mailbox<Report, 1> = Mailbox::new(&LINES, Source::new(0), &REPORT);

type Kpt = FixedLoop<LinePoller<Sleeping, 1>, Low, 2>;

/// What the hooks work on.
#[derive(Default)]
pub struct Low {
    pub slices: u32,
    /// How many of the slices' requests were answered before the slice was over.
    pub answered: u32,
    report: Option<Report>,
}

/// Returns what the high loop has reported, and what this one has done.
pub fn run() -> (Report, Low) {
    let mut low = Low::default();
    let mut kpt = Kpt::new(LinePoller::new(Sleeping));
    let mut threads = kpt.threads();
    threads.add_timer("slice", PERIOD, Low::on_slice, ()).unwrap();
    threads.add_read("report", REPORTS.source(), Low::on_report, ()).unwrap();
    let Ok(_) = kpt.run(&mut low);
    (low.report.take().unwrap(), low)
}

impl Low {
    fn on_slice(&mut self, thread: Thread<Self>) {
        let start = clock::micros();
        compute_until(start + SLICE_MICROS / 2);
        let answers = high::ANSWERS.load(Ordering::Relaxed);
        high::request();
        compute_until(start + SLICE_MICROS);
        self.answered += high::ANSWERS.load(Ordering::Relaxed) - answers;
        self.slices += 1;
        thread.again();
    }

    fn on_report(&mut self, mut thread: Thread<Self>) {
        self.report = REPORTS.take();
        thread.threads().stop();
    }
}

fn compute_until(end: u64) {
    let mut random = 1_u32;
    while clock::micros() < end {
        for _ in 0..1_000 {
            random = black_box(random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        }
    }
}

/// Sleeps by itself, as a loop that is alone on its machine does. It does not notice that hooks of the high loop run
/// meanwhile.
struct Sleeping;

impl Board<1> for Sleeping {
    const TICK_MICROS: u32 = 1;

    fn lines(&self) -> &'static Lines<1> {
        &LINES
    }

    fn now(&mut self) -> Instant {
        Instant::from_micros(clock::micros())
    }

    fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
        cortex_m::interrupt::free(|_| {
            if !is_awake() {
                ALARM.set(until.as_micros());
                wait_for_interrupt();
            }
        });
    }
}

#[interrupt]
fn TIMER1() {
    ALARM.stop();
}
