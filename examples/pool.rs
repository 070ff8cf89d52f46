//! A pool of worker processes: the parent hands out work by messages and takes the results. A worker that dies harms
//! nobody; its work is given to another.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use kpt_examples::Args;
use kpt_std::{
    Child, EventLoop, Parent, Source, Spawner, TaskConfig, TaskEvent, TaskHandle, Thread, Threads,
};

const HELP: &str = "
Counts the primes up to a number, in parts, by worker processes. Kill one of
them (kill -9, the numbers are printed) while it runs: its part is given to
another, a new worker is started, and the sum stays right.

Usage: pool [options]
    --workers N  how many processes (4)
    --parts N    in how many parts (40)
    --up-to N    the number (20000000)";

/// A worker that ends at once, again and again, should not keep the machine busy.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// What a worker gets to end by itself.
const GRACE: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new(HELP);
    let workers = args.number("--workers", 4, 1..=200);
    let parts = args.number("--parts", 40, 1..=10_000);
    let up_to = args.number("--up-to", 20_000_000, 1..=2_000_000_000);
    args.finish();

    let mut kpt = EventLoop::new()?;
    let mut pool = Pool::new(kpt.spawner(), parts, up_to);
    for _ in 0..workers {
        pool.start_worker(&mut kpt.threads())?;
    }
    kpt.run(&mut pool)?;
    println!("{} primes up to {up_to}, by {} workers", pool.primes, pool.started);
    Ok(())
}

/// The numbers from the first to before the second.
type Part = [u64; 2];

struct Pool {
    spawner: Spawner,
    workers: Vec<Worker>,
    waiting: VecDeque<Part>,
    primes: u64,
    started: u32,
}

struct Worker {
    task: TaskHandle,
    /// What it works on.
    part: Option<Part>,
}

/// The argument of a worker's thread: which worker.
type PoolThread<'t> = Thread<'t, Pool, Option<Source>>;
type PoolThreads<'t> = Threads<'t, Pool, Option<Source>>;

impl Pool {
    fn new(spawner: Spawner, parts: u64, up_to: u64) -> Self {
        let bound = |part| up_to * part / parts + 1;
        let waiting = (0..parts).map(|part| [bound(part), bound(part + 1)]).collect();
        Self { spawner, workers: Vec::new(), waiting, primes: 0, started: 0 }
    }

    fn start_worker(&mut self, threads: &mut PoolThreads) -> Result<(), Box<dyn Error>> {
        self.started += 1;
        let config = TaskConfig::new(format!("worker {}", self.started));
        let task = self.spawner.start(config, |parent| Counter { parent })?;
        println!("{} is process {}", task.name(), task.id());
        let source = task.source();
        threads.add_read("worker", source, Self::on_worker, Some(source))?;
        self.workers.push(Worker { task, part: None });
        self.give_work();
        Ok(())
    }

    /// Gives a part to each worker that has none. When all is done, the workers are stopped; the last exit event ends the
    /// last thread, and with it the loop.
    fn give_work(&mut self) {
        for worker in self.workers.iter_mut().filter(|worker| worker.part.is_none()) {
            let Some(part) = self.waiting.pop_front() else { break };
            worker.part = Some(part);
            // One that has just died can't take it. Its exit event is on the way, and brings the part back.
            let _ = worker.task.send(&part.map(u64::to_le_bytes).concat());
        }
        if self.is_done() {
            self.workers.iter().for_each(|worker| worker.task.stop(GRACE));
        }
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.workers.iter().all(|worker| worker.part.is_none())
    }

    fn on_worker(&mut self, thread: PoolThread) {
        let is_it = |worker: &Worker| Some(worker.task.source()) == thread.arg;
        let Some(at) = self.workers.iter().position(is_it) else { return };
        match self.workers[at].task.receive() {
            Some(TaskEvent::Message(result)) => {
                self.primes += result.try_into().map_or(0, u64::from_le_bytes);
                self.workers[at].part = None;
                self.give_work();
                thread.again();
            }
            Some(TaskEvent::Exit(exit)) => {
                // The thread is given up before the source that it waits for.
                let (_, mut threads) = thread.end();
                let worker = self.workers.swap_remove(at);
                println!("{}: {exit}", worker.task.name());
                self.waiting.extend(worker.part);
                if !self.is_done() {
                    let timer = threads.add_timer("restart", RESTART_PAUSE, Self::on_restart, None);
                    timer.expect("a thread has just been given up");
                }
            }
            None => thread.again(),
        }
    }

    fn on_restart(&mut self, mut thread: PoolThread) {
        if self.is_done() {
            return;
        }
        if let Err(error) = self.start_worker(&mut thread.threads()) {
            eprintln!("no new worker for now: {error}");
            thread.again();
        }
    }
}

/// The state of a worker.
struct Counter {
    parent: Parent,
}

impl Child for Counter {
    type Arg = ();

    fn on_message(&mut self, part: Vec<u8>, mut threads: Threads<Self>) {
        let (first, end) = part.split_at(part.len() / 2);
        let [first, end] = [first, end].map(|bytes| bytes.try_into().map_or(0, u64::from_le_bytes));
        let primes = (first..end).filter(|&number| is_prime(number)).count() as u64;
        if self.parent.send(&primes.to_le_bytes()).is_err() {
            threads.stop();
        }
    }
}

fn is_prime(number: u64) -> bool {
    let mut divisors = (2_u64..).take_while(|divisor| divisor * divisor <= number);
    number >= 2 && divisors.all(|divisor| !number.is_multiple_of(divisor))
}
