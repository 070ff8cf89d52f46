//! The node on Linux: two pseudo terminals are its button and its console, at which you type.

use std::error::Error;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use kpt_std::{EventLoop, Source, Thread, When, source};
use rustix::io::ioctl_fionbio;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::hooks::{Job, Machine, Node, THREADS};
use crate::script;

/// The threads that are not the node's: two that type, and one that shows what the console prints.
const OTHER_THREADS: usize = 3;

pub fn run() -> Result<(), Box<dyn Error>> {
    let machine = Terminals::open()?;
    let screen = source(&machine.console.keyboard);

    let mut kpt = EventLoop::with_capacity(THREADS + OTHER_THREADS)?;
    let mut node = Node::new(machine, kpt.threads().now());
    node.add_threads(kpt.threads())?;

    let mut threads = kpt.threads();
    let first_press = When::At(node.start + script::edge(script::BOUNCES - 1).unwrap_or_default());
    threads.add("finger", first_press, on_press, Job::default())?;
    let command = When::At(node.start + script::COMMAND_AT);
    threads.add(
        "typist",
        command,
        |node, _| node.machine.console.type_in(script::COMMAND),
        Job::default(),
    )?;
    threads.add_read("screen", screen, on_output, Job::default())?;

    kpt.run(&mut node)?;
    Ok(())
}

/// Handles a press of the button. All edges of a press come at the time of the last: terminals are slow.
fn on_press(node: &mut Node<Terminals>, thread: Thread<Node<Terminals>, Job>) {
    let machine = &mut node.machine;
    machine.button.type_in(&[b'#'; script::BOUNCES as usize]);
    machine.presses += 1;
    let last_edge = machine.presses * script::BOUNCES + script::BOUNCES - 1;
    if let Some(since_start) = script::edge(last_edge) {
        let _ = thread.again_when(When::At(node.start + since_start));
    }
}

fn on_output(node: &mut Node<Terminals>, thread: Thread<Node<Terminals>, Job>) {
    let mut buffer = [0; 1024];
    if let Ok(count) = node.machine.console.keyboard.read(&mut buffer) {
        let _ = io::stderr().write_all(&buffer[..count]);
    }
    thread.again();
}

struct Terminals {
    button: Terminal,
    console: Terminal,
    /// How often the button was pressed, and how many edges and samples have been taken.
    presses: u32,
    edges: u32,
    samples: u32,
}

impl Terminals {
    fn open() -> io::Result<Self> {
        let (button, console) = (Terminal::open()?, Terminal::open()?);
        Ok(Self { button, console, presses: 0, edges: 0, samples: 0 })
    }
}

impl Machine for Terminals {
    fn button(&self) -> Source {
        source(&self.button.line)
    }

    fn console(&self) -> Source {
        source(&self.console.line)
    }

    fn acknowledge(&mut self, _line: Source) {
        // Reading does that.
    }

    fn next_edge(&mut self) -> Option<Duration> {
        self.button.read_byte()?;
        self.edges += 1;
        script::edge(self.edges - 1)
    }

    fn next_byte(&mut self) -> Option<u8> {
        self.console.read_byte()
    }

    fn read_sensor(&mut self) -> u16 {
        self.samples += 1;
        script::sensor(self.samples)
    }

    fn print(&mut self, text: &dyn Display) {
        // A terminal that takes no more loses the rest.
        let _ = writeln!(self.console.line, "{text}");
    }

    fn trace(&mut self, at: Duration, thread: &'static str, event: &'static str, value: u32) {
        println!("{} {thread} {event} {value}", at.as_micros());
    }
}

/// Both sides of a pseudo terminal, without echo and line editing.
struct Terminal {
    keyboard: File,
    line: File,
}

impl Terminal {
    fn open() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keyboard = openpt(flags)?;
        grantpt(&keyboard)?;
        unlockpt(&keyboard)?;
        let line = ioctl_tiocgptpeer(&keyboard, flags)?;
        let mut attributes = tcgetattr(&line)?;
        attributes.make_raw();
        tcsetattr(&line, OptionalActions::Now, &attributes)?;
        for side in [&keyboard, &line] {
            ioctl_fionbio(side, true)?;
        }
        Ok(Self { keyboard: keyboard.into(), line: line.into() })
    }

    fn type_in(&mut self, bytes: &[u8]) {
        let _ = self.keyboard.write_all(bytes);
    }

    fn read_byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        let count = self.line.read(&mut byte).ok()?;
        (count == 1).then_some(byte[0])
    }
}
