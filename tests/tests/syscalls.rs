//! What a loop on epoll asks of the system: one wait for all that is readable, no change of the set where threads run
//! again, no look at the clock without a timer, and no timer of the kernel's for a deadline that is only put off.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kpt_std::{Builder, EpollPoller, EventLoop, Thread, ThreadId, When, source};
use kpt_tests::process::{command, is_own_process};
use kpt_tests::rigs::pair;
use kpt_tests::sys;

/// How often this process has asked for the time. Such a call is no system call, so that strace does not show it.
static LOOKS_AT_THE_CLOCK: AtomicU64 = AtomicU64::new(0);

/// Takes the place of the C library's function.
///
/// # Safety
/// `time` is a valid place for a timespec.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    LOOKS_AT_THE_CLOCK.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the caller ensures that `time` is a valid place for a timespec.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    libc::c_int::try_from(result).unwrap_or(-1)
}

/// How often each system call is made by the process that runs the test of that name alone. `None` where there is no
/// strace, and in that process.
fn calls_of(name: &str, test: impl FnOnce()) -> Option<HashMap<String, u64>> {
    if is_own_process(name) {
        test();
        return None;
    }
    let test = command(name);
    let output = std::process::Command::new("strace")
        .args(["-c", "-f", "-U", "calls,name", "-o", "|cat >&2"])
        .arg(test.get_program())
        .args(test.get_args())
        .envs(test.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        println!("SKIPPED: there is no strace");
        return None;
    };
    let table = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{table}", String::from_utf8_lossy(&output.stdout));
    let line = |line: &str| {
        let (count, call) = line.trim().split_once(' ')?;
        Some((call.trim().to_owned(), count.parse().ok()?))
    };
    Some(table.lines().filter_map(line).collect())
}

/// A thread that runs again at each message writes the next one into the pipe of another.
struct Ring {
    pipes: Vec<(UnixStream, UnixStream)>,
    ran: usize,
    limit: usize,
}

fn pass_on(ring: &mut Ring, mut thread: Thread<Ring, usize>) {
    let index = thread.arg;
    let (ours, _) = &ring.pipes[index];
    let mut byte = [0];
    { ours }.read_exact(&mut byte).unwrap();
    ring.ran += 1;
    if ring.ran == ring.limit {
        return thread.threads().stop();
    }
    let next = (index + 1) % ring.pipes.len();
    (&ring.pipes[next].1).write_all(&byte).unwrap();
    thread.again();
}

const PIPES: usize = 100;
const ACTIVE: usize = 10;
const MESSAGES: usize = 5_000;

#[test]
fn a_batch_costs_one_wait_and_again_nothing() {
    let calls = calls_of("a_batch_costs_one_wait_and_again_nothing", || {
        let pipes = (0..PIPES).map(|_| pair()).collect();
        let mut ring = Ring { pipes, ran: 0, limit: MESSAGES };
        let mut kpt = EventLoop::<Ring, usize>::with_capacity(PIPES).unwrap();
        for (index, (ours, _)) in ring.pipes.iter().enumerate() {
            kpt.threads().add_read("pipe", source(ours), pass_on, index).unwrap();
        }
        for (_, theirs) in ring.pipes.iter().step_by(PIPES / ACTIVE) {
            { theirs }.write_all(b"x").unwrap();
        }
        let looks = LOOKS_AT_THE_CLOCK.load(Ordering::Relaxed);
        kpt.run(&mut ring).unwrap();
        let looks = LOOKS_AT_THE_CLOCK.load(Ordering::Relaxed) - looks;
        // One to begin with, and some for the search for closed descriptors.
        assert!(looks < 10, "{looks} looks at the clock");
    });
    let Some(calls) = calls else { return };
    let count = |call| calls.get(call).copied().unwrap_or(0) as usize;
    println!("{calls:?}");
    let batches = MESSAGES / ACTIVE;
    assert!(count("epoll_wait") + count("epoll_pwait") <= batches + 10, "{calls:?}");
    // Each pipe once, and what the poller needs for itself.
    assert!(count("epoll_ctl") <= PIPES + 5, "{calls:?}");
    assert!(count("timerfd_settime") <= 1, "{calls:?}");
}

const SPIN: Duration = Duration::from_millis(2);
const NAP: Duration = Duration::from_millis(100);

/// It does so for each of three timers.
#[test]
fn a_wait_that_spins_looks_for_its_time_and_then_sleeps() {
    let calls = calls_of("a_wait_that_spins_looks_for_its_time_and_then_sleeps", || {
        let poller = EpollPoller::new().unwrap().spin_before_sleep(SPIN);
        let mut kpt = Builder::new().build_on(poller).unwrap();
        let on_time = |naps: &mut u32, thread: Thread<u32>| {
            *naps += 1;
            if *naps < 3 {
                thread.again();
            }
        };
        kpt.threads().add_timer("nap", NAP, on_time, ()).unwrap();
        let before = sys::thread_cpu_time();
        kpt.run(&mut 0).unwrap();
        let used = sys::thread_cpu_time() - before;
        assert!(used < NAP, "{used:?} of {:?}", 3 * NAP);
    });
    let Some(calls) = calls else { return };
    // musl has the other one.
    let count = |call| calls.get(call).copied().unwrap_or(0);
    assert!(count("epoll_wait") + count("epoll_pwait") >= 9, "{calls:?}");
}

/// A connection with an idle timer, which is put off at each message.
struct Connection {
    ours: UnixStream,
    theirs: UnixStream,
    idle: Option<ThreadId>,
    ran: usize,
}

const IDLE: Duration = Duration::from_secs(60);

fn on_message(connection: &mut Connection, mut thread: Thread<Connection>) {
    (&connection.ours).read_exact(&mut [0]).unwrap();
    connection.ran += 1;
    if connection.ran == MESSAGES {
        return thread.threads().stop();
    }
    let idle = connection.idle.unwrap();
    thread.threads().reschedule(idle, When::After(IDLE)).unwrap();
    (&connection.theirs).write_all(b"x").unwrap();
    thread.again();
}

#[test]
fn an_idle_timer_that_is_put_off_is_no_call_of_the_system() {
    let calls = calls_of("an_idle_timer_that_is_put_off_is_no_call_of_the_system", || {
        let (ours, theirs) = pair();
        let mut connection = Connection { ours, theirs, idle: None, ran: 0 };
        let mut kpt = EventLoop::<Connection>::with_capacity(2).unwrap();
        let mut threads = kpt.threads();
        threads.add_read("reader", source(&connection.ours), on_message, ()).unwrap();
        let idle = threads.add_timer("idle", IDLE, |_, _| panic!("is never idle"), ()).unwrap();
        connection.idle = Some(idle);
        { &connection.theirs }.write_all(b"x").unwrap();
        kpt.run(&mut connection).unwrap();
    });
    let Some(calls) = calls else { return };
    println!("{calls:?}");
    let armed = calls.get("timerfd_settime").copied().unwrap_or(0) as usize;
    assert!(armed < MESSAGES / 1_000, "{calls:?}");
}
