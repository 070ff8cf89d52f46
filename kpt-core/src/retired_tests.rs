//! Slots whose generations are used up. No test could use up all of them, so these tests age the tables first.

use core::time::Duration;

use crate::sim::{SimPoller, World};
use crate::*;

const SLOTS: usize = 3;

/// Each slot can hold two more threads. Both are used up: the first ends by being cancelled, the second by running.
macro_rules! spent_slots_are_retired {
    ($name:ident, $new_loop:expr) => {
        #[test]
        fn $name() {
            let world = World::new();
            let mut kpt = $new_loop(SimPoller::new(&world));
            kpt.age_to(2);
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
            let more = kpt.threads().add_execute("more", count, ());
            assert!(matches!(more, Err(AddError::Full(()))));
            for id in first.into_iter().chain(last) {
                assert_eq!(kpt.threads().cancel(id), Err(Stale));
            }
            kpt.threads().verify().unwrap();
        }
    };
}

spent_slots_are_retired!(
    spent_slots_of_a_small_loop_are_retired,
    FixedLoop::<SimPoller<'_>, u32, SLOTS>::new
);

#[cfg(feature = "large")]
spent_slots_are_retired!(
    spent_slots_of_a_large_loop_are_retired,
    large::LargeLoop::<SimPoller<'_>, u32, SLOTS>::new
);
