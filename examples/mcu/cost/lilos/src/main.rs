//! The jobs as tasks of lilos: a fixed list of futures in the frame of `main`, its clock on SysTick, and a `Notify` for
//! each interrupt, as the crate's documentation has it.
//!
//! Its clock owns the SysTick exception. So the board's clock is not used here, which saves its code and 16 bytes, and
//! the interrupts are raised where lilos lets an application in: in the idle hook, which runs before each sleep. They
//! come as often as in the other programs and at the same milliseconds, except at first, while the jobs that give way
//! leave no time for a sleep: those come after it, one by one.

#![no_std]
#![no_main]

use core::convert::Infallible;
use core::future;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m::Peripherals;
use cortex_m::asm;
use cost_board::{
    CLOCK_HERTZ, Count, Counts, FIRST_INTERRUPT_MILLIS, GROUPS, PERIOD_MILLIS, SHOT_MILLIS, TICKS,
    YIELDS, enable_interrupts, entry, fail, finish, handlers, must, raise_interrupts, with_groups,
};
use lilos::exec::{ALL_TASKS, Notify, run_tasks_with_idle, yield_cpu};
use lilos::time::{Millis, PeriodicGate, TickTime, initialize_sys_tick, sleep_for};

static SIGNALS: [Signal; GROUPS] = [const { Signal::new() }; GROUPS];
static COUNTS: [Counts; GROUPS] = [const { Counts::zero() }; GROUPS];

/// Ticks of all groups.
static TICKS_OF_ALL: Count = Count::zero();

#[entry]
fn main() -> ! {
    let mut board = must(Peripherals::take().ok_or(()));
    initialize_sys_tick(&mut board.SYST, CLOCK_HERTZ);
    enable_interrupts();
    macro_rules! run {
        ($($group:ident $number:literal)*) => {
            run_tasks_with_idle(
                &mut [$(
                    pin!($group::tick()),
                    pin!($group::signal()),
                    pin!($group::shot()),
                    pin!($group::give_way()),
                )*],
                ALL_TASKS,
                idle(),
            )
        };
    }
    with_groups!(run)
}

/// What `run_tasks` does before it sleeps, and the interrupts.
fn idle() -> impl FnMut() {
    let mut next = TickTime::from_millis_since_boot(FIRST_INTERRUPT_MILLIS);
    move || {
        if TickTime::now() >= next {
            next += Millis(PERIOD_MILLIS);
            raise_interrupts();
        }
        asm::wfi();
        asm::isb();
    }
}

macro_rules! groups {
    ($($group:ident $number:literal)*) => {$(
        mod $group {
            use super::*;

            pub async fn tick() -> Infallible {
                let period = Millis(PERIOD_MILLIS);
                let mut gate = PeriodicGate::new_shift(period, period);
                loop {
                    gate.next_time().await;
                    COUNTS[$number].ticks.add();
                    if TICKS_OF_ALL.add() == TICKS * GROUPS as u32 {
                        finish(&COUNTS, 1, YIELDS);
                    }
                }
            }

            pub async fn signal() -> Infallible {
                loop {
                    SIGNALS[$number].wait().await;
                    COUNTS[$number].signals.add();
                }
            }

            pub async fn shot() -> Infallible {
                sleep_for(Millis(SHOT_MILLIS)).await;
                COUNTS[$number].shots.add();
                future::pending().await
            }

            pub async fn give_way() -> Infallible {
                while COUNTS[$number].yields.add() < YIELDS {
                    yield_cpu().await;
                }
                future::pending().await
            }
        }
    )*};
}

with_groups!(groups);

/// Tells a task that an interrupt has come. A task may be woken for nothing, so the flag says whether it has.
struct Signal {
    is_raised: AtomicBool,
    changed: Notify,
}

impl Signal {
    const fn new() -> Self {
        Self { is_raised: AtomicBool::new(false), changed: Notify::new() }
    }

    fn raise(&self) {
        self.is_raised.store(true, Ordering::Relaxed);
        self.changed.notify();
    }

    /// lilos masks interrupts while tasks run, so none comes between load and store.
    async fn wait(&self) {
        let take = || {
            let is_raised = self.is_raised.load(Ordering::Relaxed);
            self.is_raised.store(false, Ordering::Relaxed);
            is_raised
        };
        self.changed.until(take).await;
    }
}

handlers!(on_interrupt);

fn on_interrupt(number: usize) {
    match SIGNALS.get(number) {
        Some(signal) => signal.raise(),
        None => fail(),
    }
}
