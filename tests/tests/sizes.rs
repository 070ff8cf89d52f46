//! What a loop costs in bytes, pinned: slimness is decided by the shape of the tables.

use std::convert::Infallible;
use std::mem::size_of;
use std::sync::Mutex;

use kpt_core::{
    Body, FixedLoop, Instant, Interest, LargeQueues, Link, Poller, Queues, Ready, SmallQueues,
    Source, Unwatchable, Wheel,
};
use kpt_std::HostQueues;
use kpt_tests::sys::is_in_bss;

/// A poller of no bytes, so that a loop's size is its own.
struct NoPoller;

impl Poller for NoPoller {
    type Error = Infallible;

    fn now(&mut self) -> Instant {
        Instant::ZERO
    }

    fn modify(&mut self, _: Source, _: Interest) -> Result<(), Unwatchable> {
        Ok(())
    }

    fn wait(&mut self, _: Option<Instant>, _: &mut Ready<'_>) -> Result<Instant, Infallible> {
        Ok(Instant::ZERO)
    }
}

struct App;

/// A loop without threads: what is there whatever the capacity is.
const fn head<Q: Queues>() -> usize {
    size_of::<FixedLoop<NoPoller, App, 0, (), Q>>()
}

#[test]
#[cfg(target_pointer_width = "64")]
fn the_tables_are_as_small_as_the_readme_says() {
    assert_eq!(size_of::<Link>(), 32);
    assert_eq!(size_of::<Body<App, ()>>(), 32);
    assert_eq!(size_of::<Body<App, u64>>(), 40);
    let heads = [
        ("SmallQueues", head::<SmallQueues>()),
        ("LargeQueues<Wheel<16, 8>>", head::<LargeQueues<Wheel<16, 8>>>()),
        ("LargeQueues<Wheel<64, 6>>", head::<HostQueues>()),
    ];
    println!("heads: {heads:?}");
    assert!(heads[0].1 <= 128, "few threads: {}", heads[0].1);
    assert!(heads[1].1 <= 1_280, "4-bit wheel: {}", heads[1].1);
    let readme = include_str!("../../README.md");
    for (queues, bytes) in heads {
        let cell = format!("(`{queues}`) | {bytes} bytes");
        assert!(readme.contains(&cell), "the README does not say {cell}");
    }
}

#[test]
fn a_new_loop_is_all_zero_bytes() {
    type WheelLoop = FixedLoop<NoPoller, App, 8, u32, LargeQueues<Wheel<16, 8>>>;
    // The mutex is zero bytes as well, and makes the static one that can't be put into read-only memory.
    static FEW: Mutex<FixedLoop<NoPoller, App, 8>> = Mutex::new(FixedLoop::new(NoPoller));
    static WHEEL: Mutex<WheelLoop> =
        Mutex::new(WheelLoop::with_queues(NoPoller, LargeQueues::with_timers(Wheel::new())));
    static NOT_ZERO: Mutex<u8> = Mutex::new(1);
    assert!(is_in_bss(&FEW));
    assert!(is_in_bss(&WHEEL));
    assert!(!is_in_bss(&NOT_ZERO));
}

#[test]
fn a_loop_for_a_million_threads_can_be_built() {
    let mut kpt = kpt_std::EventLoop::<App>::with_capacity(1_000_000);
    assert_eq!(kpt.threads().capacity(), 1_000_000);
}
