//! A pool of worker processes: the parent hands out work by messages and takes the results. A supervisor starts the
//! workers, and replaces those that die or hang. Their work is given to others.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::error::Error;
use std::ops::Range;
use std::time::Duration;

use kpt_examples::Args;
use kpt_std::supervisor::{ChildSpec, Order, Strategy, Supervisor};
use kpt_std::{
    Child, EventLoop, Parent, Spawner, TaskConfig, TaskEvent, TaskHandle, Thread, ThreadId,
    Threads, When,
};

const HELP: &str = "
Counts the primes up to a number, in parts, by worker processes. Kill one of
them (kill -9, the numbers are printed) while it runs, or have it hang (kill
-STOP): its part is given to another, a new worker is started, and the sum
stays right. If too many die in a short time, the pool gives up.

Usage: pool [options]
    --workers N  how many processes (4)
    --parts N    in how many parts (40)
    --up-to N    the number (20000000)";

/// The time that a worker has to end by itself.
const GRACE: Duration = Duration::from_secs(1);
/// A worker without a heartbeat for this time counts as hung.
const SILENCE: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_millis(200);
/// The largest number of restarts in the period.
const RESTARTS: usize = 10;
const PERIOD: Duration = Duration::from_secs(10);

/// How many numbers a worker tests in one turn of its loop.
const NUMBERS_PER_SLICE: usize = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new(HELP);
    let workers = args.number("--workers", 4, 1..=200);
    let parts = args.number("--parts", 40, 1..=10_000);
    let up_to = args.number("--up-to", 20_000_000, 1..=2_000_000_000);
    args.finish();

    let mut kpt = EventLoop::new()?;
    let mut pool = Pool::new(kpt.spawner(), workers, parts, up_to);
    pool.carry_out(kpt.threads());
    kpt.run(&mut pool)?;
    if pool.supervisor.given_up().is_some() {
        return Err(format!("{RESTARTS} workers have died within {PERIOD:?}").into());
    }
    println!("{} primes up to {up_to}, by {} workers", pool.primes, pool.started);
    Ok(())
}

/// The numbers from the first to before the second.
type Part = [u64; 2];

struct Pool {
    spawner: Spawner,
    supervisor: Supervisor,
    /// By their number at the supervisor.
    workers: Vec<Option<Worker>>,
    /// For what the supervisor does at a later moment.
    timer: Option<ThreadId>,
    waiting: VecDeque<Part>,
    primes: u64,
    started: u32,
}

struct Worker {
    task: TaskHandle,
    /// What it works on.
    part: Option<Part>,
}

/// The argument of a worker's thread is its number at the supervisor.
type PoolThread<'t> = Thread<'t, Pool, usize>;
type PoolThreads<'t> = Threads<'t, Pool, usize>;

impl Pool {
    fn new(spawner: Spawner, workers: usize, parts: u64, up_to: u64) -> Self {
        let bound = |part| up_to * part / parts + 1;
        let worker = ChildSpec::permanent().grace(GRACE).ready_within(SILENCE).heartbeat(SILENCE);
        let supervisor = Supervisor::new(Strategy::OneForOne).intensity(RESTARTS, PERIOD);
        Self {
            spawner,
            supervisor: (0..workers).fold(supervisor, |all, _| all.child(worker)),
            workers: (0..workers).map(|_| None).collect(),
            timer: None,
            waiting: (0..parts).map(|part| [bound(part), bound(part + 1)]).collect(),
            primes: 0,
            started: 0,
        }
    }

    fn on_worker(&mut self, mut thread: PoolThread) {
        let (number, now) = (thread.arg, thread.threads().now());
        let Some(worker) = &mut self.workers[number] else { return };
        match worker.task.receive() {
            Some(TaskEvent::Ready) => self.supervisor.on_ready(number, now),
            Some(TaskEvent::Message(message)) => {
                self.supervisor.on_heartbeat(number, now);
                if let Ok(primes) = message.try_into() {
                    self.primes += u64::from_le_bytes(primes);
                    worker.part = None;
                }
            }
            Some(TaskEvent::Exit(exit)) => {
                self.supervisor.on_exit(number, exit.is_normal(), now);
                println!("{}: {exit}", worker.task.name());
                self.waiting.extend(worker.part);
                // The thread is given up before the source that it waits for.
                let (_, threads) = thread.end();
                self.workers[number] = None;
                self.give_work();
                return self.carry_out(threads);
            }
            None => {}
        }
        self.give_work();
        self.carry_out(thread.threads());
        thread.again();
    }

