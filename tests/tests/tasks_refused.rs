//! Tasks of a parent to which a sandbox or an old kernel refuses calls: how they are signalled, and their end is seen.

use std::thread;
use std::time::{Duration, Instant as Stopwatch};

use kpt_std::{Parent, SignalError, Spawner, TaskConfig, TaskHandle, TaskStatus};
use kpt_tests::attack;
use kpt_tests::chance::is_checked;
use kpt_tests::sys;
use kpt_tests::sys::family;
use kpt_tests::tasks::{Scripted, message_of, start, start_deaf};
use libc::{
    ENOSYS, EPERM, SIGCHLD, SIGKILL, SIGTERM, SYS_kill, SYS_pidfd_open, SYS_pidfd_send_signal,
    SYS_wait4, SYS_waitid,
};

const GRACE: Duration = Duration::from_secs(8);

fn r22_a_signal_that_one_call_refuses_is_sent_by_another() {
    for error in [EPERM, ENOSYS] {
        attack::forbid(&[SYS_pidfd_send_signal], error).expect("filters can be set");
        let spawner = Spawner::new();
        let task = start_deaf(&spawner);
        task.kill().expect("there is another call");
        assert_eq!(task.wait().status, TaskStatus::Signal(SIGKILL));
        let task = start_deaf(&spawner);
        task.stop(Duration::from_millis(100));
        let exit = task.wait();
        assert_eq!((exit.status, exit.signal_error), (TaskStatus::Signal(SIGTERM), None));
    }
}

/// Deaf for some time; then it sees that its channel is closed, and ends.
fn start_deaf_for(spawner: &Spawner, time: Duration) -> TaskHandle {
    let config = TaskConfig::new("deaf").grace(Duration::from_millis(20));
    let build = |parent: Parent| {
        parent.send(b"deaf").expect("room");
        thread::sleep(time);
        Scripted::new(parent, |_, _| Ok(()))
    };
    let task = spawner.start(config, build).expect("it starts");
    message_of(&task);
    task
}

fn r22_a_signal_that_can_not_be_sent_is_told() {
    attack::forbid(&[SYS_pidfd_send_signal, SYS_kill], EPERM).expect("filters can be set");
    let spawner = Spawner::new();
    let task = start_deaf_for(&spawner, Duration::from_millis(300));
    // It ends by itself, as it is asked to.
    task.stop(GRACE);
    let error = SignalError { signal: SIGKILL, error: EPERM };
    assert_eq!(task.kill(), Err(error));
    assert!(error.to_string().contains("signal 9") && error.to_string().contains("permitted"));
    let exit = task.wait();
    assert_eq!((&exit.status, exit.signal_error), (&TaskStatus::Code(0), Some(error)));
    assert!(exit.to_string().contains(&error.to_string()), "{exit}");
    assert_eq!(task.kill(), Ok(()), "it has ended");
}

fn r22_drop_returns_though_nothing_can_be_killed() {
    attack::forbid(&[SYS_pidfd_send_signal, SYS_kill], EPERM).expect("filters can be set");
    let spawner = Spawner::new();
    let task = start_deaf_for(&spawner, Duration::from_secs(2));
    let pid = task.id();
    let begin = Stopwatch::now();
    drop((task, spawner));
    let passed = begin.elapsed();
    assert!(is_checked() || passed < Duration::from_millis(1_500), "{passed:?}");
    // Left to others. It ends by itself, since its channel is closed.
    sys::wait_for(pid).expect("it is still a child");
}

fn r23_an_answer_that_is_refused_is_no_end() {
    attack::forbid(&[SYS_waitid], EPERM).expect("filters can be set");
    let task = start_deaf(&Spawner::new());
    task.stop(Duration::from_millis(100));
    let exit = task.wait();
    assert_eq!(exit.status, TaskStatus::Signal(SIGTERM), "another call can tell");
}

fn r23_where_no_call_tells_the_end_is_seen_all_the_same() {
    see_the_end_without_calls();
    // And no descriptors of processes.
    attack::forbid(&[SYS_pidfd_open], ENOSYS).expect("filters can be set");
    see_the_end_without_calls();
}

fn see_the_end_without_calls() {
    let tester = sys::fork_and(|| {
        attack::forbid(&[SYS_waitid, SYS_wait4], EPERM).expect("filters can be set");
        let task = start_deaf(&Spawner::new());
        let stat = format!("/proc/{}/stat", task.id());
        task.stop(Duration::from_millis(100));
        let exit = task.wait();
        assert_eq!((exit.status, exit.stopped.is_some()), (TaskStatus::Unknown, true));
        let state = std::fs::read_to_string(stat).expect("it was not reaped");
        assert!(state.contains(") Z "), "it lives: {state}");
    })
    .expect("a fork");
    // What it leaves is reaped by another process.
    assert_eq!(sys::exit_code(tester).expect("a child"), Some(0));
}

