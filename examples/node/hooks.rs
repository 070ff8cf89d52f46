//! A sensor node: its application, the same file on Linux, in the simulator and on microcontrollers.
//!
//! | thread | waits for | does |
//! |---|---|---|
//! | sample | every 10 ms | reads the sensor, pushes the watchdog on, begins a chain for each ten samples |
//! | filter, encode, publish | its turn | one step of that chain |
//! | button | edges | has the debounce timer begin anew |
//! | debounce | 5 ms without an edge | counts a press |
//! | console | bytes | runs a command: `dump` prints the table of threads |
//! | watchdog | 2 s without a sample | stops the loop |
//!
//! All moments are those of deadlines and of edges, not those at which the code happens to run. So the traces of all
//! machines are the same.

use core::fmt::Display;
use core::time::Duration;

use heapless::{String, Vec};
use kpt_core::{AddError, Hook, Instant, Source, Thread, ThreadId, Threads, When};

/// The most threads that are there at a time: sample, watchdog, button, debounce, console, and of a chain the step that
/// runs and the one to come. So there is always room for what a hook adds.
pub const THREADS: usize = 7;
/// How many samples are taken.
pub const SAMPLES: u32 = 1_000;
/// Longer than the timers of small machines can count.
pub const WATCHDOG: Duration = Duration::from_secs(2);

const SAMPLE_PERIOD: Duration = Duration::from_millis(10);
const SAMPLES_PER_BATCH: usize = 10;
const DEBOUNCE: Duration = Duration::from_millis(5);

/// What the node needs of the machine that it runs on.
pub trait Machine {
    /// Where the button's edges come from.
    fn button(&self) -> Source;
    /// Where the console's bytes come from.
    fn console(&self) -> Source;
    /// Lowers the line of an interrupt. What happens from now on raises it anew.
    fn acknowledge(&mut self, line: Source);
    /// The next edge of the button: when it came, from the start of the node.
    fn next_edge(&mut self) -> Option<Duration>;
    /// The next byte that was typed.
    fn next_byte(&mut self) -> Option<u8>;
    /// What the sensor says.
    fn read_sensor(&mut self) -> u16;
    /// Prints to the console.
    fn print(&mut self, text: &dyn Display);
    /// Logs what a thread did, and when it should have, from the start of the node.
    fn trace(&mut self, at: Duration, thread: &'static str, event: &'static str, value: u32);
}

/// What a thread works on: its argument.
#[derive(Clone, Copy, Default)]
pub struct Job {
    /// The moment that it is about.
    at: Instant,
    value: u32,
}

/// The state of the application.
pub struct Node<M> {
    pub machine: M,
    /// When the first sample is due.
    pub start: Instant,
    batch: Vec<u16, SAMPLES_PER_BATCH>,
    command: String<16>,
    watchdog: Option<ThreadId>,
    /// The timer, and when it is due.
    debounce: Option<(ThreadId, Instant)>,
    presses: u32,
}

impl<M: Machine> Node<M> {
    /// A node that begins at `start`.
    pub fn new(machine: M, start: Instant) -> Self {
        Self {
            machine,
            start,
            batch: Vec::new(),
            command: String::new(),
            watchdog: None,
            debounce: None,
            presses: 0,
        }
    }

    /// Adds the threads that are there from the start.
    pub fn add_threads(&mut self, mut threads: Threads<Self, Job>) -> Result<(), AddError<Job>> {
        let (button, console) = (self.machine.button(), self.machine.console());
        threads.add("sample", When::At(self.start), Self::on_sample, Job::default())?;
        threads.add_read("button", button, Self::on_edge, Job::default())?;
        threads.add_read("console", console, Self::on_byte, Job::default())?;
        Ok(())
    }
}

/// Sampling, and what is made of the samples.
impl<M: Machine> Node<M> {
    fn on_sample(&mut self, mut thread: Thread<Self, Job>) {
        let at = thread.deadline().unwrap_or_default();
        let sample = self.machine.read_sensor();
        self.trace(at, thread.name(), "read", u32::from(sample));

        let (bark, threads) = (at + WATCHDOG, thread.threads());
        self.watchdog = renew(threads, self.watchdog, "watchdog", bark, Self::on_silence);

        // A full batch is filtered in the next turn, before the next sample, so there is room.
        let _ = self.batch.push(sample);
        if self.batch.is_full() {
            let job = Job { at, value: 0 };
            let _ = thread.threads().add_execute("filter", Self::on_filter, job);
        }

        thread.arg.value += 1;
        if thread.arg.value < SAMPLES {
            // Not `again`, which skips what it has missed: each sample is taken, if late.
            let _ = thread.again_when(When::At(at + SAMPLE_PERIOD));
        }
    }

