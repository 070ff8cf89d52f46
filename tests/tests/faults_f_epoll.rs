//! Faults of descriptors that a set in the kernel brings along, by their numbers.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kpt_std::{EpollPoller, EventLoop, Exit, Next, Readiness, Thread, source};
use kpt_tests::loops::{Ran, Shape, Trace, real_loop, record, wait_without_spinning};
use kpt_tests::process::{all_in_own_process, command, is_own_process};
use kpt_tests::real::{Backend, Real};
use kpt_tests::rigs::pair;
use kpt_tests::sys;
use kpt_tests::time::millis;

/// What the loop of a test is on, where there is only one.
const EPOLL: Real = Real { shape: Shape::HOST, backend: Backend::Epoll };

/// Its thread has not ended when it is closed, and the set goes on telling of the file. That of another process:
/// `faults_fork.rs`.
#[test]
fn f04_a_closed_fd_that_has_a_duplicate() {
    all_in_own_process("f04_a_closed_fd_that_has_a_duplicate", |real| {
        let (old, mut to_old) = pair();
        let _duplicate = old.try_clone().unwrap();
        let (other, mut to_other) = pair();
        let mut kpt = real_loop::<Trace, ()>(4, real);
        kpt.threads().add_read("old", source(&old), |trace, _| trace.push("old"), ()).unwrap();
        kpt.threads()
            .add_read("other", source(&other), |trace, _| trace.push("other"), ())
            .unwrap();
        kpt.threads().add_timer("turn", Duration::ZERO, |_, _| {}, ()).unwrap();
        let mut trace = Trace::new();
        kpt.turn(&mut trace).unwrap();
        let number = source(&old);
        drop(old);
        kpt.threads().cancel_source(number);
        to_old.write_all(b"x").unwrap();
        wait_without_spinning(&mut *kpt, &mut trace);
        to_other.write_all(b"x").unwrap();
        assert_eq!(kpt.run_verified(&mut trace).unwrap(), Exit::Empty);
        assert_eq!(trace, ["timer", "other"]);
    });
}

/// No descriptor is left for a set in its place, so that the kernel goes on telling of it.
#[test]
fn f04_a_closed_fd_that_has_a_duplicate_while_there_is_no_room_for_a_set() {
    const NAME: &str = "f04_a_closed_fd_that_has_a_duplicate_while_there_is_no_room_for_a_set";
    all_in_own_process(NAME, |real| {
        let (old, mut to_old) = pair();
        let _duplicate = old.try_clone().unwrap();
        let mut kpt = real_loop::<Trace, ()>(4, real);
        kpt.threads().add_read("old", source(&old), |trace, _| trace.push("old"), ()).unwrap();
        kpt.threads().add_timer("turn", Duration::ZERO, |_, _| {}, ()).unwrap();
        let mut trace = Trace::new();
        kpt.turn(&mut trace).unwrap();
        let number = source(&old);
        drop(old);
        kpt.threads().cancel_source(number);
        to_old.write_all(b"x").unwrap();
        sys::set_descriptor_limit(3).unwrap();
        let delay = millis(200);
        kpt.threads().add_timer("timer", delay, |trace, _| trace.push("timer"), ()).unwrap();
        let before = sys::thread_cpu_time();
        assert_eq!(kpt.run_verified(&mut trace).unwrap(), Exit::Empty);
        let busy = sys::thread_cpu_time() - before;
        assert!(busy < delay / 8, "spins for {busy:?} of {delay:?}");
        assert_eq!(trace, ["timer"]);
    });
}

/// Select sees the new file at once. Epoll has the old one until it looks for those that were closed.
#[test]
fn f05_another_file_is_put_in_the_place_of_a_watched_one() {
    all_in_own_process("f05_another_file_is_put_in_the_place_of_a_watched_one", |real| {
        let (old, _to_old) = pair();
        let (new, mut to_new) = pair();
        let old = OwnedFd::from(old);
        let _duplicate = old.try_clone().unwrap();
        let mut kpt = real_loop::<Ran, ()>(4, real);
        kpt.threads().add_read("reader", source(&old), record, ()).unwrap();
        kpt.threads().add_timer("turn", Duration::ZERO, |_, _| {}, ()).unwrap();
        let mut ran = Ran::new();
        kpt.turn(&mut ran).unwrap();
        sys::replace(&old, &new).unwrap();
        to_new.write_all(b"x").unwrap();
        let start = Instant::now();
        assert_eq!(kpt.run_verified(&mut ran).unwrap(), Exit::Empty);
        assert_eq!(ran, [(source(&old).number(), Readiness::READABLE)]);
        let is_sweep = real == EPOLL;
        let most = if is_sweep { Duration::from_secs(10) } else { millis(1_000) };
        assert!(start.elapsed() < most, "{:?}", start.elapsed());
    });
}

