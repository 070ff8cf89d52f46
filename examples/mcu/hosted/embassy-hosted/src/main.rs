//! A loop of kpt as one task of embassy's executor, beside a task of embassy's own kind.
//!
//! The loop's part: [`poll`](kpt_core::FixedLoop::poll) runs what is ready and due, never sleeps, and says until when
//! nothing is to be done unless a line is set.
//!
//! The task's part: it polls, and waits for that moment or for `WAKE`, whichever is first. After a poll in which hooks have
//! run, other tasks have their turn.
//!
//! The others' part: whoever sets a line, or posts to a mailbox, signals `WAKE` after that. A signal is kept until it is
//! waited for. So a line that is set between the last look and the wait ends that wait at once.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use cortex_m_rt::entry;
use embassy_executor::Executor;
use embassy_futures::select::select;
use embassy_futures::yield_now;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::{Ticker, Timer};
use hosted_machine::clock::Alarm;
use hosted_machine::{Interrupt, interrupt, time_driver};
use kpt_core::board::{Board, LinePoller, Lines};
use kpt_core::{FixedLoop, Instant, Next, Source, Thread};
use kpt_on_embassy::{TICK_MICROS, now, ticks_at};

/// How often each side ticks, and how often the interrupt comes.
const EACH: u32 = 100;
const PERIOD_MILLIS: u32 = 10;
/// In the middle after the last tick.
const END: Duration = Duration::from_millis((EACH * PERIOD_MILLIS + PERIOD_MILLIS / 2) as u64);
/// Not in step with the ticks, and so that the last one comes before the end.
const EDGE_CYCLES: u32 = 9_700 * 25;

const EDGE: Source = Source::new(0);
static LINES: Lines<1> = Lines::new();

/// Signalled after a line is set.
static WAKE: Signal<CriticalSectionRawMutex, ()> = Signal::new();

static EMBASSY_TICKS: AtomicU32 = AtomicU32::new(0);
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

type Kpt = FixedLoop<LinePoller<OnEmbassy, 1>, App, 3>;

#[entry]
fn main() -> ! {
    static mut EXECUTOR: Option<Executor> = None;
    static mut KPT: Kpt = Kpt::new(LinePoller::new(OnEmbassy));
    time_driver::start();
    Interrupt::TIMER1.enable(0x80);
    Alarm::TIMER1.repeat(EDGE_CYCLES);
    EXECUTOR.insert(Executor::new()).run(|spawner| {
        spawner.spawn(run_kpt(KPT).unwrap());
        spawner.spawn(tick().unwrap());
    })
}

#[embassy_executor::task]
async fn run_kpt(kpt: &'static mut Kpt) {
    let mut app = App::default();
    app.add_threads(kpt);
    let mut polls = 0;
    loop {
        polls += 1;
        let Ok(next) = kpt.poll(&mut app);
        match next {
            Next::Again => yield_now().await,
            Next::Wait(until) => {
                let deadline = embassy_time::Instant::from_ticks(ticks_at(until));
                select(Timer::at(deadline), WAKE.wait()).await;
            }
            Next::Exit(_) => finish(&app, polls),
        }
    }
}

#[embassy_executor::task]
async fn tick() {
    let mut ticker = Ticker::every(embassy_time::Duration::from_millis(PERIOD_MILLIS.into()));
    loop {
        ticker.next().await;
        count(&EMBASSY_TICKS);
    }
}

#[interrupt]
fn TIMER1() {
    Alarm::TIMER1.acknowledge();
    if count(&INTERRUPTS) == EACH {
        Alarm::TIMER1.stop();
    }
    LINES.set(EDGE);
    WAKE.signal(());
}

fn count(events: &AtomicU32) -> u32 {
    events.fetch_add(1, Ordering::Relaxed) + 1
}

/// What the hooks work on.
#[derive(Default)]
struct App {
    ticks: u32,
    edges: u32,
    latest: Duration,
}

impl App {
    fn add_threads(&mut self, kpt: &mut Kpt) {
        let mut threads = kpt.threads();
        let period = Duration::from_millis(PERIOD_MILLIS.into());
        threads.add_timer("tick", period, Self::on_tick, ()).unwrap();
        threads.add_read("edge", EDGE, Self::on_edge, ()).unwrap();
        threads.add_timer("end", END, |_, mut thread| thread.threads().stop(), ()).unwrap();
    }

    fn on_tick(&mut self, mut thread: Thread<Self>) {
        let late = thread.threads().now().saturating_duration_since(thread.deadline().unwrap());
        self.latest = self.latest.max(late);
        self.ticks += 1;
        thread.again();
    }

    fn on_edge(&mut self, thread: Thread<Self>) {
        LINES.clear(EDGE);
        self.edges += 1;
        thread.again();
    }
}

/// Lines and a clock, for a loop that others wake.
struct OnEmbassy;

impl Board<1> for OnEmbassy {
    const TICK_MICROS: u32 = TICK_MICROS;

    fn lines(&self) -> &'static Lines<1> {
        &LINES
    }

    fn now(&mut self) -> Instant {
        now()
    }

    /// Never called: `poll` does not sleep.
    fn sleep(&mut self, _: Instant, _: &dyn Fn() -> bool) {}
}

/// Ends the program; fails unless everything was counted, and in few polls.
fn finish(app: &App, polls: u32) -> ! {
    let embassy_ticks = EMBASSY_TICKS.load(Ordering::Relaxed);
    defmt::println!("{=u32} ticks of embassy", embassy_ticks);
    let late = app.latest.as_micros() as u32;
    defmt::println!("{=u32} ticks of kpt at most {=u32} us late", app.ticks, late);
    let interrupts = INTERRUPTS.load(Ordering::Relaxed);
    defmt::println!("{=u32} of {=u32} interrupts, {=u32} polls", app.edges, interrupts, polls);
    let is_all = [embassy_ticks, app.ticks, app.edges, interrupts].iter().all(|&n| n == EACH);
    // Two for each event: one that calls its hook, and one after that. More by far would be waits that do not wait.
    hosted_machine::exit(is_all && polls < 3 * (EACH + EACH))
}
