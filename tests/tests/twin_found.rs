//! What `twin.rs` has found, each as a test of its own on both loops.

use std::time::Duration;

use kpt_core::sim::{SimPoller, World};
use kpt_core::{AddError, Instant};
use kpt_tests::loops::{Shape, any_loop};

const BOTH: [Shape; 2] = [Shape::Small, Shape::Wheel(16, 8)];

/// The clock has gone on when a timer is refused for want of room, and then goes back: the large loop had read it, and
/// the small one had not.
#[test]
fn w01_an_add_that_finds_no_room_does_not_read_the_clock() {
    for shape in BOTH {
        let world: World = World::starting_at(Instant::from_micros(100));
        let mut kpt = any_loop::<_, (), ()>(SimPoller::new(&world), 1, shape);
        kpt.threads().add_execute("first", |_, _| {}, ()).unwrap();
        world.set_now(Instant::from_micros(200));
        let second = kpt.threads().add_timer("second", Duration::from_micros(1), |_, _| {}, ());
        assert!(matches!(second, Err(AddError::Full(()))));
        world.set_now(Instant::from_micros(150));
        assert_eq!(kpt.threads().now(), Instant::from_micros(150), "{shape:?}");
    }
}