/// Neither `waitid` nor descriptors of processes.
fn forbid_to_ask() {
    attack::forbid(&[SYS_pidfd_open], ENOSYS).expect("filters can be set");
    attack::forbid(&[SYS_waitid], EPERM).expect("filters can be set");
}

/// With a kernel that has no descriptors of processes, either.
fn r53_where_no_call_asks_for_a_child_it_is_signalled_all_the_same() {
    forbid_to_ask();
    let task = start_deaf(&Spawner::new());
    task.stop(Duration::from_millis(100));
    let exit = task.wait();
    assert_eq!((&exit.status, exit.signal_error), (&TaskStatus::Signal(SIGTERM), None));
    assert_eq!(task.kill(), Ok(()), "it has ended");
    let task = start(&Spawner::new(), |_, _| std::process::exit(3));
    let (me, number) = (std::process::id(), task.id());
    while !family::children_of(me).iter().any(|child| child.id == number && child.is_dead()) {
        thread::sleep(Duration::from_millis(1));
    }
    task.kill().expect("it is gone, and was not reaped");
    assert_eq!(task.wait().status, TaskStatus::Code(3));
}

fn r54_a_task_with_any_name_is_signalled() {
    forbid_to_ask();
    // A program's name is cut after 15 bytes.
    for name in [&b"cut \xD1"[..], b"a) Z 1 (b", b") Z 1 ", b"\n\\)"] {
        std::fs::write("/proc/self/comm", name).expect("it is this process's own");
        let task = start_deaf(&Spawner::new());
        task.kill().expect("it lives");
        assert_eq!(task.wait().status, TaskStatus::Signal(SIGKILL));
    }
}

fn r54_a_task_whose_main_thread_has_ended_is_signalled() {
    forbid_to_ask();
    let task = start(&Spawner::new(), |child, _| {
        thread::spawn(|| thread::sleep(GRACE));
        child.parent.send(b"alone")?;
        sys::end_this_thread();
        Ok(())
    });
    let (me, number) = (std::process::id(), task.id());
    while !family::children_of(me).iter().any(|child| child.id == number && child.is_dead()) {
        thread::sleep(Duration::from_millis(1));
    }
    task.kill().expect("it lives");
    assert_eq!(task.wait().status, TaskStatus::Signal(SIGKILL));
}

fn r54_where_the_system_reaps_the_end_is_seen_all_the_same() {
    let tester = sys::fork_and(|| {
        sys::ignore(SIGCHLD);
        forbid_to_ask();
        attack::forbid(&[SYS_wait4], EPERM).expect("filters can be set");
        let task = start(&Spawner::new(), |_, _| {
            // `exit` would have AddressSanitizer look for leaks, which waits for a child.
            sys::raise(SIGKILL);
            Ok(())
        });
        while std::fs::exists(format!("/proc/{}", task.id())).expect("it is there") {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(task.kill(), Ok(()), "it is gone");
        assert_eq!(task.wait().status, TaskStatus::Unknown);
    })
    .expect("a fork");
    assert_eq!(sys::exit_code(tester).expect("a child"), Some(0));
}

fn r54_proc_of_another_namespace_tells_nothing() {
    if !sys::is_root() {
        return println!("SKIPPED: only root may have another namespace");
    }
    // It can't fork again when the first process in its namespace has ended, which AddressSanitizer does at `exit`.
    let outside = sys::fork_and(|| {
        sys::unshare_processes().expect("root may do that");
        let tester = sys::fork_and(|| {
            forbid_to_ask();
            let task = start_deaf(&Spawner::new());
            assert_eq!(task.kill(), Err(SignalError { signal: SIGKILL, error: EPERM }));
            sys::kill(task.id());
            assert_eq!(task.wait().status, TaskStatus::Signal(SIGKILL));
        });
        assert_eq!(sys::exit_code(tester.expect("a fork")).expect("a child"), Some(0));
    });
    assert_eq!(sys::exit_code(outside.expect("a fork")).expect("a child"), Some(0));
}

kpt_tests::scenarios! {
    r22_a_signal_that_one_call_refuses_is_sent_by_another,
    r22_a_signal_that_can_not_be_sent_is_told,
    r22_drop_returns_though_nothing_can_be_killed,
    r23_an_answer_that_is_refused_is_no_end,
    r23_where_no_call_tells_the_end_is_seen_all_the_same,
    r53_where_no_call_asks_for_a_child_it_is_signalled_all_the_same,
    r54_a_task_with_any_name_is_signalled,
    r54_a_task_whose_main_thread_has_ended_is_signalled,
    r54_where_the_system_reaps_the_end_is_seen_all_the_same,
    r54_proc_of_another_namespace_tells_nothing,
}
