//! The jobs: their hooks, and what the loop needs of the machine.

use core::time::Duration;

use cost_board::{
    Counts, GROUPS, PERIOD_MILLIS, SHOT_MILLIS, TICKS, YIELDS, handlers, must, now, tick, wfi,
    with_groups,
};
use kpt_core::board::{Board, LinePoller, Lines};
use kpt_core::{FixedLoop, Instant, Source, Thread, Threads};

static LINES: Lines<GROUPS> = Lines::new();

pub type Loop<const N: usize> = FixedLoop<LinePoller<Clock, GROUPS>, Jobs, N>;

pub const fn poller() -> LinePoller<Clock, GROUPS> {
    LinePoller::new(Clock { ticks: 0, micros: 0 })
}

/// What the hooks work on.
pub struct Jobs {
    pub counts: [Counts; GROUPS],
    /// Ticks of all groups.
    ticks: u32,
}

impl Jobs {
    pub const fn new() -> Self {
        Self { counts: [const { Counts::zero() }; GROUPS], ticks: 0 }
    }
}

/// Never inlined, so that it needs no stack while the loop runs.
#[inline(never)]
pub fn add_jobs(mut threads: Threads<'_, Jobs>) {
    macro_rules! add {
        ($($group:ident $number:literal)*) => {
            $(must($group::add(&mut threads));)*
        };
    }
    with_groups!(add);
}

macro_rules! groups {
    ($($group:ident $number:literal)*) => {$(
        mod $group {
            use super::*;

            const LINE: Source = Source::new($number);

            pub fn add(threads: &mut Threads<'_, Jobs>) -> Result<(), kpt_core::AddError<()>> {
                let period = Duration::from_millis(PERIOD_MILLIS);
                threads.add_timer(concat!("tick ", $number), period, on_tick, ())?;
                threads.add_read(concat!("signal ", $number), LINE, on_signal, ())?;
                let delay = Duration::from_millis(SHOT_MILLIS);
                threads.add_timer(concat!("shot ", $number), delay, on_shot, ())?;
                threads.add_execute(concat!("yield ", $number), on_yield, ())?;
                Ok(())
            }

            fn on_tick(jobs: &mut Jobs, thread: Thread<Jobs>) {
                jobs.counts[$number].ticks.add();
                jobs.ticks += 1;
                if jobs.ticks == TICKS * GROUPS as u32 {
                    crate::end(jobs);
                }
                thread.again();
            }

            fn on_signal(jobs: &mut Jobs, thread: Thread<Jobs>) {
                LINES.clear(LINE);
                jobs.counts[$number].signals.add();
                thread.again();
            }

            fn on_shot(jobs: &mut Jobs, _: Thread<Jobs>) {
                jobs.counts[$number].shots.add();
            }

            fn on_yield(jobs: &mut Jobs, thread: Thread<Jobs>) {
                if jobs.counts[$number].yields.add() < YIELDS {
                    thread.again();
                }
            }
        }
    )*};
}

with_groups!(groups);

/// Ticks of a millisecond, and sleep until the next interrupt.
pub struct Clock {
    /// The ticks at the last look, and the microseconds that they make. So the difference is multiplied, which has 32 bits.
    ticks: u32,
    micros: u64,
}

impl Board<GROUPS> for Clock {
    const TICK_MICROS: u32 = 1_000;

    fn lines(&self) -> &'static Lines<GROUPS> {
        &LINES
    }

    fn now(&mut self) -> Instant {
        let ticks = now() as u32;
        self.micros += u64::from(ticks.wrapping_sub(self.ticks) * 1_000);
        self.ticks = ticks;
        Instant::from_micros(self.micros)
    }

    fn sleep(&mut self, _until: Instant, is_awake: &dyn Fn() -> bool) {
        critical_section::with(|_| {
            if !is_awake() {
                wfi();
            }
        });
    }
}

handlers!(on_tick, on_interrupt);

fn on_tick() {
    tick();
}

fn on_interrupt(number: usize) {
    LINES.set(Source::new(number as u32));
}
