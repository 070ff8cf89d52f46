//! The net under tasks: their parent gets SIGKILL, and none of them outlives it by more than its grace, whatever it has
//! done, and whatever the system lacks. The rows are those of the program `net` (`tests/src/bin/net`), which `./ci.sh net`
//! runs more often.

use std::process::Command;
use std::time::{Duration, Instant as Stopwatch};

use kpt_std::{Spawner, TaskConfig};
use kpt_tests::sys;
use kpt_tests::tasks::{Script, Scripted};

/// Tries the rows of these parts, or with these words.
fn try_rows(words: &[&str]) {
    let net = Command::new(env!("CARGO_BIN_EXE_net")).arg("--once").args(words).output();
    let net = net.expect("it starts");
    let table = String::from_utf8_lossy(&net.stdout);
    for line in table.lines() {
        let kind = if line.contains("SKIPPED") { "SKIPPED" } else { "NOTE" };
        println!("{kind} {line}");
    }
    assert!(net.status.success(), "{}", String::from_utf8_lossy(&net.stderr));
}

fn r20_no_task_outlives_its_parent_whatever_it_has_done() {
    try_rows(&["tasks", "nested", "parents", "kernels", "proc", "room", "documented"]);
}

fn r21_a_helper_that_holds_the_channel_hides_no_death() {
    try_rows(&["helpers"]);
}

/// Loop or spawner are older than the process that starts the tasks: the tasks are its own.
fn r24_a_process_forked_by_hand_owns_the_tasks_that_it_starts() {
    const HANG: Script = |_, _| loop {
        std::thread::sleep(Duration::from_secs(60));
    };
    let spawner = Spawner::new();
    let child = sys::fork_and(|| {
        let build = |parent| Scripted::new(parent, HANG);
        let task = spawner.start(TaskConfig::new("hangs"), build).expect("it starts");
        let number = task.id();
        let begin = Stopwatch::now();
        drop(task);
        drop(spawner);
        assert!(!sys::is_running(number), "it was killed and reaped");
        assert!(begin.elapsed() < Duration::from_millis(1_800));
    });
    assert_eq!(sys::exit_code(child.expect("a fork")).expect("a child"), Some(0));
}

/// A filter answers ENOSYS to `pidfd_open`, and the kernel attests descriptors all the same.
fn r41_a_guard_that_has_no_descriptor_of_its_parent_loses_no_task() {
    try_rows(&["descriptors"]);
}

fn r42_tasks_in_pid_namespaces_are_told_apart_without_descriptors() {
    try_rows(&["namespaces"]);
}

fn r43_a_guard_that_starts_late_knows_its_parent() {
    try_rows(&["late"]);
}

/// The loop of a parent has made a new guard, and goes on with something that takes long.
fn r44_a_new_guard_knows_all_tasks_at_once() {
    try_rows(&["guards"]);
}

fn r47_a_guard_with_few_descriptors_loses_no_task() {
    try_rows(&["few"]);
}

fn r48_a_guard_of_root_has_the_rights_of_root() {
    try_rows(&["effective"]);
}

fn r50_a_new_guard_knows_all_tasks_with_too_many_descriptors_under_way() {
    try_rows(&["under-way"]);
}

kpt_tests::scenarios_at_once! {
    r20_no_task_outlives_its_parent_whatever_it_has_done,
    r21_a_helper_that_holds_the_channel_hides_no_death,
    r24_a_process_forked_by_hand_owns_the_tasks_that_it_starts,
    r41_a_guard_that_has_no_descriptor_of_its_parent_loses_no_task,
    r42_tasks_in_pid_namespaces_are_told_apart_without_descriptors,
    r43_a_guard_that_starts_late_knows_its_parent,
    r44_a_new_guard_knows_all_tasks_at_once,
    r47_a_guard_with_few_descriptors_loses_no_task,
    r48_a_guard_of_root_has_the_rights_of_root,
    r50_a_new_guard_knows_all_tasks_with_too_many_descriptors_under_way,
}
