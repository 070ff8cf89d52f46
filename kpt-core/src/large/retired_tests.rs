//! Slots whose generation is spent: nobody lives long enough to see one, so tables are aged here.
#![allow(clippy::panic, clippy::unwrap_used)]

use core::time::Duration;

use crate::sim::{SimPoller, World};
use crate::*;

const SLOTS: usize = 3;

/// Each slot has two threads left to it. All are used up, in ways that end a thread by cancelling it and by running it.
fn spent_slots_are_retired<Q: Queues + Default>() {
    let world = World::new();
    let mut kpt: FixedLoop<SimPoller<'_>, u32, SLOTS, (), Q> =
        FixedLoop::with_queues(SimPoller::new(&world), Q::default());
    for link in &mut kpt.tables.links {
        link.age_to(2);
    }
    let whens = [When::Now, When::Readable(Source::new(1)), When::After(Duration::ZERO)];
    let count = |runs: &mut u32, _: Thread<'_, u32>| *runs = runs.wrapping_add(1);
    world.set(Source::new(1), Readiness::READABLE).unwrap();

    let first = whens.map(|when| kpt.threads().add("first", when, count, ()).unwrap());
    for id in first {
        kpt.threads().cancel(id).unwrap();
    }
    assert_eq!(kpt.threads().capacity(), SLOTS);
    let last = whens.map(|when| kpt.threads().add("last", when, count, ()).unwrap());
    kpt.threads().verify().unwrap();

    let mut runs = 0;
    assert_eq!(kpt.run(&mut runs), Ok(Exit::Empty));
    assert_eq!(runs, 3);
    assert_eq!((kpt.threads().len(), kpt.threads().capacity()), (0, 0));
    assert!(matches!(kpt.threads().add_execute("more", count, ()), Err(AddError::Full(()))));
    for id in first.into_iter().chain(last) {
        assert_eq!(kpt.threads().cancel(id), Err(Stale));
    }
    kpt.threads().verify().unwrap();
}

#[test]
fn spent_slots_of_small_queues_are_retired() {
    spent_slots_are_retired::<SmallQueues>();
}

#[test]
fn spent_slots_of_large_queues_are_retired() {
    spent_slots_are_retired::<LargeQueues<Wheel<16, 8>>>();
}
