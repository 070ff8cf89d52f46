//! Hooks are portable between pollers and between loops: one source, compiled for the simulator with each kind of loop in
//! a `static` as firmware would have it, and for the pollers of this machine. All give the same sequence of threads and events.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_core::sim::{SimPoller, World};
use kpt_core::{FixedLoop, Instant, Readiness, Source, Thread, When, large::LargeLoop};
use kpt_tests::loops::real_loop;
use kpt_tests::process::in_own_process;
use kpt_tests::real::Real;
use static_cell::{ConstStaticCell, StaticCell};

/// All that the application wants of its machine: a line that it can send on, whose other end it reads.
trait Line {
    /// Where received bytes come from.
    fn input(&self) -> Source;
    /// Where bytes are sent to.
    fn output(&self) -> Source;
    fn send(&mut self, byte: u8);
    /// `None` when there is none yet.
    fn receive(&mut self) -> Option<u8>;
}

/// The application: sends, receives, keeps time, and defers work. It knows neither poller nor capacity.
struct App<L> {
    line: L,
    sent: u8,
    ticks: u32,
    events: Vec<(&'static str, String)>,
}

impl<L: Line> App<L> {
    fn new(line: L) -> Self {
        Self { line, sent: 0, ticks: 0, events: Vec::new() }
    }

    fn start(&self, threads: &mut kpt_core::Threads<App<L>, u32>) {
        threads.add_read("receiver", self.line.input(), Self::on_readable, 0).unwrap();
        threads.add_execute("starter", Self::on_start, 5).unwrap();
        threads.add_timer("never", Duration::MAX, Self::on_tick, 0).unwrap();
    }

    fn note(&mut self, name: &'static str, event: String) {
        self.events.push((name, event));
    }

    fn on_start(&mut self, mut thread: Thread<App<L>, u32>) {
        self.note(thread.name(), format!("starts, {} to send", thread.arg));
        let (output, count) = (self.line.output(), thread.arg);
        thread.threads().add_write("sender", output, Self::on_writable, count).unwrap();
    }

    fn on_writable(&mut self, thread: Thread<App<L>, u32>) {
        assert!(thread.readiness().is_writable());
        self.sent += 1;
        self.note(thread.name(), format!("sends {}", self.sent));
        self.line.send(self.sent);
        if u32::from(self.sent) < thread.arg {
            thread.again();
        }
    }

    fn on_readable(&mut self, mut thread: Thread<App<L>, u32>) {
        let Some(byte) = self.line.receive() else {
            thread.again();
            return;
        };
        self.note(thread.name(), format!("receives {byte}"));
        match byte {
            5 => {
                let deadline = thread.threads().now() + Duration::from_secs(3_600);
                thread
                    .threads()
                    .add_timer("tick", Duration::from_millis(1), Self::on_tick, 3)
                    .unwrap();
                thread.again_when(When::At(deadline)).unwrap();
            }
            0 => {}
            _ => thread.again(),
        }
    }

    fn on_tick(&mut self, mut thread: Thread<App<L>, u32>) {
        self.ticks += 1;
        self.note(thread.name(), format!("tick {}", self.ticks));
        if self.ticks < thread.arg {
            thread.again();
        } else {
            let again = thread.threads().add_execute("end", Self::on_end, 0);
            assert!(again.is_ok());
        }
    }

    fn on_end(&mut self, mut thread: Thread<App<L>, u32>) {
        let left = thread.threads().len();
        self.note(thread.name(), format!("stops with {left} threads"));
        thread.threads().stop();
    }
}

/// A line in a simulated world: what is sent on one source comes in on the other one.
struct SimLine {
    world: &'static World,
    bytes: Vec<u8>,
}

impl SimLine {
    const INPUT: Source = Source::new(3);
    const OUTPUT: Source = Source::new(9);
}

impl Line for SimLine {
    fn input(&self) -> Source {
        Self::INPUT
    }

    fn output(&self) -> Source {
        Self::OUTPUT
    }

    fn send(&mut self, byte: u8) {
        self.bytes.push(byte);
        self.world.set(Self::INPUT, Readiness::READABLE).unwrap();
    }

    fn receive(&mut self) -> Option<u8> {
        let byte = (!self.bytes.is_empty()).then(|| self.bytes.remove(0));
        if self.bytes.is_empty() {
            self.world.clear(Self::INPUT, Readiness::READABLE);
        }
        byte
    }
}

/// Two connected sockets.
struct Sockets {
    input: UnixStream,
    output: UnixStream,
}

impl Line for Sockets {
    fn input(&self) -> Source {
        kpt_std::source(&self.input)
    }

    fn output(&self) -> Source {
        kpt_std::source(&self.output)
    }

    fn send(&mut self, byte: u8) {
        self.output.write_all(&[byte]).unwrap();
    }

    fn receive(&mut self) -> Option<u8> {
        let mut byte = [0];
        match self.input.read(&mut byte) {
            Ok(_) => Some(byte[0]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Runs the application in a loop in a `static`. Nothing of it is on a stack or a heap but what the application itself
/// has there.
macro_rules! in_a_static {
    ($Loop:ty) => {{
        static WORLD: ConstStaticCell<World> = ConstStaticCell::new(World::new());
        static LOOP: StaticCell<$Loop> = StaticCell::new();
        let world: &World = WORLD.take();
        world.set(SimLine::OUTPUT, Readiness::WRITABLE).unwrap();
        let kpt = LOOP.init_with(|| <$Loop>::new(SimPoller::new(world)));
        let mut app = App::new(SimLine { world, bytes: Vec::new() });
        app.start(&mut kpt.threads());
        assert_eq!(kpt.run(&mut app), Ok(kpt_core::Exit::Stopped));
        assert_eq!(world.now(), Instant::from_micros(3_000));
        app.events
    }};
}

fn on_this_machine(real: Real) -> Vec<(&'static str, String)> {
    let (input, output) = UnixStream::pair().unwrap();
    input.set_nonblocking(true).unwrap();
    let mut kpt = real_loop(8, real);
    let mut app = App::new(Sockets { input, output });
    app.start(&mut kpt.threads());
    assert_eq!(kpt.run(&mut app).unwrap(), kpt_std::Exit::Stopped);
    app.events
}

#[test]
fn hooks_are_portable_between_pollers_and_loops() {
    in_own_process("hooks_are_portable_between_pollers_and_loops", || {
        let simulated = in_a_static!(FixedLoop<SimPoller<'static>, App<SimLine>, 8, u32>);
        let last = ("end", "stops with 3 threads".to_string());
        assert_eq!((simulated.len(), simulated.last()), (15, Some(&last)));
        assert_eq!(simulated, in_a_static!(LargeLoop<SimPoller<'static>, App<SimLine>, 8, u32>));
        for real in Real::all() {
            assert_eq!(simulated, on_this_machine(real));
        }
    });
}
