//! A clock of microseconds that never goes back, and alarms, each an interrupt at a moment of that clock.

use core::cell::Cell;
use core::ptr;

use critical_section::Mutex;

const CYCLES_EACH_MICRO: u32 = 25;

/// The longest alarm in cycles. The clock has to be read before its counter has gone round, so a moment further away gets
/// an alarm in between.
const LONGEST: u32 = 1 << 30;

/// The first of the dual timer: 32 bits, downwards, round and round.
const COUNTER: usize = 0x4000_2000;
const COUNTER_VALUE: usize = 0x04;
const COUNTER_CONTROL: usize = 0x08;

const ALARM_CONTROL: usize = 0x0;
const ALARM_RELOAD: usize = 0x8;
const ALARM_CLEAR: usize = 0xC;

/// The time at the last reading.
#[derive(Clone, Copy)]
struct Time {
    counter: u32,
    micros: u64,
    /// Fewer than one microsecond has.
    cycles: u32,
}

static TIME: Mutex<Cell<Time>> =
    Mutex::new(Cell::new(Time { counter: u32::MAX, micros: 0, cycles: 0 }));

/// Starts the clock.
pub fn start() {
    write(COUNTER + COUNTER_CONTROL, 0b1000_0010); // On, 32 bits.
}

/// Microseconds since the start, rounded down.
pub fn micros() -> u64 {
    read_time().micros
}

fn read_time() -> Time {
    critical_section::with(|section| {
        let time = TIME.borrow(section);
        let last = time.get();
        let counter = read(COUNTER + COUNTER_VALUE);
        let cycles = last.cycles + last.counter.wrapping_sub(counter);
        let micros = last.micros + u64::from(cycles / CYCLES_EACH_MICRO);
        time.set(Time { counter, micros, cycles: cycles % CYCLES_EACH_MICRO });
        time.get()
    })
}

/// A timer, and the interrupt of the same name.
#[derive(Clone, Copy)]
pub struct Alarm {
    base: usize,
}

impl Alarm {
    pub const TIMER0: Self = Self { base: 0x4000_0000 };
    pub const TIMER1: Self = Self { base: 0x4000_1000 };

    /// Raises the interrupt at that microsecond: at once if it has passed, and after 42 seconds if it is later than that.
    pub fn set(self, at: u64) {
        // Between the reading and the setting nothing may come that takes time.
        critical_section::with(|_| {
            let now = read_time();
            let micros = at.saturating_sub(now.micros).min(u64::from(LONGEST / CYCLES_EACH_MICRO));
            self.repeat((micros as u32 * CYCLES_EACH_MICRO).saturating_sub(now.cycles));
        });
    }

    /// Raises the interrupt every `cycles` cycles.
    pub fn repeat(self, cycles: u32) {
        write(self.base + ALARM_RELOAD, cycles.max(1));
        write(self.base + ALARM_CONTROL, 0b1001); // On, with interrupts.
    }

    /// Takes the interrupt back, and raises it no more. The first thing that a handler does.
    pub fn stop(self) {
        write(self.base + ALARM_CONTROL, 0);
        self.acknowledge();
    }

    /// Takes the interrupt back. For the handler of one that repeats.
    pub fn acknowledge(self) {
        write(self.base + ALARM_CLEAR, 1);
    }
}

fn read(register: usize) -> u32 {
    // SAFETY: within this file, a register of a timer that is there, which is aligned.
    unsafe { ptr::read_volatile(ptr::without_provenance(register)) }
}

fn write(register: usize, value: u32) {
    // SAFETY: within this file, a register of a timer that is there, which is aligned and does not change memory.
    unsafe { ptr::write_volatile(ptr::without_provenance_mut(register), value) }
}
