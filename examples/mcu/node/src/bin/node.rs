//! The sensor node of `examples/node` on a microcontroller without an operating system.
//!
//! Interrupts put what has happened into queues and set a line; hooks, the same as on Linux, take it out. When there is
//! nothing to do, the core sleeps.
//!
//! | file | what it has |
//! |---|---|
//! | this one | the loop in a static, interrupts, and what the hooks see of the machine |
//! | `board.rs` | clock and sleep on any Cortex-M |
//! | `mtime.rs` | the same on RISC-V |
//! | `arch/` | interrupts of both kinds of core |
//! | `machine/` | numbers and peripherals of each chip |
//! | `examples/node/hooks.rs` | the application |

#![no_std]
#![no_main]

#[path = "../../../../node/hooks.rs"]
mod hooks;
#[path = "../../../../node/script.rs"]
#[allow(dead_code, reason = "here somebody really types the command")]
mod script;

use core::cell::RefCell;
use core::fmt::{self, Display, Write};
use core::time::Duration;

use critical_section::Mutex;
use heapless::spsc::{Consumer, Producer, Queue};
use hooks::{Job, Machine, Node, SAMPLES, THREADS, WATCHDOG};
use kpt_core::{Board, Exit, FixedLoop, Instant, LinePoller, Lines, Source};
use kpt_node::board::{self, Clock, LONGEST};
use kpt_node::machine::{self, CYCLES, MICROS, console};
use kpt_node::{Interrupt, entry};
use static_cell::ConstStaticCell;

const BUTTON: Source = Source::new(0);
const CONSOLE: Source = Source::new(1);

/// When the first sample is due, on a clock that starts with the program.
const START: Instant = Instant::from_micros(1_000);

static LINES: Lines<2> = Lines::new();
static INTERRUPTS: Mutex<RefCell<Option<Interrupts>>> = Mutex::new(RefCell::new(None));

type Kpt = FixedLoop<LinePoller<Bench, 2>, Node<Mcu>, THREADS, Job>;

static KPT: ConstStaticCell<Kpt> = ConstStaticCell::new(Kpt::new(LinePoller::new(Bench::new())));
static EDGES: ConstStaticCell<Queue<Duration, 8>> = ConstStaticCell::new(Queue::new());
static BYTES: ConstStaticCell<Queue<u8, 16>> = ConstStaticCell::new(Queue::new());

#[entry]
fn main() -> ! {
    let kpt = KPT.take();
    let (edges_in, edges) = EDGES.take().split();
    let (bytes_in, bytes) = BYTES.take().split();
    let interrupts = Interrupts { edges: edges_in, edge_number: 0, bytes: bytes_in };
    critical_section::with(|cs| INTERRUPTS.replace(cs, Some(interrupts)));
    machine::BUTTON.enable();
    machine::CONSOLE.enable();
    console::start();
    board::start();

    let mut node = Node::new(Mcu { edges, bytes, received: 0, samples: 0 }, START);
    node.add_threads(kpt.threads()).unwrap();
    let Ok(exit) = kpt.run(&mut node);

    let (sleeps, needed) = (kpt.poller().board().sleeps(), sleeps_needed(node.machine.received));
    defmt::println!("slept {=u32} times, needed at most {=u32}", sleeps, needed);
    kpt_node::exit(exit == Exit::Stopped && sleeps <= needed)
}

/// One before each moment at which something happens, and one each time that the counter does not reach to the next.
fn sleeps_needed(bytes: u32) -> u32 {
    let longest = Duration::from_micros(LONGEST * MICROS / CYCLES);
    let interruptions = script::EDGES + bytes;
    let deadlines = SAMPLES + script::PRESSES + 1;
    interruptions + deadlines + (WATCHDOG.as_micros() / longest.as_micros()) as u32
}

/// The board, and somebody who presses its button when the script says so.
///
/// It hangs on the same counter as all else, and not on a timer of its own: QEMU's clock may jump too far while the core
/// sleeps (7.2, with `sleep=off`), and then two timers do not agree.
struct Bench {
    clock: Clock,
    edges: u32,
}

impl Bench {
    const fn new() -> Self {
        Self { clock: Clock::new(), edges: 0 }
    }

    fn sleeps(&self) -> u32 {
        self.clock.sleeps()
    }
}

impl Board<2> for Bench {
    fn lines(&self) -> &'static Lines<2> {
        &LINES
    }

    fn now(&mut self) -> Instant {
        self.clock.now()
    }

    fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
        let edge = script::edge(self.edges).map(|since_start| START + since_start);
        self.clock.sleep(edge.map_or(until, |edge| edge.min(until)), is_awake);
        if edge.is_some_and(|edge| edge <= self.clock.now()) {
            self.edges += 1;
            machine::BUTTON.pend();
        }
    }
}

/// The machine as the hooks see it: their side of the queues.
struct Mcu {
    edges: Consumer<'static, Duration>,
    bytes: Consumer<'static, u8>,
    /// How many bytes and samples have been taken.
    received: u32,
    samples: u32,
}

impl Machine for Mcu {
    fn button(&self) -> Source {
        BUTTON
    }

    fn console(&self) -> Source {
        CONSOLE
    }

    fn acknowledge(&mut self, line: Source) {
        LINES.clear(line);
    }

    fn next_edge(&mut self) -> Option<Duration> {
        self.edges.dequeue()
    }

    fn next_byte(&mut self) -> Option<u8> {
        let byte = self.bytes.dequeue()?;
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

/// The interrupts' side of the queues. Hooks take out what there is long before a queue is full.
struct Interrupts {
    edges: Producer<'static, Duration>,
    edge_number: u32,
    bytes: Producer<'static, u8>,
}

#[unsafe(no_mangle)]
fn on_interrupt(interrupt: Interrupt) {
    critical_section::with(|cs| {
        let mut interrupts = INTERRUPTS.borrow_ref_mut(cs);
        match (interrupts.as_mut(), interrupt) {
            (Some(interrupts), machine::BUTTON) => interrupts.on_edge(),
            (Some(interrupts), machine::CONSOLE) => interrupts.on_byte(),
            _ => panic!("nobody expects {interrupt:?}"),
        }
    });
}

impl Interrupts {
    /// A timer unit would have captured when the edge came; the script knows it.
    fn on_edge(&mut self) {
        if let Some(edge) = script::edge(self.edge_number) {
            let _ = self.edges.enqueue(edge);
        }
        self.edge_number += 1;
        LINES.set(BUTTON);
    }

    fn on_byte(&mut self) {
        console::acknowledge();
        while let Some(byte) = console::read() {
            let _ = self.bytes.enqueue(byte);
        }
        LINES.set(CONSOLE);
    }
}
