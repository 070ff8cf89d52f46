//! A time driver for embassy. It stands for the one in a chip's embassy crate.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::TICK_HZ;
use embassy_time_queue_utils::Queue;

use crate::clock::{self, Alarm};
use crate::{Interrupt, interrupt};

const ALARM: Alarm = Alarm::TIMER0;
const MICROS_EACH_SECOND: u64 = 1_000_000;

struct Driver {
    queue: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static DRIVER: Driver = Driver {
    queue: Mutex::new(RefCell::new(Queue::new())),
});

/// Starts the clock, and enables the alarm's interrupt.
pub fn start() {
    clock::start();
    Interrupt::TIMER0.enable(0x40);
}

impl embassy_time_driver::Driver for Driver {
    fn now(&self) -> u64 {
        let micros = clock::micros();
        micros / MICROS_EACH_SECOND * TICK_HZ
            + micros % MICROS_EACH_SECOND * TICK_HZ / MICROS_EACH_SECOND
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            if self.queue.borrow_ref_mut(section).schedule_wake(at, waker) {
                self.wake_expired(section);
            }
        });
    }
}

impl Driver {
    /// Wakes who is due, and sets the alarm for the next.
    fn wake_expired(&self, section: CriticalSection<'_>) {
        let mut queue = self.queue.borrow_ref_mut(section);
        loop {
            let next = queue.next_expiration(embassy_time_driver::Driver::now(self));
            if self.set_alarm(next) {
                return;
            }
        }
    }

    /// Returns `false` if that moment has come. There is no alarm then.
    fn set_alarm(&self, at: u64) -> bool {
        if at <= embassy_time_driver::Driver::now(self) {
            ALARM.stop();
            return false;
        }
        let micros = (at % TICK_HZ * MICROS_EACH_SECOND).div_ceil(TICK_HZ);
        ALARM.set((at / TICK_HZ).saturating_mul(MICROS_EACH_SECOND).saturating_add(micros));
        true
    }
}

#[interrupt]
fn TIMER0() {
    ALARM.stop();
    critical_section::with(|section| DRIVER.wake_expired(section));
}
