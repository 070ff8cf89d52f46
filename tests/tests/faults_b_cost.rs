//! Fault B21 of the original: costs that grow with the number of threads.

use kpt_core::Source;
use kpt_std::{HeapStorage, Thread};
use kpt_tests::pollers::AllReady;
use kpt_tests::sys;

/// The processor time of one of `threads` threads, at best of a few: to be added, to be dispatched when all are ready,
/// and to be cancelled.
fn cost_per_thread(threads: u32) -> [f64; 3] {
    let mut best = [f64::MAX; 3];
    for _ in 0..5 {
        let storage: HeapStorage<u32, ()> = HeapStorage::new(threads as usize).unwrap();
        let mut kpt = kpt_core::large::EventLoop::with_storage(AllReady::new(threads), storage);
        let mut ids = Vec::with_capacity(threads as usize);
        let mut at = [sys::thread_cpu_time(); 4];
        for number in 0..threads {
            let again = |runs: &mut u32, thread: Thread<u32>| {
                *runs += 1;
                thread.again();
            };
            let id = kpt.threads().add_read("reader", Source::new(number), again, ()).unwrap();
            ids.push(id);
        }
        at[1] = sys::thread_cpu_time();
        let mut runs = 0;
        kpt.turn(&mut runs).unwrap();
        assert_eq!(runs, threads);
        at[2] = sys::thread_cpu_time();
        for &id in &ids {
            kpt.threads().cancel(id).unwrap();
        }
        at[3] = sys::thread_cpu_time();
        for (step, best) in best.iter_mut().enumerate() {
            *best = best.min((at[step + 1] - at[step]).as_secs_f64() / f64::from(threads));
        }
    }
    best
}

/// With 64 times as many threads, what is O(n) for each of them costs 64 times as much: as it does in a small loop, which
/// is not for so many.
#[test]
fn b21_costs_do_not_grow_with_the_number_of_threads() {
    let (few, many) = (cost_per_thread(1_000), cost_per_thread(64_000));
    for (step, (few, many)) in
        ["add", "dispatch", "cancel"].into_iter().zip(few.into_iter().zip(many))
    {
        assert!(many < few * 20.0, "{step}: {few:e} s each of 1,000, {many:e} s each of 64,000");
    }
}
