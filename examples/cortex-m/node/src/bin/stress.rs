//! No interrupt is lost on the way into a sleep: 100,000 of them, at the worst moments, are counted by hooks.
//!
//! One comes from a timer, some cycles after its hook has run: anywhere between there and the sleep. The other one is
//! pended by software, right before the sleep and between its last look at the lines and the sleep itself. Each comes
//! again only when its hook has counted it, so if one were lost, there would be no more of its kind, and the loop would
//! sleep until a thread finds that out.

#![no_std]
#![no_main]

use core::cell::RefCell;
use core::time::Duration;

use cortex_m_rt::{entry, exception};
use critical_section::Mutex;
use heapless::spsc::{Consumer, Producer, Queue};
use kpt_core::{Board, Exit, FixedLoop, Instant, LinePoller, Lines, Source, Thread};
use kpt_node::board::{self, SysTickBoard};
use kpt_node::machine::{self, BUTTON};

const INTERRUPTS: u32 = 100_000;
/// No hook and no sleep lasts so long.
const CHECK_PERIOD: Duration = Duration::from_secs(1);
/// More than it takes from a hook into the sleep.
const MOST_ALARM_CYCLES: u32 = 2_000;

/// The lines, and the places in arrays.
const TIMER: usize = 0;
const SOFTWARE: usize = 1;

static LINES: Lines<2> = Lines::new();
static RAISED: Mutex<RefCell<Option<[Raised; 2]>>> = Mutex::new(RefCell::new(None));

type Kpt = FixedLoop<LinePoller<'static, Bench, 2>, Counter, 3, usize>;

#[entry]
fn main() -> ! {
    static mut KPT: Kpt = Kpt::new(LinePoller::new(&LINES, Bench::new()));
    static mut QUEUES: [Queue<u32, 4>; 2] = [const { Queue::new() }; 2];

    let [timer, software] = QUEUES.each_mut().map(Queue::split);
    let raised = [timer.0, software.0].map(|queue| Raised { queue, count: 0 });
    critical_section::with(|cs| RAISED.replace(cs, Some(raised)));
    machine::ALARM.enable();
    BUTTON.enable();
    board::start();

    let mut threads = KPT.threads();
    for (name, line) in [("timer", TIMER), ("software", SOFTWARE)] {
        let source = Source::new(line as u32);
        threads.add_read(name, source, Counter::on_interrupt, line).unwrap();
    }
    threads.add_timer("check", CHECK_PERIOD, Counter::on_check, 0).unwrap();
    machine::set_alarm(MOST_ALARM_CYCLES);

    let mut counter = Counter::new([timer.1, software.1]);
    let exit = KPT.run(&mut counter);
    let bench = KPT.poller().board();
    defmt::println!(
        "{=u32} from the timer, {=u32} by software, slept {=u32} times, did not sleep {=u32} times",
        counter.counts[TIMER],
        counter.counts[SOFTWARE],
        bench.board.sleeps(),
        bench.questions - bench.board.sleeps()
    );
    kpt_node::exit(exit == Ok(Exit::Stopped) && !counter.has_lost)
}

/// The hooks' side.
struct Counter {
    queues: [Consumer<'static, u32>; 2],
    counts: [u32; 2],
    /// What the counts were at the last check.
    checked: [u32; 2],
    has_lost: bool,
    random: Random,
}

impl Counter {
    fn new(queues: [Consumer<'static, u32>; 2]) -> Self {
        Self { queues, counts: [0; 2], checked: [0; 2], has_lost: false, random: Random::new(1) }
    }

    fn on_interrupt(&mut self, mut thread: Thread<Self, usize>) {
        let line = thread.arg;
        LINES.clear(Source::new(line as u32));
        while let Some(number) = self.queues[line].dequeue() {
            self.counts[line] += 1;
            self.has_lost |= number != self.counts[line];
            if line == TIMER {
                machine::set_alarm(self.random.below(MOST_ALARM_CYCLES));
            }
        }
        if self.has_lost || self.counts.iter().sum::<u32>() >= INTERRUPTS {
            thread.threads().stop();
        }
        thread.again();
    }

    fn on_check(&mut self, mut thread: Thread<Self, usize>) {
        let [timer, software] =
            [TIMER, SOFTWARE].map(|line| self.counts[line] == self.checked[line]);
        if timer || software {
            self.has_lost = true;
            thread.threads().stop();
        }
        self.checked = self.counts;
        thread.again();
    }
}

/// The board, and somebody who raises an interrupt around each sleep.
struct Bench {
    board: SysTickBoard,
    questions: u32,
    random: Random,
}

impl Bench {
    const fn new() -> Self {
        Self { board: SysTickBoard::new(), questions: 0, random: Random::new(2) }
    }
}

impl Board for Bench {
    fn now(&mut self) -> Instant {
        self.board.now()
    }

    fn sleep(&mut self, until: Option<Instant>, is_awake: &dyn Fn() -> bool) {
        self.questions += 1;
        let choice = self.random.below(3);
        if choice == 1 {
            BUTTON.pend();
        }
        self.board.sleep(until, &|| {
            let is_awake = is_awake();
            if choice == 2 && !is_awake {
                BUTTON.pend();
            }
            is_awake
        });
    }
}

/// The interrupts' side.
struct Raised {
    queue: Producer<'static, u32>,
    count: u32,
}

#[exception]
unsafe fn DefaultHandler(number: i16) {
    let line = if machine::ALARM.is(number) {
        machine::acknowledge_alarm();
        TIMER
    } else {
        SOFTWARE
    };
    critical_section::with(|cs| {
        if let Some(raised) = RAISED.borrow_ref_mut(cs).as_mut() {
            raised[line].count += 1;
            let _ = raised[line].queue.enqueue(raised[line].count);
        }
    });
    LINES.set(Source::new(line as u32));
}

/// Marsaglia's xorshift of 32 bits.
struct Random(u32);

impl Random {
    const fn new(seed: u32) -> Self {
        Self(seed)
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % bound
    }
}
