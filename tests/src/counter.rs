//! A chip with a counter and an alarm, which does all that such hardware may do.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::chance::Chance;
use kpt_core::board::Counter;

/// The chip, which has a true time in 64 bits, in ticks since the counter was 0.
#[derive(Clone)]
pub struct Chip(Rc<State>);

struct State {
    hz: u32,
    bits: u32,
    shortest: u32,
    /// Whether it compares for equality only, so that it misses an alarm that has passed, or for "not before".
    is_equal: bool,
    ticks: Cell<u64>,
    /// When the alarm comes; and whether it has.
    alarm: Cell<Option<u64>>,
    is_alarm_pending: Cell<bool>,
    /// How often an alarm has been set.
    alarms: Cell<u32>,
    /// When another interrupt comes; and whether it has.
    interrupt: Cell<Option<u64>>,
    is_interrupt_pending: Cell<bool>,
    chance: RefCell<Chance>,
    /// The most that an access to a register takes.
    slowness: u64,
}

impl Chip {
    /// The counter has been running, for less than one turn around.
    pub fn new(hz: u32, bits: u32, shortest: u32, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let turn = 1 << bits;
        let ticks = match chance.below(3) {
            0 => 0,
            1 => turn - 200 - chance.below(100),
            _ => chance.below(turn / 2),
        };
        Self(Rc::new(State {
            hz,
            bits,
            shortest,
            is_equal: chance.below(3) > 0,
            ticks: Cell::new(ticks),
            alarm: Cell::new(None),
            is_alarm_pending: Cell::new(false),
            alarms: Cell::new(0),
            interrupt: Cell::new(None),
            is_interrupt_pending: Cell::new(false),
            slowness: [1, 1, 2, 5, 150][chance.below(5) as usize],
            chance: RefCell::new(chance),
        }))
    }

    /// The true time.
    pub fn ticks(&self) -> u64 {
        self.0.ticks.get()
    }

    /// The true time in microseconds, rounded down.
    pub fn micros(&self) -> u64 {
        self.micros_of(self.ticks())
    }

    /// A time in microseconds, rounded down.
    pub fn micros_of(&self, ticks: u64) -> u64 {
        u64::try_from(u128::from(ticks) * 1_000_000 / u128::from(self.0.hz)).unwrap()
    }

    /// The first tick at which the time is not before a moment.
    pub fn first_tick_at(&self, micros: u64) -> u64 {
        u64::try_from((u128::from(micros) * u128::from(self.0.hz)).div_ceil(1_000_000)).unwrap()
    }

    /// Half of the counter's range.
    pub fn half(&self) -> u64 {
        1 << (self.0.bits - 1)
    }

    /// The longest sleep in ticks: half of the range or 71 minutes.
    pub fn longest(&self) -> u64 {
        self.half().min(self.first_tick_at(u64::from(u32::MAX)))
    }

    /// How far ahead an alarm must be.
    pub fn shortest(&self) -> u64 {
        u64::from(self.0.shortest)
    }

    /// The core works for so many ticks.
    pub fn work(&self, ticks: u64) {
        let state = &*self.0;
        let now = state.ticks.get() + ticks;
        state.ticks.set(now);
        let has_come = |moment: &mut u64| *moment <= now;
        if take_if(&state.alarm, has_come) {
            state.is_alarm_pending.set(true);
        }
        if take_if(&state.interrupt, has_come) {
            state.is_interrupt_pending.set(true);
        }
    }

    /// Has an interrupt come after so many ticks.
    pub fn interrupt_in(&self, ticks: u64) {
        self.0.interrupt.set(Some(self.ticks() + ticks));
    }

    /// Whether that interrupt is pending.
    pub fn has_interrupt(&self) -> bool {
        self.0.is_interrupt_pending.get()
    }

    /// Has neither an interrupt pending nor one coming, but for the alarm.
    pub fn take_interrupt(&self) {
        self.0.interrupt.set(None);
        self.0.is_interrupt_pending.set(false);
    }

    /// How often an alarm has been set.
    pub fn alarms(&self) -> u32 {
        self.0.alarms.get()
    }

    /// # Panics
    /// If there is an alarm.
    pub fn check_alarm_is_off(&self) {
        assert!(self.0.alarm.get().is_none() && !self.0.is_alarm_pending.get());
    }

    /// `WFI`: returns when an interrupt is pending, and says when that was.
    pub fn sleep(&self) -> u64 {
        let state = &*self.0;
        if !state.is_alarm_pending.get() && !state.is_interrupt_pending.get() {
            let next = [state.alarm.get(), state.interrupt.get()].into_iter().flatten().min();
            self.work(next.expect("the core sleeps for ever") - self.ticks());
        }
        self.ticks()
    }

    /// An access to a register, which takes at least the tick that makes time pass at all.
    fn access(&self) {
        let ticks = 1 + self.0.chance.borrow_mut().below(self.0.slowness);
        self.work(ticks);
    }
}

fn take_if(cell: &Cell<Option<u64>>, is_wanted: impl FnOnce(&mut u64) -> bool) -> bool {
    let mut value = cell.take();
    let taken = value.take_if(is_wanted);
    cell.set(value);
    taken.is_some()
}

/// The chip's counter.
pub struct Hostile<const HZ: u32, const BITS: u32, const SHORTEST: u32>(pub Chip);

impl<const HZ: u32, const BITS: u32, const SHORTEST: u32> Counter for Hostile<HZ, BITS, SHORTEST> {
    const HZ: u32 = HZ;
    const BITS: u32 = BITS;
    const SHORTEST_ALARM: u32 = SHORTEST;

    /// With anything in the bits that the counter has not.
    fn count(&mut self) -> u32 {
        self.0.access();
        let garbage = self.0.0.chance.borrow_mut().number() << BITS;
        (self.0.ticks() | garbage) as u32
    }

    fn set_alarm(&mut self, at: u32) {
        let chip = &self.0;
        assert!(u64::from(at) < 2 * chip.half(), "the count never gets there");
        chip.0.alarms.set(chip.alarms() + 1);
        chip.access();
        let turn = 2 * chip.half();
        let mut ahead = u64::from(at).wrapping_sub(chip.ticks()) % turn;
        if chip.0.is_equal {
            if ahead < chip.shortest() {
                ahead += turn;
            }
        } else if ahead == 0 || ahead > chip.half() {
            chip.0.is_alarm_pending.set(true);
        }
        chip.0.alarm.set(Some(chip.ticks() + ahead));
        chip.access();
    }

    fn clear_alarm(&mut self) {
        self.0.access();
        self.0.0.alarm.set(None);
        self.0.0.is_alarm_pending.set(false);
    }
}
