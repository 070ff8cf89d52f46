//! No interrupt is lost on the way into a sleep: 100,000 of them, at the worst moments, are counted by a hook.
//!
//! There is one at a time; the hook orders the next. So if the core slept in spite of one, nothing would wake it but the
//! counter, after most of a second, and the length of the sleep tells.

#![no_std]
#![no_main]

use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use critical_section::Mutex;
use heapless::spsc::{Consumer, Producer, Queue};
use kpt_core::board::{Board, LinePoller, Lines};
use kpt_core::{Exit, FixedLoop, Instant, Source, Thread};
use kpt_node::board::{self, Core};
use kpt_node::machine::{self, ALARM, BUTTON};
use kpt_node::{Interrupt, entry};
use static_cell::ConstStaticCell;

const INTERRUPTS: u32 = 100_000;
/// Longer than any alarm, shorter than what the counter counts.
const TOO_LONG: Duration = Duration::from_millis(10);
/// More than it takes from the hook into the sleep.
const MOST_ALARM_CYCLES: u32 = 2_000;

/// When the next interrupt comes: from a timer, so many cycles after the hook that the loop may be anywhere; before the
/// sleep; or between the last look at the line and the sleep.
const ANY_TIME: u32 = 0;
const BEFORE_SLEEP: u32 = 1;
const AFTER_LOOK: u32 = 2;

const LINE: Source = Source::new(0);
static LINES: Lines<1> = Lines::new();
static NEXT: AtomicU32 = AtomicU32::new(ANY_TIME);
static RAISED: Mutex<RefCell<Option<Raised>>> = Mutex::new(RefCell::new(None));

type Kpt = FixedLoop<LinePoller<Bench, 1>, Counter, 1>;

static KPT: ConstStaticCell<Kpt> = ConstStaticCell::new(Kpt::new(LinePoller::new(Bench::new())));
static QUEUE: ConstStaticCell<Queue<u32, 2>> = ConstStaticCell::new(Queue::new());

#[entry]
fn main() -> ! {
    let kpt = KPT.take();
    let (producer, consumer) = QUEUE.take().split();
    let raised = Raised { queue: producer, count: 0 };
    critical_section::with(|cs| RAISED.replace(cs, Some(raised)));
    ALARM.enable();
    BUTTON.enable();
    machine::start_clock();

    let mut counter = Counter::new(consumer);
    kpt.threads().add_read("counter", LINE, Counter::on_interrupt, ()).unwrap();
    machine::set_alarm(MOST_ALARM_CYCLES);
    let Ok(exit) = kpt.run(&mut counter);

    let [timer, before, after] = counter.counts;
    defmt::println!(
        "{=u32} interrupts at any time, {=u32} before a sleep, {=u32} after the last look",
        timer,
        before,
        after
    );
    let Bench { core, looks, longest } = kpt.poller().board();
    let micros = longest.as_micros() as u32;
    defmt::println!("slept {=u32} times of {=u32}, up to {=u32} us", core.sleeps(), looks, micros);
    kpt_node::exit(exit == Exit::Stopped && counter.is_right && *longest < TOO_LONG)
}

/// The hook's side.
struct Counter {
    queue: Consumer<'static, u32>,
    /// How many interrupts have come, and of those, how many at which moment.
    count: u32,
    counts: [u32; 3],
    is_right: bool,
    random: Random,
}

impl Counter {
    fn new(queue: Consumer<'static, u32>) -> Self {
        Self { queue, count: 0, counts: [0; 3], is_right: true, random: Random(1) }
    }

    fn on_interrupt(&mut self, mut thread: Thread<Self>) {
        LINES.clear(LINE);
        while let Some(number) = self.queue.dequeue() {
            self.count += 1;
            self.is_right &= number == self.count;
            self.order_next();
        }
        if self.count == INTERRUPTS {
            thread.threads().stop();
        }
        thread.again();
    }

    fn order_next(&mut self) {
        let next = self.random.below(3);
        self.counts[next as usize] += 1;
        NEXT.store(next, Ordering::Relaxed);
        if next == ANY_TIME {
            machine::set_alarm(self.random.below(MOST_ALARM_CYCLES));
        }
    }
}

/// The board, and the tester, which raises an interrupt around the sleep.
struct Bench {
    core: Core,
    looks: u32,
    longest: Duration,
}

impl Bench {
    const fn new() -> Self {
        Self { core: Core::new(), looks: 0, longest: Duration::ZERO }
    }
}

impl Board<1> for Bench {
    const TICK_MICROS: u32 = board::TICK_MICROS;

    fn lines(&self) -> &'static Lines<1> {
        &LINES
    }

    fn now(&mut self) -> Instant {
        self.core.now()
    }

    fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
        let before = self.now();
        self.looks += 1;
        pend_if_next(BEFORE_SLEEP);
        self.core.sleep(until, &|| {
            let is_awake = is_awake();
            pend_if_next(AFTER_LOOK);
            is_awake
        });
        self.longest = self.longest.max(self.now().saturating_duration_since(before));
    }
}

fn pend_if_next(moment: u32) {
    if NEXT.load(Ordering::Relaxed) == moment {
        NEXT.store(ANY_TIME, Ordering::Relaxed);
        BUTTON.pend();
    }
}

/// The interrupts' side.
struct Raised {
    queue: Producer<'static, u32>,
    count: u32,
}

#[unsafe(no_mangle)]
fn on_interrupt(interrupt: Interrupt) {
    if interrupt == ALARM {
        machine::acknowledge_alarm();
    }
    critical_section::with(|cs| {
        if let Some(raised) = RAISED.borrow_ref_mut(cs).as_mut() {
            raised.count += 1;
            let _ = raised.queue.enqueue(raised.count);
        }
    });
    LINES.set(LINE);
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
