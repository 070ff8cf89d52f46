//! The node once more as it ran on another machine, from the tape that this one has left.

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use kpt_core::{FixedLoop, Instant, Source};
use kpt_std::tape::{self, Replay};

use crate::hooks::{Job, Machine, Node, THREADS};
use crate::taped::{Taped, Values};

/// As the firmware has them: when the node begins on its clock, and its lines.
const START: Instant = Instant::from_micros(1_000);
const BUTTON: Source = Source::new(0);
const CONSOLE: Source = Source::new(1);

pub fn run(path: &str) -> Result<(), Box<dyn Error>> {
    let replay = Replay::start(&std::fs::read(path)?)?;
    let poller = replay.poller_that_looks_after::<1>()?;
    let mut kpt = FixedLoop::<_, _, THREADS, Job>::new(poller);
    let mut node = Node::new(Taped { machine: Nothing, values: FromTape }, START);
    node.add_threads(kpt.threads())?;
    let exit = kpt.run(&mut node)?;
    eprintln!("replay: {exit} after {} hooks, {} entries are left", replay.hooks(), replay.left());
    Ok(())
}

/// The tape of this OS thread.
struct FromTape;

impl Values for FromTape {
    fn value(&mut self, name: u32, get: impl FnOnce() -> u64) -> u64 {
        tape::value(name, get)
    }
}

/// A machine of which there is the tape.
struct Nothing;

impl Machine for Nothing {
    fn button(&self) -> Source {
        BUTTON
    }

    fn console(&self) -> Source {
        CONSOLE
    }

    fn acknowledge(&mut self, _: Source) {}

    fn next_edge(&mut self) -> Option<Duration> {
        None
    }

    fn next_byte(&mut self) -> Option<u8> {
        None
    }

    fn read_sensor(&mut self) -> u16 {
        0
    }

    fn print(&mut self, text: &dyn Display) {
        eprintln!("{text}");
    }

    fn trace(&mut self, at: Duration, thread: &'static str, event: &'static str, value: u32) {
        println!("{} {thread} {event} {value}", at.as_micros());
    }
}
