//! Parent and child send each other much at the same time.

use std::error::Error;
use std::time::Duration;

use kpt_std::{
    Child, EventLoop, Instant, Parent, SendError, Spawner, TaskConfig, TaskEvent, TaskHandle,
    TaskStatus, Thread, Threads,
};
use kpt_tests::chance::{Chance, is_checked};
use kpt_tests::sys;

/// One side of a flood: sends a number of bytes as fast as the other side takes them, and sums up what comes.
struct Flood {
    left: usize,
    received: usize,
    sent_sum: u64,
    received_sum: u64,
    chance: Chance,
    refused: Option<Vec<u8>>,
    latest: Duration,
}

const FLOOD_BYTES: usize = 64 << 20;
const FLOOD_MESSAGE: usize = 60_000;
const TICK: Duration = Duration::from_millis(20);
const MOST_LATE: Duration = Duration::from_millis(100);

impl Flood {
    fn new(seed: u64) -> Self {
        Self {
            left: FLOOD_BYTES,
            received: 0,
            sent_sum: 0,
            received_sum: 0,
            chance: Chance::new(seed),
            refused: None,
            latest: Duration::ZERO,
        }
    }

    /// Sends until the queue is full, or all is sent. Whether there is more.
    fn send(&mut self, send: impl Fn(&[u8]) -> Result<(), SendError>) -> bool {
        while self.left > 0 || self.refused.is_some() {
            let message = self.refused.take().unwrap_or_else(|| {
                let length = self.left.min(FLOOD_MESSAGE);
                self.left -= length;
                let byte = self.chance.number() as u8;
                vec![byte; length]
            });
            match send(&message) {
                Ok(()) => self.sent_sum = sum(self.sent_sum, &message),
                Err(SendError::Full) => {
                    self.refused = Some(message);
                    return true;
                }
                Err(error) => panic!("{error}"),
            }
        }
        false
    }

    fn receive(&mut self, message: &[u8]) {
        self.received += message.len();
        self.received_sum = sum(self.received_sum, message);
    }

    fn tick(&mut self, deadline: Option<Instant>, now: Instant) {
        let deadline = deadline.expect("a timer has one");
        self.latest = self.latest.max(now.saturating_duration_since(deadline));
    }
}

/// Fletcher's sum, in which the order counts.
fn sum(before: u64, message: &[u8]) -> u64 {
    let (mut low, mut high) = (before & 0xFFFF_FFFF, before >> 32);
    for &byte in message {
        low = (low + u64::from(byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    high << 32 | low
}

struct FloodingChild {
    parent: Parent,
    flood: Flood,
}

impl Child for FloodingChild {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        threads.add_write("flood", self.parent.source(), Self::on_room, ())?;
        threads.add_timer("tick", TICK, Self::on_tick, ())?;
        Ok(())
    }

    fn on_message(&mut self, message: Vec<u8>, mut threads: Threads<Self>) {
        self.flood.receive(&message);
        if self.flood.received == FLOOD_BYTES {
            threads.add_execute("report", Self::on_report, ()).expect("room");
        }
    }
}

impl FloodingChild {
    fn on_room(&mut self, thread: Thread<Self>) {
        if self.flood.send(|message| self.parent.send(message)) {
            thread.again();
        }
    }

    fn on_tick(&mut self, mut thread: Thread<Self>) {
        self.flood.tick(thread.deadline(), thread.threads().now());
        thread.again();
    }

    /// The last message: both sums, the lateness, and how much memory the process has.
    fn on_report(&mut self, thread: Thread<Self>) {
        let flood = &self.flood;
        let report = [
            flood.sent_sum,
            flood.received_sum,
            flood.latest.as_micros() as u64,
            sys::resident_bytes(),
        ];
        let is_sent = flood.left == 0 && flood.refused.is_none();
        match is_sent.then(|| self.parent.send(&report.map(u64::to_le_bytes).concat())) {
            Some(Ok(())) => {}
            _ => thread.again(),
        }
    }
}

struct FloodingParent {
    task: TaskHandle,
    flood: Flood,
    report: Vec<u64>,
}

impl FloodingParent {
    fn on_room(&mut self, thread: Thread<Self>) {
        if self.flood.send(|message| self.task.send(message)) {
            thread.again();
        }
    }

    fn on_message(&mut self, mut thread: Thread<Self>) {
        match self.task.receive() {
            Some(TaskEvent::Message(message)) if self.flood.received < FLOOD_BYTES => {
                self.flood.receive(&message);
            }
            Some(TaskEvent::Message(report)) => {
                let numbers = report.chunks_exact(8).map(|bytes| bytes.try_into().expect("eight"));
                self.report = numbers.map(u64::from_le_bytes).collect();
                return thread.threads().stop();
            }
            Some(TaskEvent::Exit(exit)) => panic!("{exit}"),
            Some(TaskEvent::Ready) | None => {}
        }
        thread.again();
    }

    fn on_tick(&mut self, mut thread: Thread<Self>) {
        self.flood.tick(thread.deadline(), thread.threads().now());
        thread.again();
    }
}

fn both_sides_send_64_mb_at_the_same_time() {
    let mut kpt = EventLoop::with_capacity(8).unwrap();
    let spawner = kpt.spawner();
    let start = |parent| FloodingChild { parent, flood: Flood::new(2) };
    let task = spawner.start(TaskConfig::new("flood"), start).expect("it starts");
    let source = task.source();
    let mut state = FloodingParent { task, flood: Flood::new(1), report: Vec::new() };
    let mut threads = kpt.threads();
    threads.add_write("room", source, FloodingParent::on_room, ()).expect("room");
    threads.add_read("message", source, FloodingParent::on_message, ()).expect("room");
    threads.add_timer("tick", TICK, FloodingParent::on_tick, ()).expect("room");
    let before = sys::resident_bytes();
    kpt.run(&mut state).expect("the loop runs");
    let [sent, received, latest, resident] = state.report[..] else { panic!("no report") };
    assert_eq!((sent, received), (state.flood.received_sum, state.flood.sent_sum));
    let latest = state.flood.latest.max(Duration::from_micros(latest));
    let grown = sys::resident_bytes() - before;
    println!(
        "NOTE 64 MB both ways: a 20 ms timer at most {latest:?} late; the parent has grown by {} KiB, the child has {} KiB",
        grown >> 10,
        resident >> 10
    );
    if is_checked() {
        return;
    }
    assert!(latest <= MOST_LATE, "{latest:?}");
    // Both queues of both sides, and what reads bring: nowhere near of what was sent.
    assert!(grown < 4 << 20 && resident < 16 << 20, "{grown} {resident}");
}

/// Empty messages, too, count for what may be sent between two waits, however fast they are read.
fn empty_messages_fill_the_queue() {
    struct Listener;

    impl Child for Listener {
        type Arg = ();
    }

    let config = TaskConfig::new("listener").max_message(1 << 10).queue(4 << 10);
    let task = Spawner::new().start(config, |_| Listener).expect("it starts");
    let sent = (0..20_000).take_while(|_| task.send(b"").is_ok()).count();
    assert!(sent < 20_000, "it is never full");
    assert_eq!(task.send(b""), Err(SendError::Full));
    task.stop(Duration::from_secs(8));
    assert_eq!(task.wait().status, TaskStatus::Code(0));
}

kpt_tests::scenarios! {
    empty_messages_fill_the_queue,
    both_sides_send_64_mb_at_the_same_time,
}
