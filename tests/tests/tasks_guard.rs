//! The guard of a process that has tasks: what it costs. One for a process, whatever its size and however many tasks and
//! loops it has; no wait for any child finds it, and nothing of it is left at the end.

use std::fs;
use std::time::{Duration, Instant as Stopwatch};

use kpt_std::{EventLoop, Spawner};
use kpt_tests::attack;
use kpt_tests::chance::{is_checked, is_under_valgrind};
use kpt_tests::sys;
use kpt_tests::sys::family;
use kpt_tests::tasks::{One, Script, start, use_and_end};

const ECHO: Script = |_, _| Ok(());

/// The private memory that a guard may have, in KiB.
const MOST_PRIVATE: u64 = 64;

/// Returns the number of the only guard of this process.
fn guard() -> u32 {
    let guards = || {
        let children = family::children_of(std::process::id()).into_iter();
        children.filter(|child| child.name == "kpt-guard").map(|child| child.id).collect::<Vec<_>>()
    };
    // It gives itself its name.
    let begin = Stopwatch::now();
    while guards().is_empty() && begin.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // And gives back memory after that.
    std::thread::sleep(Duration::from_millis(50));
    let [guard] = guards()[..] else { panic!("{:?}", family::children_of(std::process::id())) };
    guard
}

/// Returns the memory of a process that nobody else has, and its share of what others have too, in KiB.
fn private_and_share_of(process: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("Linux has it");
    let sum = |titles: &[&str]| {
        let lines = text.lines().filter(|line| titles.iter().any(|title| line.starts_with(title)));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    };
    (sum(&["Private_Clean:", "Private_Dirty:", "Swap:"]), sum(&["Pss:"]))
}

fn count_descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).expect("Linux has it").count()
}

fn there_is_one_guard_for_all_tasks_and_loops() {
    let mut kpt: EventLoop<One> = EventLoop::with_capacity(2).expect("a loop");
    let spawner = Spawner::new();
    let tasks: Vec<_> = (0..20).map(|_| start(&spawner, ECHO)).collect();
    let own = guard();
    let of_loop: Vec<_> = (0..20).map(|_| start(&kpt.spawner(), ECHO)).collect();
    assert_eq!(guard(), own);
    drop(tasks);
    drop(spawner);
    assert_eq!(guard(), own, "the loop still has tasks");
    let last = of_loop.into_iter().next_back().expect("there are 20");
    last.stop(Duration::from_secs(8));
    One::run(&mut kpt, last);
    drop(kpt);
    let children = family::children_of(std::process::id());
    assert!(children.is_empty(), "it has ended with the last loop, and was reaped: {children:?}");
}

/// Memory that the parent had at the first start, and has written to since then, is not kept by the guard.
fn r45_a_guard_is_small_whatever_its_parent_is() {
    const LARGE: usize = 256 << 20;
    let mut memory = vec![1_u8; LARGE];
    let spawner = Spawner::new();
    let begin = Stopwatch::now();
    let first = start(&spawner, ECHO);
    let with_guard = begin.elapsed();
    let begin = Stopwatch::now();
    let second = start(&spawner, ECHO);
    let without = begin.elapsed();
    let guard = guard();
    let (early, _) = private_and_share_of(guard);
    use_and_end(&first);
    use_and_end(&second);
    memory.fill(2);
    let (late, share) = private_and_share_of(guard);
    println!(
        "NOTE a guard of a parent of 256 MB: {early} KiB private, {late} KiB when the parent has written to all of it; its share of all memory is {share} KiB. A start with it: {with_guard:?}; without: {without:?}"
    );
    assert!(is_checked() || late <= MOST_PRIVATE, "{late} KiB");
    assert_eq!(memory[LARGE - 1], 2);
}