    /// Gives a part to each worker that has none. When all is done, the workers are stopped; the last exit event ends the
    /// last thread, and with it the loop.
    fn give_work(&mut self) {
        for worker in self.workers.iter_mut().flatten().filter(|worker| worker.part.is_none()) {
            let Some(part) = self.waiting.pop_front() else { break };
            worker.part = Some(part);
            // One that has just died can't take it. Its exit event is on the way, and brings the part back.
            let _ = worker.task.send(&part.map(u64::to_le_bytes).concat());
        }
        let is_busy = |worker: &Worker| worker.part.is_some();
        if self.waiting.is_empty() && !self.workers.iter().flatten().any(is_busy) {
            self.supervisor.stop();
        }
    }

    /// Does what the supervisor says now, and has it asked again at its next deadline.
    fn carry_out(&mut self, mut threads: PoolThreads) {
        let now = threads.now();
        while let Some(order) = self.supervisor.next(now) {
            match order {
                Order::Start(number) => {
                    if let Err(error) = self.start(number, threads.reborrow()) {
                        eprintln!("no new worker for now: {error}");
                        self.supervisor.on_exit(number, false, now);
                    }
                }
                Order::Stop { child, grace } => {
                    self.workers[child].iter().for_each(|worker| worker.task.stop(grace));
                }
                Order::Kill(number) => {
                    self.workers[number].iter().for_each(|worker| _ = worker.task.kill());
                }
            }
        }
        if let Some(timer) = self.timer.take() {
            let _ = threads.cancel(timer); // It may have run.
        }
        if let Some(deadline) = self.supervisor.deadline() {
            let added = threads.add("supervisor", When::At(deadline), Self::on_deadline, 0);
            self.timer = Some(added.expect("a thread for each worker, and this one"));
        }
    }

    fn on_deadline(&mut self, thread: PoolThread) {
        // Its slot is for the next timer.
        let (_, mut threads) = thread.end();
        self.supervisor.on_time(threads.now());
        self.carry_out(threads);
    }

    fn start(&mut self, number: usize, mut threads: PoolThreads) -> Result<(), Box<dyn Error>> {
        let config = TaskConfig::new(format!("worker {}", self.started + 1)).tell_ready();
        let task = self.spawner.start(config, Counter::new)?;
        self.started += 1;
        println!("{} is process {}", task.name(), task.id());
        threads.add_read("worker", task.source(), Self::on_worker, number)?;
        self.workers[number] = Some(Worker { task, part: None });
        Ok(())
    }
}

/// The state of a worker. It counts in slices, so that it can send heartbeats between them.
struct Counter {
    parent: Parent,
    numbers: Range<u64>,
    primes: u64,
}

impl Counter {
    fn new(parent: Parent) -> Self {
        Self { parent, numbers: 0..0, primes: 0 }
    }

    fn on_slice(&mut self, mut thread: Thread<Self>) {
        let slice = self.numbers.by_ref().take(NUMBERS_PER_SLICE);
        self.primes += slice.filter(|&number| is_prime(number)).count() as u64;
        if !self.numbers.is_empty() {
            return thread.again();
        }
        if self.parent.send(&self.primes.to_le_bytes()).is_err() {
            thread.threads().stop();
        }
    }

    /// Sends an empty message. If there is no room for it, other messages are on the way.
    fn on_heartbeat(&mut self, thread: Thread<Self>) {
        let _ = self.parent.send(&[]);
        thread.again();
    }
}

impl Child for Counter {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        threads.add_timer("heartbeat", HEARTBEAT, Self::on_heartbeat, ())?;
        Ok(())
    }

    fn on_message(&mut self, part: Vec<u8>, mut threads: Threads<Self>) {
        let (first, end) = part.split_at(part.len() / 2);
        let [first, end] = [first, end].map(|bytes| bytes.try_into().map_or(0, u64::from_le_bytes));
        (self.numbers, self.primes) = (first..end, 0);
        threads.add_execute("slice", Self::on_slice, ()).expect("a worker has one part at a time");
    }
}

fn is_prime(number: u64) -> bool {
    let mut divisors = (2_u64..).take_while(|divisor| divisor * divisor <= number);
    number >= 2 && divisors.all(|divisor| !number.is_multiple_of(divisor))
}
