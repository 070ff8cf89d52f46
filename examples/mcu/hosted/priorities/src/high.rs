//! The high loop, in the handler of its alarm: a timer of 1 ms, and requests, which are to be answered at once.

use core::mem;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use hosted_machine::clock::{self, Alarm};
use hosted_machine::{Interrupt, interrupt};
use kpt_core::board::{Board, LinePoller, Lines};
use kpt_core::{FixedLoop, Instant, Next, Source, Thread, Threads};

use crate::low;

/// After that many ticks the loop reports.
pub const TICKS: u32 = 2_000;
const PERIOD: Duration = Duration::from_millis(1);

/// Where the loop lives.
pub const INTERRUPT: Interrupt = Interrupt::TIMER0;
const ALARM: Alarm = Alarm::TIMER0;

const REQUEST: Source = Source::new(0);
static LINES: Lines<1> = Lines::new();

/// When the request was made: the low 32 bits of the microseconds.
static REQUESTED_AT: AtomicU32 = AtomicU32::new(0);

/// How many requests have been answered.
pub static ANSWERS: AtomicU32 = AtomicU32::new(0);

#[interrupt]
fn TIMER0() {
    static mut KPT: FixedLoop<LinePoller<Hosted, 1>, High, 2> =
        FixedLoop::new(LinePoller::new(Hosted));
    static mut HIGH: High = High::new();
    static mut IS_STARTED: bool = false;

    ALARM.stop();
    if !mem::replace(IS_STARTED, true) {
        HIGH.add_threads(KPT.threads());
    }
    loop {
        let Ok(next) = KPT.poll(HIGH);
        match next {
            Next::Again => {}
            Next::Wait(until) => return ALARM.set(until.as_micros()),
            Next::Exit(_) => return,
        }
    }
}

/// Asks for an answer, from any context.
pub fn request() {
    REQUESTED_AT.store(clock::micros() as u32, Ordering::Relaxed);
    LINES.set(REQUEST);
    INTERRUPT.pend();
}

/// Lines and a clock, for a loop that others wake.
struct Hosted;

impl Board<1> for Hosted {
    const TICK_MICROS: u32 = 1;

    fn lines(&self) -> &'static Lines<1> {
        &LINES
    }

    fn now(&mut self) -> Instant {
        Instant::from_micros(clock::micros())
    }

    /// Never called: `poll` does not sleep.
    fn sleep(&mut self, _: Instant, _: &dyn Fn() -> bool) {}
}

/// What the hooks work on.
struct High {
    report: Report,
}

/// What has happened, for the low loop.
#[derive(Clone, Copy)]
pub struct Report {
    pub ticks: u32,
    /// The most microseconds after a deadline that its hook ran.
    pub latest_tick: u32,
    pub requests: u32,
    /// The most microseconds after a request that its hook ran.
    pub latest_request: u32,
}

impl High {
    const fn new() -> Self {
        Self { report: Report { ticks: 0, latest_tick: 0, requests: 0, latest_request: 0 } }
    }

    fn add_threads(&mut self, mut threads: Threads<'_, Self>) {
        threads.add_timer("tick", PERIOD, Self::on_tick, ()).unwrap();
        threads.add_read("request", REQUEST, Self::on_request, ()).unwrap();
    }

    fn on_tick(&mut self, mut thread: Thread<Self>) {
        let now = thread.threads().now();
        let late = now.saturating_duration_since(thread.deadline().unwrap());
        self.report.latest_tick = self.report.latest_tick.max(late.as_micros() as u32);
        self.report.ticks += 1;
        if self.report.ticks < TICKS {
            thread.again();
        } else {
            let _ = low::REPORTS.post(self.report);
        }
    }

    fn on_request(&mut self, thread: Thread<Self>) {
        LINES.clear(REQUEST);
        let late = (clock::micros() as u32).wrapping_sub(REQUESTED_AT.load(Ordering::Relaxed));
        self.report.latest_request = self.report.latest_request.max(late);
        self.report.requests += 1;
        ANSWERS.store(self.report.requests, Ordering::Relaxed);
        thread.again();
    }
}
