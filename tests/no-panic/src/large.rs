//! The large loop, its storage and its timers.

use core::fmt::Write;

use kpt_core::board::LinePoller;
use kpt_core::{EventLoop, FixedStorage, Index, Instant, LargeLoop, Link, Timers, Wheel};

use crate::{
    LINES, Outside, OutsideBoard, Sink, State, exercise, see_next, seen, unknown, use_threads,
};

pub fn exercise_all(state: &mut State<'_>) {
    exercise!(LargeLoop::<_, _, 0, u32>::new(Outside), &mut *state);
    exercise!(LargeLoop::<_, _, 2, u32>::new(Outside), &mut *state);
    exercise!(LargeLoop::<_, _, 64, u32>::new(Outside), &mut *state);
    exercise!(
        LargeLoop::<_, _, 2, u32, Wheel<64, 6>>::with_timers(Outside, Wheel::<64, 6>::new()),
        &mut *state
    );
    exercise!(
        LargeLoop::<_, _, 64, u32, Wheel<64, 6>>::with_timers(Outside, Wheel::<64, 6>::new()),
        &mut *state
    );
    exercise!(LargeLoop::<_, _, 2, u32>::new(LinePoller::new(OutsideBoard(&LINES))), &mut *state);
    // Made of parts.
    let storage: FixedStorage<_, _, 2> = FixedStorage::new();
    exercise!(EventLoop::<_, _, u32, _>::with_storage(Outside, storage), &mut *state);
    let storage: FixedStorage<_, _, 64, Wheel<64, 6>> = FixedStorage::with_timers(Wheel::new());
    exercise!(EventLoop::<_, _, u32, _>::with_storage(Outside, storage), &mut *state);
    exercise_timers(&mut Wheel::<16, 8>::new());
}

fn exercise_timers(timers: &mut dyn Timers) {
    let mut links = [Link::VACANT; 4];
    while let Some(index) = Index::new(unknown() as usize) {
        if let Some(link) = links.get_mut(index.position()) {
            link.set_deadline(Instant::from_micros(unknown()));
        }
        timers.insert(&mut links, index);
        timers.remove(&mut links, index);
        seen(timers.next_deadline(&links).as_micros() ^ timers.position().as_micros());
        timers.advance(&mut links, Instant::from_micros(unknown()));
        seen(timers.pop(&mut links).map_or(0, |index| index.position() as u64));
        seen(timers.verify(&links).map_or(0, |count| count as u64));
    }
}
