//! Rounds in turns, and what they say.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::contestants::{Contestant, median};

/// What the process has had of CPUs.
const CLOCK: ClockId = ClockId::ProcessCPUTime;

/// What one operation takes on each side, in nanoseconds of the CPU, in the round in the middle and in the best one.
pub struct Comparison {
    /// kpt's.
    pub ours: Times,
    /// The rival's, if there is one.
    pub rival: Option<Times>,
}

/// Of the rounds of one side.
#[derive(Clone, Copy)]
pub struct Times {
    /// Of the round in the middle.
    pub median: f64,
    /// Of the best one.
    pub minimum: f64,
}

impl Comparison {
    /// Runs rounds of `times` operations on one side and the other in turns, after one of each that does not count.
    pub fn run(
        ours: &mut dyn Contestant,
        mut rival: Option<&mut (dyn Contestant + 'static)>,
        rounds: usize,
        times: usize,
    ) -> Self {
        let mut nanos = [Vec::new(), Vec::new()];
        for _ in 0..=rounds {
            nanos[0].push(round(ours, times, CLOCK));
            if let Some(rival) = &mut rival {
                nanos[1].push(round(*rival, times, CLOCK));
            }
        }
        let [ours, rival] = nanos.map(|mut nanos| Times::of(nanos.get_mut(1..)?));
        Self { ours: ours.expect("there are rounds"), rival }
    }

    /// kpt's part of the rival's time: of the medians, and of the minima.
    pub fn ratios(&self) -> Option<(f64, f64)> {
        let rival = self.rival?;
        Some((self.ours.median / rival.median, self.ours.minimum / rival.minimum))
    }
}

impl Times {
    fn of(nanos: &mut [f64]) -> Option<Self> {
        let median = median(nanos)?;
        Some(Self { median, minimum: nanos[0] })
    }
}

/// How late timers are on each side: of a few more runs in turns, the one in the middle. `None` where no timers fire.
pub fn lateness(
    ours: &mut dyn Contestant,
    mut rival: Option<&mut (dyn Contestant + 'static)>,
    times: usize,
) -> [Option<Duration>; 2] {
    const RUNS: usize = 5;
    let mut late = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        late[0].extend(ours.lateness(times));
        late[1].extend(rival.as_mut().map(|rival| rival.lateness(times)).into_iter().flatten());
    }
    late.map(|mut late| median(&mut late).map(|nanos| Duration::from_nanos(nanos.max(0) as u64)))
}

/// Nanoseconds of the CPU for one operation, those of the kernel included, by such a clock.
pub fn round(contestant: &mut dyn Contestant, times: usize, clock: ClockId) -> f64 {
    let start = nanos(clock);
    contestant.run(times);
    (nanos(clock) - start) as f64 / times as f64
}

/// The time of a clock.
fn nanos(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The time of the clock that deadlines are on.
pub fn monotonic_nanos() -> i64 {
    nanos(ClockId::Monotonic)
}
