//! Thousands of timers at once, each re-armed with another random delay until it fired often enough.

#![forbid(unsafe_code)]

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kpt_examples::{Args, refuse};
use kpt_std::{EventLoop, Thread, When};

const HELP: &str = "
Runs many timers of random delays, each until it fired a number of times, and
prints how late the latest of them was. Ends with status 1 if a firing was
missing, or earlier than asked for.

Usage: timers [options]
    --threads N  how many timers there are (5000)
    --rounds N   how many times each one fires (10)
    --min-ms N   the shortest delay, in milliseconds (100)
    --max-ms N   the longest delay, in milliseconds (5000)
    --seed N     makes the delays those of an earlier run";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    let total = options.threads * u64::from(options.rounds);
    println!("{options}");

    let mut kpt = EventLoop::with_capacity(options.threads as usize)?;
    let mut timers = Timers::new(&options);
    for _ in 0..options.threads {
        let delay = timers.random_delay();
        let alarm = Alarm { rounds_left: options.rounds, not_before: Instant::now() + delay };
        kpt.threads().add_timer("alarm", delay, Timers::on_alarm, alarm)?;
    }
    kpt.run(&mut timers)?;

    if timers.early > 0 {
        println!("{} of them fired early", timers.early);
    }
    let largest_delay_ms = timers.largest_delay.as_secs_f64() * 1e3;
    println!("fired {} of {total}, largest delay {largest_delay_ms:.1} ms", timers.fired);
    let is_right = timers.fired == total && timers.early == 0;
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Timers {
    random: Random,
    delays_ms: RangeInclusive<u64>,
    fired: u64,
    early: u64,
    largest_delay: Duration,
}

/// What each timer knows of itself: the argument of its thread.
struct Alarm {
    rounds_left: u32,
    /// By a clock that has nothing to do with the loop.
    not_before: Instant,
}

impl Timers {
    fn new(options: &Options) -> Self {
        Self {
            random: Random(options.seed),
            delays_ms: options.min_ms..=options.max_ms,
            fired: 0,
            early: 0,
            largest_delay: Duration::ZERO,
        }
    }

    fn on_alarm(&mut self, mut thread: Thread<Self, Alarm>) {
        self.fired += 1;
        self.early += u64::from(Instant::now() < thread.arg.not_before);
        let deadline = thread.deadline().unwrap_or_default();
        let delay = thread.threads().now().saturating_duration_since(deadline);
        self.largest_delay = self.largest_delay.max(delay);

        thread.arg.rounds_left -= 1;
        if thread.arg.rounds_left > 0 {
            let delay = self.random_delay();
            thread.arg.not_before = Instant::now() + delay;
            if let Err(error) = thread.again_when(When::After(delay)) {
                eprintln!("{error}");
            }
        }
    }

    fn random_delay(&mut self) -> Duration {
        let (min, max) = self.delays_ms.clone().into_inner();
        Duration::from_millis(min + self.random.next() % (max - min + 1))
    }
}

struct Options {
    threads: u64,
    rounds: u32,
    min_ms: u64,
    max_ms: u64,
    seed: u64,
}

impl Options {
    fn parse() -> Self {
        let mut args = Args::new(HELP);
        let seed = RandomState::new().hash_one("seed") % 1_000_000;
        let options = Self {
            threads: args.number("--threads", 5_000, 1..=10_000_000),
            rounds: args.number("--rounds", 10, 1..=1_000_000),
            min_ms: args.number("--min-ms", 100, 0..=1_000_000_000),
            max_ms: args.number("--max-ms", 5_000, 0..=1_000_000_000),
            seed: args.number("--seed", seed, 0..=u64::MAX),
        };
        args.finish();
        if options.min_ms > options.max_ms {
            refuse("--min-ms is greater than --max-ms");
        }
        options
    }
}

impl std::fmt::Display for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { threads, rounds, min_ms, max_ms, seed } = self;
        let most_seconds = f64::from(*rounds) * *max_ms as f64 / 1e3;
        write!(
            f,
            "{threads} timers of {min_ms} to {max_ms} ms fire {rounds} times each; \
             at most {most_seconds:.1} s, seed {seed}"
        )
    }
}

/// The splitmix64 generator: small, and good enough to spread delays.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    }
}
