//! The node in virtual time: interrupts come when the script says, and 12 seconds take none.

use std::error::Error;
use std::fmt::Display;
use std::slice;
use std::time::Duration;

use kpt_core::sim::{SimPoller, World};
use kpt_core::{FixedLoop, Readiness, Source};

use crate::hooks::{Job, Machine, Node, THREADS};
use crate::script;

const BUTTON: Source = Source::new(0);
const CONSOLE: Source = Source::new(1);

pub fn run() -> Result<(), Box<dyn Error>> {
    let world = World::new();
    for edge in (0..).map_while(script::edge) {
        world.at(world.now() + edge, BUTTON, Readiness::READABLE)?;
    }
    world.at(world.now() + script::COMMAND_AT, CONSOLE, Readiness::READABLE)?;

    let mut kpt = FixedLoop::<_, _, THREADS, Job>::new(SimPoller::new(&world));
    let mut node = Node::new(Simulated::new(&world), world.now());
    node.add_threads(kpt.threads())?;
    kpt.run(&mut node)?;
    Ok(())
}

struct Simulated<'w> {
    world: &'w World,
    /// How many edges and samples have been taken.
    edges: u32,
    samples: u32,
    typed: slice::Iter<'static, u8>,
}

impl<'w> Simulated<'w> {
    fn new(world: &'w World) -> Self {
        Self { world, edges: 0, samples: 0, typed: script::COMMAND.iter() }
    }
}

impl Machine for Simulated<'_> {
    fn button(&self) -> Source {
        BUTTON
    }

    fn console(&self) -> Source {
        CONSOLE
    }

    fn acknowledge(&mut self, line: Source) {
        self.world.clear(line, Readiness::READABLE);
    }

    fn next_edge(&mut self) -> Option<Duration> {
        // The world began when the node did.
        let now = Duration::from_micros(self.world.now().as_micros());
        let edge = script::edge(self.edges).filter(|&edge| edge <= now)?;
        self.edges += 1;
        Some(edge)
    }

    fn next_byte(&mut self) -> Option<u8> {
        self.typed.next().copied()
    }

    fn read_sensor(&mut self) -> u16 {
        self.samples += 1;
        script::sensor(self.samples)
    }

    fn print(&mut self, text: &dyn Display) {
        eprintln!("{text}");
    }

    fn trace(&mut self, at: Duration, thread: &'static str, event: &'static str, value: u32) {
        println!("{} {thread} {event} {value}", at.as_micros());
    }
}
