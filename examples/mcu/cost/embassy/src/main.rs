//! The jobs as tasks of embassy: the executor for threads, a time driver on the millisecond clock with the integrated
//! queue, and a signal for each interrupt, as the crates' documentation has it.
//!
//! Each job is a task of its own (`pool_size` 1). A pool of several instances would be of use only for jobs that run the
//! same code; kpt would then have one hook for them, too.

#![no_std]
#![no_main]

use core::cell::RefCell;
use core::task::Waker;

use cost_board::{
    Count, Counts, GROUPS, PERIOD_MILLIS, SHOT_MILLIS, TICKS, YIELDS, entry, fail, finish,
    handlers, must, now, start, tick, with_groups,
};
use critical_section::Mutex;
use embassy_executor::{Executor, Spawner};
use embassy_futures::yield_now;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Ticker, Timer};
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

static SIGNALS: [Signal<CriticalSectionRawMutex, ()>; GROUPS] = [const { Signal::new() }; GROUPS];
static COUNTS: [Counts; GROUPS] = [const { Counts::zero() }; GROUPS];

/// Ticks of all groups.
static TICKS_OF_ALL: Count = Count::zero();

static mut EXECUTOR: Option<Executor> = None;

#[entry]
fn main() -> ! {
    start();
    let executor = &raw mut EXECUTOR;
    // SAFETY: `main` runs once, and nothing else knows this static.
    let executor = unsafe { &mut *executor };
    executor.insert(Executor::new()).run(|spawner| {
        macro_rules! spawn {
            ($($group:ident $number:literal)*) => {
                $(must($group::spawn(spawner));)*
            };
        }
        with_groups!(spawn);
    })
}

macro_rules! groups {
    ($($group:ident $number:literal)*) => {$(
        mod $group {
            use super::*;

            pub fn spawn(spawner: Spawner) -> Result<(), embassy_executor::SpawnError> {
                spawner.spawn(tick()?);
                spawner.spawn(signal()?);
                spawner.spawn(shot()?);
                spawner.spawn(give_way()?);
                Ok(())
            }

            #[embassy_executor::task]
            async fn tick() {
                let mut ticker = Ticker::every(Duration::from_millis(PERIOD_MILLIS));
                loop {
                    ticker.next().await;
                    COUNTS[$number].ticks.add();
                    if TICKS_OF_ALL.add() == TICKS * GROUPS as u32 {
                        finish(&COUNTS, 1, YIELDS);
                    }
                }
            }

            #[embassy_executor::task]
            async fn signal() {
                loop {
                    SIGNALS[$number].wait().await;
                    COUNTS[$number].signals.add();
                }
            }

            #[embassy_executor::task]
            async fn shot() {
                Timer::after_millis(SHOT_MILLIS).await;
                COUNTS[$number].shots.add();
            }

            #[embassy_executor::task]
            async fn give_way() {
                while COUNTS[$number].yields.add() < YIELDS {
                    yield_now().await;
                }
            }
        }
    )*};
}

with_groups!(groups);

/// The millisecond clock. It ticks all the time, so there is no alarm to set.
struct Clock {
    queue: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static CLOCK: Clock = Clock {
    queue: Mutex::new(RefCell::new(Queue::new())),
});

impl Driver for Clock {
    fn now(&self) -> u64 {
        now()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|token| {
            self.queue.borrow_ref_mut(token).schedule_wake(at, waker);
        });
    }
}

handlers!(on_tick, on_interrupt);

fn on_tick() {
    let now = tick();
    critical_section::with(|token| CLOCK.queue.borrow_ref_mut(token).next_expiration(now));
}

fn on_interrupt(number: usize) {
    match SIGNALS.get(number) {
        Some(signal) => signal.signal(()),
        None => fail(),
    }
}