/// Files of kinds that are not waited for: ready in each turn, until there is another file under the number.
#[test]
fn f11_a_regular_file_is_always_ready() {
    all_in_own_process("f11_a_regular_file_is_always_ready", |real| {
        let again = |ran: &mut Ran, thread: Thread<Ran>| {
            ran.push((thread.source().unwrap().number(), thread.readiness()));
            thread.again();
        };
        let file = OwnedFd::from(File::open(std::env::current_exe().unwrap()).unwrap());
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let mut kpt = real_loop::<Ran, ()>(4, real);
        kpt.threads().add_read("file", source(&file), again, ()).unwrap();
        kpt.threads().add_write("null", source(&null), again, ()).unwrap();
        let (read, written) = (
            (source(&file).number(), Readiness::READABLE),
            (source(&null).number(), Readiness::WRITABLE),
        );
        let mut ran = Ran::new();
        for _ in 0..10 {
            kpt.turn(&mut ran).unwrap();
            assert_eq!(std::mem::take(&mut ran), [written, read]);
        }
        kpt.threads().cancel_source(source(&null));
        let (pipe, mut to_pipe) = pair();
        sys::replace(&file, &pipe).unwrap();
        kpt.threads().add_timer("timer", millis(10), |_, _| {}, ()).unwrap();
        assert_eq!(kpt.turn(&mut ran).unwrap(), None);
        assert_eq!(ran, [], "the pipe is not readable");
        to_pipe.write_all(b"x").unwrap();
        kpt.turn(&mut ran).unwrap();
        assert_eq!(ran, [read]);
        kpt.threads().cancel_source(source(&file));
        assert_eq!(kpt.turn(&mut ran).unwrap(), Some(Exit::Empty));
    });
}

/// There is no room for the set; or none in it, which is the 3rd change of it, after the one of a new one.
#[test]
fn f15_no_room_in_the_kernel() {
    const NAME: &str = "f15_no_room_in_the_kernel";
    if !is_own_process(NAME) {
        let test = command(NAME);
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=epoll_ctl"])
            .args(["-e", "inject=epoll_ctl:error=ENOSPC:when=3"])
            .arg(test.get_program())
            .args(test.get_args())
            .envs(test.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null())
            .output();
        let Ok(output) = strace else { return println!("SKIPPED: there is no strace") };
        return assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let (pipes, limit) = ([pair(), pair()], 4_096);
    sys::set_descriptor_limit(3).unwrap();
    let error = EpollPoller::new().err().and_then(|error| error.raw_os_error());
    assert_eq!(error, Some(libc::EMFILE));
    sys::set_descriptor_limit(limit).unwrap();

    let mut kpt = real_loop::<Ran, ()>(4, EPOLL);
    let on_readable = |ran: &mut Ran, thread: Thread<Ran>| {
        let readiness = thread.readiness();
        ran.push((thread.source().unwrap().number(), readiness));
        if readiness.is_error() {
            thread.again();
        }
    };
    for (ours, theirs) in &pipes {
        { theirs }.write_all(b"x").unwrap();
        kpt.threads().add_read("reader", source(ours), on_readable, ()).unwrap();
    }
    let mut ran = Ran::new();
    assert_eq!(kpt.run_verified(&mut ran).unwrap(), Exit::Empty);
    let [first, second] = pipes.each_ref().map(|(ours, _)| source(ours).number());
    let mut expected =
        [(first, Readiness::READABLE), (second, Readiness::ERROR), (second, Readiness::READABLE)];
    ran.sort_by_key(|&(number, readiness)| (number, !readiness.is_error()));
    expected.sort_by_key(|&(number, readiness)| (number, !readiness.is_error()));
    assert_eq!(ran, expected);
}

/// The set of the kernel's events is not the one that a host waits for, and is put into that when it is asked for.
#[test]
fn a_host_is_told_that_its_guest_has_something_to_do() {
    let (end, mut to_end) = pair();
    let mut guest = EventLoop::<u32>::with_capacity(4).unwrap();
    guest.threads().add_read("end", source(&end), |count, _| *count += 1, ()).unwrap();
    let mut count = 0;
    // The moment is that of the search for closed descriptors.
    assert!(matches!(guest.poll(&mut count).unwrap(), Next::Wait(_)));
    let mut host = EventLoop::<u32>::with_capacity(4).unwrap();
    for (wakes, period) in [(0, millis(20)), (1, Duration::from_secs(10))] {
        let mut woken = 0;
        host.threads().add_read("guest", source(&guest), |woken, _| *woken += 1, ()).unwrap();
        let end_run = |_: &mut u32, mut thread: Thread<u32>| thread.threads().stop();
        host.threads().add_timer("end", period, end_run, ()).unwrap();
        while woken < wakes || wakes == 0 {
            if host.turn(&mut woken).unwrap().is_some() {
                break;
            }
        }
        assert_eq!(woken, wakes);
        host.threads().cancel_source(source(&guest));
        if wakes == 0 {
            to_end.write_all(b"x").unwrap();
        }
    }
    assert_eq!(guest.poll(&mut count).unwrap(), Next::Exit(Exit::Empty));
    assert_eq!(count, 1);
}
