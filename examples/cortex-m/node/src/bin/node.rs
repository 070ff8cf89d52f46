//! The sensor node of `examples/node` on a microcontroller without an operating system.

#![no_std]
#![no_main]

#[path = "../../../../node/hooks.rs"]
mod hooks;
#[path = "../../../../node/script.rs"]
mod script;

use core::cell::RefCell;
use core::fmt::{self, Display, Write};
use core::time::Duration;

use cortex_m_rt::{entry, exception};
use critical_section::Mutex;
use heapless::spsc::{Consumer, Producer, Queue};
use hooks::{Job, Machine, Node, SAMPLES, THREADS, WATCHDOG};
use kpt_core::{Exit, FixedLoop, LinePoller, Lines, Source};
use kpt_node::board::{self, LONGEST, SysTickBoard};
use kpt_node::machine::{self, ALARM, CYCLES, MICROS, console};

const BUTTON: Source = Source::new(0);
const CONSOLE: Source = Source::new(1);

static LINES: Lines<2> = Lines::new();
static INTERRUPTS: Mutex<RefCell<Option<Interrupts>>> = Mutex::new(RefCell::new(None));

type Kpt = FixedLoop<LinePoller<'static, SysTickBoard, 2>, Node<Mcu>, THREADS, Job>;

#[entry]
fn main() -> ! {
    static mut KPT: Kpt = Kpt::new(LinePoller::new(&LINES, SysTickBoard::new()));
    static mut EDGES: Queue<Duration, 8> = Queue::new();
    static mut BYTES: Queue<u8, 16> = Queue::new();

    let (edges_in, edges) = EDGES.split();
    let (bytes_in, bytes) = BYTES.split();
    let interrupts = Interrupts { edges: edges_in, edge_number: 0, bytes: bytes_in };
    critical_section::with(|cs| INTERRUPTS.replace(cs, Some(interrupts)));

    board::start();
    let mut node = Node::new(Mcu { edges, bytes, received: 0, samples: 0 }, KPT.threads().now());
    node.add_threads(KPT.threads()).unwrap();
    console::start();
    set_alarm_for_edge(0);
    for interrupt in [ALARM, machine::BUTTON, machine::CONSOLE] {
        interrupt.enable();
    }

    let Ok(exit) = KPT.run(&mut node);
    let sleeps = KPT.poller().board().sleeps();
    let allowed = most_sleeps(node.machine.received);
    defmt::println!("sleeps: {=u32} of at most {=u32}", sleeps, allowed);
    kpt_node::exit(exit == Exit::Stopped && sleeps <= allowed)
}

/// One for each moment at which something happens, and those in which the timer does not reach to the next one.
fn most_sleeps(bytes: u32) -> u32 {
    let longest = Duration::from_micros(LONGEST * MICROS / CYCLES);
    let in_parts = (WATCHDOG.as_micros() / longest.as_micros()) as u32;
    let watchdog = 1;
    SAMPLES + script::EDGES + script::PRESSES + bytes + watchdog + in_parts
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

/// The interrupts' side of the queues. Hooks take out what there is long before the queues are full.
struct Interrupts {
    edges: Producer<'static, Duration>,
    edge_number: u32,
    bytes: Producer<'static, u8>,
}

#[exception]
unsafe fn DefaultHandler(number: i16) {
    critical_section::with(|cs| {
        let mut interrupts = INTERRUPTS.borrow_ref_mut(cs);
        match interrupts.as_mut() {
            Some(_) if ALARM.is(number) => on_alarm(),
            Some(interrupts) if machine::BUTTON.is(number) => interrupts.on_button(),
            Some(interrupts) if machine::CONSOLE.is(number) => interrupts.on_byte(),
            _ => panic!("unexpected interrupt {number}"),
        }
    });
}

/// The button is simulated: when an edge is due, its interrupt comes.
fn on_alarm() {
    machine::acknowledge_alarm();
    machine::BUTTON.pend();
}

fn set_alarm_for_edge(number: u32) {
    let before = number.checked_sub(1).and_then(script::edge).unwrap_or_default();
    if let Some(edge) = script::edge(number) {
        machine::set_alarm(((edge - before).as_micros() as u64 * CYCLES / MICROS) as u32);
    }
}

impl Interrupts {
    /// A timer unit would have captured the moment of the edge; the script knows it.
    fn on_button(&mut self) {
        if let Some(edge) = script::edge(self.edge_number) {
            let _ = self.edges.enqueue(edge);
            LINES.set(BUTTON);
        }
        self.edge_number += 1;
        set_alarm_for_edge(self.edge_number);
    }

    fn on_byte(&mut self) {
        console::acknowledge();
        while let Some(byte) = console::read() {
            let _ = self.bytes.enqueue(byte);
            LINES.set(CONSOLE);
        }
    }
}
