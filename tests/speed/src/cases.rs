//! What is compared, and how much kpt may take.

use std::time::Duration;

use kpt_speed::contestants::Contestant;
use kpt_speed::contestants::fire::Fire;
use kpt_speed::contestants::heaps::{HeapTimers, LazyHeap, SlabHeap};
use kpt_speed::contestants::periodic::Periodic;
use kpt_speed::contestants::rings::{KptRing, QueueRing};
use kpt_speed::contestants::timers::{CancelAdd, Reschedule};
use kpt_speed::in_c::{self, Library};
use kpt_std::Builder;

/// A comparison to be made.
pub struct Case {
    /// What is done.
    pub name: String,
    /// Beside what.
    pub rival: &'static str,
    /// Which part of the rival's time it may take. Infinite: it is shown, and nothing follows.
    pub limit: f64,
    /// How many rounds there are of each side.
    pub rounds: usize,
    /// How many operations a round has.
    pub times: usize,
    /// Makes the two sides. Without a rival, kpt's time is shown alone.
    pub sides: Box<dyn Fn() -> Sides>,
}

/// kpt and the rival.
pub type Sides = (Box<dyn Contestant>, Option<Box<dyn Contestant>>);

const LIBEV: &str = "libev";

/// Work that is done in nanoseconds, so that a round has many.
const MANY: usize = 200_000;

/// What kpt may be late in the cases with slack, and libev's least interval between two looks.
const SLACK: Duration = Duration::from_millis(1);

/// All of them, in the order of the table.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    cancel_and_add(&mut cases);
    fire(&mut cases);
    execute(&mut cases);
    reschedule(&mut cases);
    cases
}

fn cancel_and_add(cases: &mut Vec<Case>) {
    for (pending, libev_limit, lazy_limit) in
        [(1_000, 0.85, 0.6), (100_000, 1.1, 1.3), (1_000_000, 1.1, 5.0)]
    {
        let mut add = |rival, limit, theirs: fn(usize) -> Option<Box<dyn Contestant>>| {
            cases.push(Case {
                name: format!("cancel + add, {pending} pending"),
                rival,
                limit,
                rounds: 40,
                times: MANY,
                sides: Box::new(move || (Box::new(CancelAdd::new(pending)), theirs(pending))),
            });
        };
        add(LIBEV, libev_limit, |pending| Library::Ev.cancel_add(pending));
        add("heap, lazy", lazy_limit, |pending| {
            Some(Box::new(HeapTimers::<LazyHeap>::new(pending)))
        });
        add("heap, slab", f64::INFINITY, |pending| {
            Some(Box::new(HeapTimers::<SlabHeap>::new(pending)))
        });
    }
}

fn fire(cases: &mut Vec<Case>) {
    for (timers, slack, rounds, limit) in [
        (100_000, Duration::ZERO, 21, 1.7),
        (1_000_000, Duration::ZERO, 9, 1.1),
        (100_000, SLACK, 21, 1.0),
    ] {
        cases.push(Case {
            name: format!("add + fire {timers}{}", with_slack(slack)),
            rival: LIBEV,
            limit,
            rounds,
            times: timers,
            sides: Box::new(move || {
                let kpt = Builder::new().threads(timers).slack(slack).build().expect("room");
                (Box::new(Fire::new(kpt)), in_c::libev_fire_with(timers, slack))
            }),
        });
    }
    let timers = 1_000;
    cases.push(Case {
        name: format!("{timers} periodic{}", with_slack(SLACK)),
        rival: LIBEV,
        limit: 1.2,
        rounds: 7,
        // Each fires about so often in its second, whatever is asked for.
        times: timers * 100,
        sides: Box::new(move || {
            (Box::new(Periodic::new(timers, SLACK)), in_c::libev_periodic_with(timers, SLACK))
        }),
    });
}

fn with_slack(slack: Duration) -> &'static str {
    if slack.is_zero() { "" } else { ", 1 ms slack" }
}

fn execute(cases: &mut Vec<Case>) {
    let mut add = |width, rival, limit, theirs: fn(usize) -> Option<Box<dyn Contestant>>| {
        cases.push(Case {
            name: format!("execute thread, again, {width} wide"),
            rival,
            limit,
            rounds: 40,
            times: MANY,
            sides: Box::new(move || (Box::new(KptRing::new(width)), theirs(width))),
        });
    };
    add(1, LIBEV, 1.5, in_c::libev_feed_all);
    add(100, LIBEV, 1.25, in_c::libev_feed_all);
    add(100, "VecDeque", 4.0, |width| Some(Box::new(QueueRing::new(width))));
}

fn reschedule(cases: &mut Vec<Case>) {
    for pending in [1_000, 100_000] {
        cases.push(Case {
            name: format!("reschedule, {pending} pending"),
            rival: "cancel + add",
            limit: 0.8,
            rounds: 40,
            times: MANY,
            sides: Box::new(move || {
                (Box::new(Reschedule::new(pending)), Some(Box::new(CancelAdd::new(pending))))
            }),
        });
    }
}
