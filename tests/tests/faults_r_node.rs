//! Fault R39, of an example: a loop that is late loses nothing that has happened at its time.

use std::cell::RefCell;
use std::fmt::Display;
use std::slice;
use std::time::Duration;

use kpt_core::sim::{SimPoller, World};
use kpt_core::{Exit, FixedLoop, Readiness, Source, Thread, When};

#[path = "../../examples/node/hooks.rs"]
#[allow(dead_code)]
mod hooks;

use hooks::{Job, Machine, Node, SAMPLES, THREADS};

const BUTTON: Source = Source::new(0);
const CONSOLE: Source = Source::new(1);

const MILLI: Duration = Duration::from_millis(1);

/// What a thread did, and when it should have.
type Line = (Duration, &'static str, &'static str, u32);

struct Board<'w> {
    world: &'w World,
    edges: slice::Iter<'w, Duration>,
    trace: &'w RefCell<Vec<Line>>,
    /// How long the busy hook takes.
    late: Duration,
}

impl Machine for Board<'_> {
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
        let now = Duration::from_micros(self.world.now().as_micros());
        let next = *self.edges.as_slice().first()?;
        (next <= now).then(|| self.edges.next())?.copied()
    }

    fn next_byte(&mut self) -> Option<u8> {
        None
    }

    fn read_sensor(&mut self) -> u16 {
        0
    }

    fn print(&mut self, _: &dyn Display) {}

    fn trace(&mut self, at: Duration, thread: &'static str, event: &'static str, value: u32) {
        self.trace.borrow_mut().push((at, thread, event, value));
    }
}

/// What the button and its debounce timer do with three presses, 20 ms apart, where a hook takes `late` from `from` on.
fn presses(from: Duration, late: Duration) -> Vec<Line> {
    let world = World::new();
    let trace = RefCell::default();
    let micros = [20_300, 20_900, 40_300, 60_300, 60_900, 61_500];
    let edges = micros.map(Duration::from_micros);
    for edge in edges {
        world.at(world.now() + edge, BUTTON, Readiness::READABLE).expect("room");
    }
    let mut kpt = FixedLoop::<_, _, { THREADS + 1 }, Job>::new(SimPoller::new(&world));
    let board = Board { world: &world, edges: edges.iter(), trace: &trace, late };
    let mut node = Node::new(board, world.now());
    node.add_threads(kpt.threads()).expect("room");
    let busy = |node: &mut Node<Board>, _: Thread<Node<Board>, Job>| {
        node.machine.world.advance(node.machine.late);
    };
    let when = When::At(world.now() + from);
    kpt.threads().add("busy", when, busy, Job::default()).expect("room");
    assert_eq!(kpt.run(&mut node), Ok(Exit::Stopped));
    let trace = trace.take();
    assert_eq!(trace.iter().filter(|line| line.2 == "read").count(), SAMPLES as usize);
    trace.into_iter().filter(|line| ["button", "debounce"].contains(&line.1)).collect()
}

#[test]
fn r39_a_late_loop_loses_no_press() {
    let on_time = presses(Duration::ZERO, Duration::ZERO);
    assert_eq!(on_time.iter().filter(|line| line.2 == "press").count(), 3, "{on_time:?}");
    for late in [4, 14, 30, 70] {
        for from in 0..70 {
            let trace = presses(MILLI * from, MILLI * late);
            assert_eq!(trace, on_time, "{late} ms late from {from} ms on");
        }
    }
}