    fn on_filter(&mut self, mut thread: Thread<Self, Job>) {
        let sum: u32 = self.batch.iter().copied().map(u32::from).sum();
        self.batch.clear();
        let job = Job { value: sum / SAMPLES_PER_BATCH as u32, ..thread.arg };
        self.trace(job.at, thread.name(), "mean", job.value);
        let _ = thread.threads().add_execute("encode", Self::on_encode, job);
    }

    /// The mean, and four bits to check it by.
    fn on_encode(&mut self, mut thread: Thread<Self, Job>) {
        let Job { at, value: mean } = thread.arg;
        let job = Job { at, value: mean << 4 | mean.count_ones() };
        self.trace(at, thread.name(), "frame", job.value);
        let _ = thread.threads().add_execute("publish", Self::on_publish, job);
    }

    fn on_publish(&mut self, thread: Thread<Self, Job>) {
        self.trace(thread.arg.at, thread.name(), "sent", thread.arg.value);
    }

    fn on_silence(&mut self, mut thread: Thread<Self, Job>) {
        let at = thread.deadline().unwrap_or_default();
        self.trace(at, thread.name(), "barks", self.presses);
        thread.threads().stop();
    }
}

/// The button and the console.
impl<M: Machine> Node<M> {
    fn on_edge(&mut self, mut thread: Thread<Self, Job>) {
        // The line is lowered before the queue is drained: an edge that comes in between raises it anew.
        self.machine.acknowledge(self.machine.button());
        while let Some(since_start) = self.machine.next_edge() {
            let at = self.start + since_start;
            self.end_press(at, thread.threads());
            self.trace(at, thread.name(), "edge", self.presses);
            let (quiet, threads) = (at + DEBOUNCE, thread.threads());
            let earlier = self.debounce.map(|(timer, _)| timer);
            let timer = renew(threads, earlier, "debounce", quiet, Self::on_quiet);
            self.debounce = timer.map(|timer| (timer, quiet));
        }
        thread.again();
    }

    /// Counts the press before an edge, if that came after its end: where the loop is late, the timer may be due and not
    /// have run.
    fn end_press(&mut self, edge: Instant, mut threads: Threads<Self, Job>) {
        if let Some((timer, quiet)) = self.debounce
            && quiet < edge
            && threads.cancel(timer).is_ok()
        {
            self.count_press(quiet);
        }
    }

    fn on_quiet(&mut self, thread: Thread<Self, Job>) {
        self.count_press(thread.deadline().unwrap_or_default());
    }

    fn count_press(&mut self, at: Instant) {
        self.presses += 1;
        self.trace(at, "debounce", "press", self.presses);
    }

    fn on_byte(&mut self, mut thread: Thread<Self, Job>) {
        self.machine.acknowledge(self.machine.console());
        while let Some(byte) = self.machine.next_byte() {
            if byte != b'\n' {
                // A line that is too long is no command, and need not be remembered to its end.
                let _ = self.command.push(char::from(byte));
                continue;
            }
            match self.command.as_str() {
                "dump" => self.machine.print(&thread.threads().dump()),
                _ => self.machine.print(&"the only command is dump"),
            }
            self.command.clear();
        }
        thread.again();
    }
}

impl<M: Machine> Node<M> {
    fn trace(&mut self, at: Instant, thread: &'static str, event: &'static str, value: u32) {
        self.machine.trace(at.saturating_duration_since(self.start), thread, event, value);
    }
}

/// Adds a timer in place of an earlier one, which may have fired.
fn renew<S>(
    mut threads: Threads<S, Job>,
    earlier: Option<ThreadId>,
    name: &'static str,
    deadline: Instant,
    hook: Hook<S, Job>,
) -> Option<ThreadId> {
    if let Some(id) = earlier {
        let _ = threads.cancel(id);
    }
    threads.add(name, When::At(deadline), hook, Job::default()).ok()
}
