//! The node with a tape: what its machine says goes on it, or comes from it.

use core::time::Duration;

use kpt_core::Source;

use crate::hooks::Machine;

/// What the machine is asked for: names on the tape.
const SENSOR: u32 = 1;
const EDGE: u32 = 2;
const BYTE: u32 = 3;

/// A tape of numbers.
pub trait Values {
    /// Puts the number that `get` returns on the tape; or returns the one on the tape, and does not call `get`.
    fn value(&mut self, name: u32, get: impl FnOnce() -> u64) -> u64;
}

/// A machine, and the tape of what it says.
pub struct Taped<M, V> {
    pub machine: M,
    pub values: V,
}

impl<M: Machine, V: Values> Machine for Taped<M, V> {
    fn button(&self) -> Source {
        self.machine.button()
    }

    fn console(&self) -> Source {
        self.machine.console()
    }

    fn acknowledge(&mut self, line: Source) {
        self.machine.acknowledge(line);
    }

    fn next_edge(&mut self) -> Option<Duration> {
        let Self { machine, values } = self;
        let micros = |edge: Duration| edge.as_micros() as u64;
        let edge = values.value(EDGE, || above_zero(machine.next_edge().map(micros)));
        edge.checked_sub(1).map(Duration::from_micros)
    }

    fn next_byte(&mut self) -> Option<u8> {
        let Self { machine, values } = self;
        let byte = values.value(BYTE, || above_zero(machine.next_byte().map(u64::from)));
        byte.checked_sub(1).map(|byte| byte as u8)
    }

    fn read_sensor(&mut self) -> u16 {
        let Self { machine, values } = self;
        values.value(SENSOR, || machine.read_sensor().into()) as u16
    }

    fn print(&mut self, text: &dyn core::fmt::Display) {
        self.machine.print(text);
    }

    fn trace(&mut self, at: Duration, thread: &'static str, event: &'static str, value: u32) {
        self.machine.trace(at, thread, event, value);
    }
}

/// 0 says that there is none.
fn above_zero(number: Option<u64>) -> u64 {
    number.map_or(0, |number| number + 1)
}
