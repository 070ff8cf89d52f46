//! Fault R8: memory for threads is not resident before it is used.

use kpt_core::Source;
use kpt_std::{EventLoop, Exit, Thread, When};
use kpt_tests::process::in_own_process;

/// The memory of this process that is resident, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    let pages = statm.split(' ').nth(1).expect("it has a second column");
    pages.parse::<usize>().expect("it is a number") * 4_096
}

/// The threads of 1,000 timers, 100 readers that are refused, and 100 execute threads, in a loop for two million.
#[test]
fn r08_room_for_threads_is_not_resident_before_it_is_used() {
    in_own_process("r08_room_for_threads_is_not_resident_before_it_is_used", || {
        let before = resident();
        let mut kpt = EventLoop::<u32, [u64; 8]>::with_capacity(2_000_000).unwrap();
        let constructed = resident() - before;
        let hook = |runs: &mut u32, _: Thread<u32, [u64; 8]>| *runs += 1;
        let mut threads = kpt.threads();
        for number in 0..1_000 {
            let delay = std::time::Duration::from_micros(u64::from(number % 100) * 100);
            threads.add("timer", When::After(delay), hook, [7; 8]).unwrap();
            if number % 10 == 0 {
                let source = Source::new(10_000 + number);
                threads.add("reader", When::Readable(source), hook, [7; 8]).unwrap();
                threads.add("execute", When::Now, hook, [7; 8]).unwrap();
            }
        }
        let mut runs = 0;
        assert_eq!(kpt.run(&mut runs).unwrap(), Exit::Empty);
        assert_eq!(runs, 1_200);
        let used = resident() - before;
        // The tables are 256 MB; 1,200 threads of them are in the first huge page of each.
        assert!(constructed < 1 << 20, "{constructed} bytes resident when constructed");
        assert!(used < 5 << 20, "{used} bytes resident when used");
    });
}

/// More room than a loop can have threads is not asked for.
#[test]
fn r08_room_beyond_the_largest_is_not_resident() {
    in_own_process("r08_room_beyond_the_largest_is_not_resident", || {
        let before = resident();
        let mut kpt = EventLoop::<u32>::with_capacity(40_000_000).unwrap();
        assert_eq!(kpt.threads().capacity(), 16_777_215);
        let constructed = resident() - before;
        assert!(constructed < 1 << 20, "{constructed} bytes resident when constructed");
    });
}
