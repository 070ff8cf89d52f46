//! The large loop, with every storage and geometry of a wheel.

use core::fmt::Write;

use kpt_core::board::LinePoller;
use kpt_core::large::{EventLoop, FixedStorage, LargeLoop, Wheel};

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
}
