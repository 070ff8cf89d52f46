//! The sensor node of `examples/node` on a microcontroller without an operating system.
//!
//! Interrupts post what has happened to mailboxes; hooks, the same as on Linux, take it out. When there is nothing to
//! do, the core sleeps. All that enters is on a tape, in memory that a reset keeps: after its run the node resets the
//! machine, finds the tape, and hands it over.
//!
//! | file | what it has |
//! |---|---|
//! | this one | the loop in a static, interrupts, and what the hooks see of the machine |
//! | `board.rs` | clock and sleep on the machine's timer |
//! | `arch/` | interrupts of both kinds of core |
//! | `machine/` | numbers and peripherals of each chip |
//! | `examples/node/hooks.rs` | the application |

#![no_std]
#![no_main]

#[path = "../../../../node/hooks.rs"]
mod hooks;
#[path = "../../../../node/script.rs"]
#[allow(dead_code, reason = "here the command is really typed")]
mod script;
#[path = "../../../../node/taped.rs"]
mod taped;

use core::cell::RefCell;
use core::fmt::{self, Display, Write};
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use hooks::{Job, Machine, Node, SAMPLES, THREADS, WATCHDOG};
use kpt_core::board::{Board, Buffer, LinePoller, Lines, Mailbox};
use kpt_core::tape::{Recorder, Ring, Tape};
use kpt_core::{Exit, FixedLoop, Instant, Source};
use kpt_node::board::{self, Core, LONGEST_SLEEP};
use kpt_node::machine::{self, console};
use kpt_node::{Interrupt, entry, retained};
use static_cell::StaticCell;
use taped::{Taped, Values};

/// When the first sample is due, on a clock that starts with the program.
const START: Instant = Instant::from_micros(1_000);

static LINES: Lines<2> = Lines::new();

/// When edges of the button came. Hooks empty a mailbox long before it is full.
static EDGES: Mailbox<Duration, 8> = Mailbox::new(&LINES, Source::new(0), &EDGES_BUFFER);
static EDGES_BUFFER: Buffer<Duration, 8> = Buffer::new();

/// What was typed at the console.
static BYTES: Mailbox<u8, 16> = Mailbox::new(&LINES, Source::new(1), &BYTES_BUFFER);
static BYTES_BUFFER: Buffer<u8, 16> = Buffer::new();

/// The recorder puts on it what enters the loop, and the machine what it says.
type SharedRing = RefCell<Ring<&'static [AtomicU32]>>;
type Kpt = FixedLoop<
    Recorder<LinePoller<Bench, 2>, &'static SharedRing>,
    Node<Taped<Mcu, OnTape>>,
    THREADS,
    Job,
>;

static TAPE: StaticCell<SharedRing> = StaticCell::new();
static KPT: StaticCell<Kpt> = StaticCell::new();

#[entry]
fn main() -> ! {
    if retained::has_ring() {
        kpt_node::exit(retained::dump_ring().is_ok());
    }
    let tape: &SharedRing = TAPE.init(RefCell::new(Ring::new(retained::memory())));
    let poller = Recorder::new(LinePoller::new(Bench::new()), tape);
    let kpt = KPT.init(Kpt::new(poller));
    machine::BUTTON.enable();
    machine::CONSOLE.enable();
    console::start();
    machine::start_clock();

    let machine = Mcu { received: 0, samples: 0 };
    let mut node = Node::new(Taped { machine, values: OnTape(tape) }, START);
    node.add_threads(kpt.threads()).unwrap();
    let Ok(exit) = kpt.run(&mut node);

    let sleeps = kpt.poller().inner().board().sleeps();
    let needed = sleeps_needed(node.machine.machine.received);
    defmt::println!("slept {=u32} times, needed at most {=u32}", sleeps, needed);
    if exit != Exit::Stopped || sleeps > needed {
        kpt_node::exit(false);
    }
    kpt_node::reset()
}

struct OnTape(&'static SharedRing);

impl Values for OnTape {
    fn value(&mut self, name: u32, get: impl FnOnce() -> u64) -> u64 {
        self.0.value(name, get())
    }
}

/// One before each moment at which something happens, and one each time that the counter does not reach to the next.
fn sleeps_needed(bytes: u32) -> u32 {
    let interruptions = script::EDGES + bytes;
    let deadlines = SAMPLES + script::PRESSES + 1;
    interruptions + deadlines + (WATCHDOG.as_micros() / LONGEST_SLEEP.as_micros()) as u32
}

/// The board, and the script, which presses its button.
///
/// It hangs on the same counter as all else, and not on a timer of its own: QEMU's clock may jump too far while the core
/// sleeps (7.2, with `sleep=off`), and then two timers do not agree.
struct Bench {
    core: Core,
    edges: u32,
}

impl Bench {
    const fn new() -> Self {
        Self { core: Core::new(), edges: 0 }
    }

    fn sleeps(&self) -> u32 {
        self.core.sleeps()
    }
}

impl Board<2> for Bench {
    const TICK_MICROS: u32 = board::TICK_MICROS;

    fn lines(&self) -> &'static Lines<2> {
        &LINES
    }

    fn now(&mut self) -> Instant {
        self.core.now()
    }

    fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
        let edge = script::edge(self.edges).map(|since_start| START + since_start);
        self.core.sleep(edge.map_or(until, |edge| edge.min(until)), is_awake);
        if edge.is_some_and(|edge| edge <= self.core.now()) {
            self.edges += 1;
            machine::BUTTON.pend();
        }
    }
}

/// The machine as the hooks see it.
struct Mcu {
    /// How many bytes and samples have been taken.
    received: u32,
    samples: u32,
}

impl Machine for Mcu {
    fn button(&self) -> Source {
        EDGES.source()
    }

    fn console(&self) -> Source {
        BYTES.source()
    }

    /// A mailbox lowers its line by itself.
    fn acknowledge(&mut self, _line: Source) {}

    fn next_edge(&mut self) -> Option<Duration> {
        EDGES.take()
    }

    fn next_byte(&mut self) -> Option<u8> {
        let byte = BYTES.take()?;
        self.received += 1;
        Some(byte)
    }

    fn read_sensor(&mut self) -> u16 {
        self.samples += 1;
        script::sensor(self.samples)
    }

    fn print(&mut self, text: &dyn Display) {
        let _ = writeln!(Uart, "{text}");
    }

    fn trace(&mut self, at: Duration, thread: &'static str, event: &'static str, value: u32) {
        defmt::println!("{=u64} {=str} {=str} {=u32}", at.as_micros() as u64, thread, event, value);
    }
}

struct Uart;

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(console::write);
        Ok(())
    }
}

#[unsafe(no_mangle)]
fn on_interrupt(interrupt: Interrupt) {
    match interrupt {
        machine::BUTTON => on_edge(),
        machine::CONSOLE => on_byte(),
        _ => panic!("unexpected interrupt: {interrupt:?}"),
    }
}

/// A timer unit would have captured when the edge came; the script knows it.
fn on_edge() {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.load(Ordering::Relaxed);
    NUMBER.store(number + 1, Ordering::Relaxed);
    if let Some(edge) = script::edge(number) {
        let _ = EDGES.post(edge);
    }
}

fn on_byte() {
    console::acknowledge();
    while let Some(byte) = console::read() {
        let _ = BYTES.post(byte);
    }
}
