//! What a loop costs in bytes, pinned: slimness is decided by the shape of the tables.

use std::cmp::Ordering;
use std::convert::Infallible;
use std::mem::size_of;
use std::num::NonZero;
use std::sync::Mutex;

use kpt_core::{
    FixedLoop, Instant, Interest, Source,
    large::{Body, FixedStorage, LargeLoop, Link, Wheel},
    poller::{Poller, Ready, Unwatchable},
};
use kpt_std::HostTimers;
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

    fn wait(&mut self, _: Instant, _: &mut Ready<'_>) -> Result<Instant, Infallible> {
        Ok(Instant::ZERO)
    }
}

struct App;

/// A small loop for that many threads.
type Small<const N: usize, A = ()> = FixedLoop<NoPoller, App, N, A>;
/// A large one.
type Large<const N: usize, A = (), W = Wheel<16, 8>> = LargeLoop<NoPoller, App, N, A, W>;

#[test]
#[cfg(target_pointer_width = "64")]
fn the_tables_are_as_small_as_the_readme_says() {
    let slot = size_of::<Small<1>>() - size_of::<Small<0>>();
    assert_eq!(size_of::<Small<9>>(), size_of::<Small<0>>() + 9 * slot);
    assert_eq!(size_of::<Small<1, u64>>() - size_of::<Small<0, u64>>(), slot + 8);
    assert_eq!((size_of::<Link>(), size_of::<Body<App, ()>>()), (32, 32));
    assert_eq!(size_of::<Body<App, u64>>(), 40);
    // What is there whatever the capacity is.
    let (small, large) = (size_of::<Small<0>>(), size_of::<Large<0>>());
    let host = size_of::<Large<0, (), HostTimers>>();
    println!("slot {slot}, small {small}, large {large}, host {host}");
    assert!(small <= 64, "small loop: {small}");
    assert!(large <= 1_280, "large loop, 4-bit wheel: {large}");
    assert!(host <= 34_000, "loop of kpt-std: {host}");
    let readme = include_str!("../../README.md");
    // With the feature `log`, which another package of the workspace may have turned on, a loop also has a function that
    // shows arguments.
    let (in_small, in_large) = (size_of::<fn()>(), align_of::<Large<0>>());
    for (name, bytes, show) in [
        ("thread of a small loop", slot, 0),
        ("thread of a large loop", 64, 0),
        ("a small loop (`FixedLoop`)", small, in_small),
        ("a large loop, 4-bit timer wheel (`LargeLoop`)", large, in_large),
        ("a loop of `kpt-std` (10-bit timer wheel)", host, in_large),
    ] {
        let says = |bytes| readme.contains(&format!("{name} | {bytes} bytes"));
        assert!(says(bytes) || says(bytes - show), "not in the README: {name} {bytes}");
    }
}

/// Also with arguments that have spare values, in which an `Option` likes to hide its `None`.
#[test]
fn r10_loops_are_all_zero_bytes_for_every_argument() {
    #[derive(Clone, Copy)]
    #[allow(dead_code)] // It is about what it could be.
    enum Side {
        Left,
        Right,
        Both,
    }
    // The mutex is zero bytes as well, and makes the static one that can't be put into read-only memory.
    macro_rules! assert_zero {
        ($($Arg:ty),+ $(,)?) => {$({
            static SMALL: Mutex<Small<8, $Arg>> = Mutex::new(Small::new(NoPoller));
            static LARGE: Mutex<Large<8, $Arg>> = Mutex::new(Large::new(NoPoller));
            static HOST: Mutex<Large<8, $Arg, HostTimers>> =
                Mutex::new(Large::with_timers(NoPoller, HostTimers::new()));
            static TABLES: Mutex<FixedStorage<App, $Arg, 8>> = Mutex::new(FixedStorage::new());
            assert!(is_in_bss(&SMALL), "a small loop of {}", stringify!($Arg));
            assert!(is_in_bss(&LARGE), "a large loop of {}", stringify!($Arg));
            assert!(is_in_bss(&HOST), "a large loop, 8-bit wheel, of {}", stringify!($Arg));
            assert!(is_in_bss(&TABLES), "tables of {}", stringify!($Arg));
        })+};
    }
    static NOT_ZERO: Mutex<u8> = Mutex::new(1);
    assert!(!is_in_bss(&NOT_ZERO));
    assert_zero!(
        (),
        u8,
        u64,
        bool,
        char,
        Side,
        Ordering,
        NonZero<u32>,
        Option<u32>,
        Option<bool>,
        Option<Side>,
        &'static str,
        &'static u8,
        Box<u8>,
        Option<Box<u8>>,
        String,
        Result<bool, char>,
        (bool, u64),
        fn(),
    );
}

#[test]
fn a_loop_for_a_million_threads_can_be_built() {
    let mut kpt = kpt_std::EventLoop::<App>::with_capacity(1_000_000).unwrap();
    assert_eq!(kpt.threads().capacity(), 1_000_000);
}