/// The one of a small process, whose memory is in small pieces.
fn r45_a_guard_of_a_process_with_small_pieces_is_small() {
    let mut pieces: Vec<_> = (0..3_000).map(|at| vec![at as u8; 100]).collect();
    let spawner = Spawner::new();
    let tasks: Vec<_> = (0..100).map(|_| start(&spawner, ECHO)).collect();
    let guard = guard();
    // They have a share in the memory as well.
    tasks.iter().for_each(use_and_end);
    pieces.iter_mut().for_each(|piece| piece.fill(1));
    assert_eq!(pieces[900][99], 1);
    let (private, share) = private_and_share_of(guard);
    println!(
        "NOTE a guard that has had 100 tasks: {private} KiB private; its share of all memory is {share} KiB"
    );
    assert!(is_checked() || private <= MOST_PRIVATE, "{private} KiB");
}

/// A spawner that is the only one makes a guard at its first start, and ends it when it is dropped.
fn making_a_guard_takes_no_longer_than_a_task() {
    let shortest = |measure: &dyn Fn() -> Duration| (0..60).map(|_| measure()).min();
    let of_start = |spawner: &Spawner| {
        let begin = Stopwatch::now();
        let task = start(spawner, ECHO);
        let time = begin.elapsed();
        use_and_end(&task);
        time
    };
    let first = shortest(&|| of_start(&Spawner::new())).expect("60 of them");
    let spawner = Spawner::new();
    of_start(&spawner);
    let later = shortest(&|| of_start(&spawner)).expect("60 of them");
    println!("NOTE the shortest first start, with a guard: {first:?}; another one: {later:?}");
    assert!(is_checked() || first <= 4 * later, "{first:?}, {later:?}");
}

/// Its parent's descriptors are not kept open by it, with an old kernel neither.
fn a_guard_has_three_descriptors() {
    if is_under_valgrind() {
        return println!("SKIPPED: valgrind has descriptors of its own");
    }
    for is_old in [false, true] {
        let tester = sys::fork_and(|| {
            if is_old {
                attack::forbid(&[libc::SYS_close_range], libc::ENOSYS).expect("filters can be set");
            }
            let null = fs::File::open("/dev/null").expect("Linux has it");
            let high = sys::duplicate_from(&null, 900).expect("a number is free");
            let task = start(&Spawner::new(), ECHO);
            // Once it has registered, and when the guard has taken notice.
            assert_eq!(count_descriptors(guard()), 3, "an old kernel: {is_old}");
            use_and_end(&task);
            drop((null, high));
        });
        assert_eq!(sys::exit_code(tester.expect("a fork")).expect("a child"), Some(0));
    }
}

/// A new guard is told of all tasks. One that hangs, or has a busy machine, has a full queue then.
fn r52_a_guard_that_does_not_read_keeps_no_parent_waiting() {
    if is_under_valgrind() {
        return println!("SKIPPED: valgrind does not know the call that sets such filters");
    }
    let spawner = Spawner::new();
    // More than the queue has room for.
    let tasks: Vec<_> = (0..400).map(|_| start(&spawner, ECHO)).collect();
    let own = guard();
    let listener = attack::hang(&[libc::SYS_recvmsg]).expect("filters can be set");
    sys::kill(own);
    let me = std::process::id();
    while family::children_of(me).iter().any(|child| child.id == own && !child.is_dead()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let begin = Stopwatch::now();
    let last = start(&spawner, ECHO);
    assert!(last.receive().is_none());
    let passed = begin.elapsed();
    println!("NOTE a start with a guard that does not read: {passed:?}");
    assert!(passed < Duration::from_millis(500), "{passed:?}");
    drop(listener);
    drop((tasks, last, spawner));
}

/// An application that waits for any child does not get the guard, nor a signal at its end.
fn no_wait_for_any_child_finds_a_guard() {
    let task = start(&Spawner::new(), |_, _| std::process::exit(0));
    sys::kill(guard());
    assert_eq!(sys::wait_for_any().expect("a child"), task.id());
    assert!(sys::wait_for_any().is_err(), "there is no other one");
}

kpt_tests::scenarios! {
    there_is_one_guard_for_all_tasks_and_loops,
    r45_a_guard_is_small_whatever_its_parent_is,
    r45_a_guard_of_a_process_with_small_pieces_is_small,
    making_a_guard_takes_no_longer_than_a_task,
    a_guard_has_three_descriptors,
    r52_a_guard_that_does_not_read_keeps_no_parent_waiting,
    no_wait_for_any_child_finds_a_guard,
}
