//! A sensor node in virtual time or on Linux. `examples/mcu/node` has the same hooks on microcontrollers.

#![forbid(unsafe_code)]

use std::error::Error;

use kpt_examples::Args;

mod hooks;
mod replayed;
mod script;
mod simulated;
mod taped;
mod terminals;

const HELP: &str = "
Samples a sensor every 10 ms for 10 s, has ten samples at a time filtered,
encoded and published by execute threads, debounces a button, and listens to a
console. Ends when a watchdog has seen no sample for 2 s.

Prints what the threads did: the microseconds from the start to the moment at
which it was due, thread, event, value. Each thread says the same on every
machine. What the console prints goes to the standard error.

Usage: node [options]
    --on WORLD     'sim': virtual time and a script of interrupts (the default);
                   'select': real time, and pseudo terminals at which you type
    --replay FILE  runs it once more as a microcontroller did, from the ring
                   that its memory has kept over a reset";

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new(HELP);
    let world = args.word("--on", &["sim", "select"]);
    let tape = args.text("--replay");
    args.finish();
    match (tape, world) {
        (Some(path), _) => replayed::run(&path),
        (None, "select") => terminals::run(),
        (None, _) => simulated::run(),
    }
}
