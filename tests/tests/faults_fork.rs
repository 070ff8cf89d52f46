//! Faults of descriptors in processes that were forked by hand, by their numbers: each with one OS thread, as only such a
//! process can be copied as a whole.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::Duration;

use kpt_std::{Exit, Readiness, source};
use kpt_tests::loops::{Ran, Trace, real_loop, record, wait_without_spinning};
use kpt_tests::real::Real;
use kpt_tests::rigs::pair;
use kpt_tests::sys;
use kpt_tests::time::millis;

/// The kernel gives a forked process a table of descriptors that is no larger than it must be. Select takes no notice of
/// numbers beyond it.
fn r03_a_closed_descriptor_is_told_in_a_process_forked_by_hand() {
    for real in Real::all() {
        sys::set_descriptor_limit(4_096).unwrap();
        let (low, _other) = pair();
        let high = sys::duplicate_from(&low, 3_000).unwrap();
        let (closed, open) = (sys::duplicate_from(&low, 2_900).unwrap(), &low);
        let mut kpt = real_loop::<Ran, ()>(4, real);
        let mut ran = Ran::new();
        for file in [&high, &closed] {
            kpt.threads().add_read("closed", source(file), record, ()).unwrap();
        }
        kpt.threads().add_read("open", source(open), record, ()).unwrap();
        kpt.threads().add_timer("turn", Duration::ZERO, |_, _| {}, ()).unwrap();
        kpt.turn(&mut ran).unwrap();
        let numbers = [closed, high].map(|file| file.as_raw_fd() as u32);
        let child = sys::fork_and(|| {
            kpt.turn_until(&mut ran, &mut |ran| ran.len() == 2);
            ran.sort_unstable_by_key(|&(number, _)| number);
            assert_eq!(ran, numbers.map(|number| (number, Readiness::ERROR)));
            assert_eq!(kpt.threads().len(), 1);
        });
        assert_eq!(sys::exit_code(child.unwrap()).unwrap(), Some(0));
    }
}

/// A reader of one that is closed before the thread ends, while its file lives on in another process. The set goes on
/// telling of it, and its number is that of another file.
fn f04_a_closed_fd_whose_file_lives_on_in_a_task() {
    for real in Real::all() {
        let (old, mut to_old) = pair();
        let mut kpt = real_loop::<Trace, ()>(4, real);
        kpt.threads().add_read("old", source(&old), |trace, _| trace.push("old"), ()).unwrap();
        kpt.threads().add_timer("turn", Duration::ZERO, |_, _| {}, ()).unwrap();
        let mut trace = Trace::new();
        kpt.turn(&mut trace).unwrap();
        // It has a copy of everything.
        let task = sys::fork_and(|| std::thread::sleep(Duration::from_secs(60))).unwrap();

        let number = source(&old);
        drop(old);
        kpt.threads().cancel_source(number);
        let (new, mut to_new) = pair();
        assert_eq!(source(&new), number);
        kpt.threads().add_read("new", number, |trace, _| trace.push("new"), ()).unwrap();
        to_old.write_all(b"x").unwrap();
        wait_without_spinning(&mut *kpt, &mut trace);
        assert_eq!(trace, ["timer"], "what is readable is not watched");
        to_new.write_all(b"x").unwrap();
        assert_eq!(kpt.run_verified(&mut trace).unwrap(), Exit::Empty);
        assert_eq!(trace, ["timer", "new"]);
        sys::kill(task);
        sys::wait_for(task).unwrap();
    }
}

/// What a forked process does with its copy of the loop is not for the parent's.
fn f10_a_set_that_is_shared_with_a_forked_process() {
    for real in Real::all() {
        let (ours, mut theirs) = pair();
        let (low, mut to_low) = pair();
        let mut kpt = real_loop::<Ran, ()>(4, real);
        kpt.threads().add_read("reader", source(&ours), record, ()).unwrap();
        kpt.threads().add_timer("later", millis(50), |_, _| {}, ()).unwrap();
        kpt.threads().add_timer("turn", Duration::ZERO, |_, _| {}, ()).unwrap();
        let mut ran = Ran::new();
        kpt.turn(&mut ran).unwrap();
        let child = sys::fork_and(|| {
            kpt.threads().cancel_source(source(&ours));
            kpt.threads().add_read("its own", source(&low), record, ()).unwrap();
            to_low.write_all(b"x").unwrap();
            assert_eq!(kpt.run_verified(&mut ran).unwrap(), Exit::Empty);
            assert_eq!(ran, [(source(&low).number(), Readiness::READABLE)]);
        });
        assert_eq!(sys::exit_code(child.unwrap()).unwrap(), Some(0));
        theirs.write_all(b"x").unwrap();
        assert_eq!(kpt.run_verified(&mut ran).unwrap(), Exit::Empty);
        assert_eq!(ran, [(source(&ours).number(), Readiness::READABLE)]);
    }
}

kpt_tests::scenarios! {
    r03_a_closed_descriptor_is_told_in_a_process_forked_by_hand,
    f04_a_closed_fd_whose_file_lives_on_in_a_task,
    f10_a_set_that_is_shared_with_a_forked_process,
}
