//! What a parent does, and what is done to its guard.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::time::Duration;

use kpt_std::{EventLoop, Spawner, TaskConfig};
use kpt_tests::attack;
use kpt_tests::sys::{self, family};

use super::super::parent::{
    execute, fork_helper, guards_of, hang, hung, kill_guard, list_guards_of, say, start,
    start_and_wait, start_with, stopped, well,
};
use super::super::row::{End, Row, Users, healthy, not_by_valgrind, row};

const UNDER_WAY: &str = "under-way";
const PART: &str = "parents";
const EFFECTIVE: &str = "effective";
const HELPERS: &str = "helpers";
const GUARDS: &str = "guards";

/// The number of tasks after which a parent has kicked its guard.
const MANY: usize = 70;

pub fn rows() -> Vec<Row> {
    [
        of_other_rights(),
        in_namespaces(),
        in_the_background(),
        of_other_ends(),
        with_helpers(),
        guards(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn give_up_root() {
    sys::become_user(65_534).expect("root may do that");
}

fn of_other_rights() -> Vec<Row> {
    let of_root = |row| Row { users: Users::OnlyRoot, ..row };
    vec![
        // It is the first start that makes the guard.
        of_root(not_by_valgrind(row(
            EFFECTIVE,
            "is not root at its first start, and then is again",
            || {
                let spawner = Spawner::new();
                family::set_effective_user(65_533).expect("root may do that");
                start_with(&spawner, TaskConfig::new("first"), || process::exit(0));
                family::set_effective_user(0).expect("its real user is root");
                start_with(&spawner, TaskConfig::new("second").user(65_534, 65_534, []), stopped);
            },
        ))),
        of_root(row(PART, "has given up root", || {
            start(hung);
            give_up_root();
        })),
        of_root(healthy(PART, "has given up root, healthy", || {
            start(well);
            give_up_root();
        })),
        of_root(Row {
            ready: 2,
            ..row(PART, "has given up root between two tasks", || {
                start(stopped);
                give_up_root();
                start(stopped);
                // One for each user.
                let [_, _] = guards_of(process::id());
            })
        }),
        Row {
            ready: 3,
            pre_stops: 1,
            ..row(PART, "three tasks, one of them healthy", || {
                start(hung);
                start(well);
                start(stopped);
            })
        },
        Row { ready: MANY, ..row(PART, "70 tasks", || (0..MANY).for_each(|_| _ = start(hung))) },
    ]
}

fn in_namespaces() -> Vec<Row> {
    let prepared = |row| Row { prepare: sys::unshare_processes, ..row };
    vec![
        // The guard is the first process of the namespace.
        prepared(row(PART, "a PID namespace", || _ = start(hung))),
        prepared(row(PART, "a PID namespace, stopped", || _ = start(stopped))),
        prepared(healthy(PART, "a PID namespace, healthy", || _ = start(well))),
        Row {
            users: Users::OnlyRoot,
            ready: 2,
            ..row(PART, "a PID namespace with a task as first process", || {
                start(hung);
                sys::unshare_processes().expect("root may do that");
                start(hung);
            })
        },
    ]
}

/// A process that holds all that its parent has.
fn help() {
    fork_helper(|| hang());
}

fn with_helpers() -> Vec<Row> {
    vec![
        row(HELPERS, "helper forked by hand", || {
            start(hung);
            help();
        }),
        not_by_valgrind(healthy(HELPERS, "helper forked by hand, healthy", || {
            start(well);
            help();
        })),
    ]
}

fn in_the_background() -> Vec<Row> {
    vec![
        row(PART, "in the background since the loop was made", || in_background(hung)),
        healthy(PART, "in the background since the loop was made, healthy", || in_background(well)),
        row(PART, "in the background since its first task", || {
            // The guard of the first process is there.
            sys::reset(libc::SIGCHLD);
            let spawner = Spawner::new();
            let first = start_with(&spawner, TaskConfig::new("first"), || process::exit(0));
            sys::wait_for(first).expect("a child");
            go_on_in_child(&spawner, hung);
        }),
    ]
}

fn in_background(act: fn()) {
    let spawner = Spawner::new();
    go_on_in_child(&spawner, act);
}

/// Starts a task in a fork of this process, which ends.
fn go_on_in_child(spawner: &Spawner, act: fn()) {
    sys::fork_and(|| {
        say(&format!("parent {}", process::id()));
        start_with(spawner, TaskConfig::new("task"), act);
        say("placed");
        hang();
    })
    .expect("a fork");
    process::exit(0);
}

fn of_other_ends() -> Vec<Row> {
    let exits = |row| Row { end: End::Does(|| process::exit(0)), ..row };
    let executes = |row| Row { end: End::Does(|| execute("plain", "plain")), ..row };
    vec![
        exits(row(PART, "exits, and its handles are not dropped", || _ = start(hung))),
        exits(healthy(PART, "exits, and its handles are not dropped, healthy", || _ = start(well))),
        executes(row(PART, "becomes another program", || _ = start(hung))),
        executes(row(PART, "becomes another program, stopped", || _ = start(stopped))),
        executes(healthy(PART, "becomes another program, healthy", || _ = start(well))),
    ]
}

fn guards() -> Vec<Row> {
    vec![
        row(GUARDS, "guard killed", || {
            start(hung);
            kill_guard();
        }),
        healthy(GUARDS, "guard killed, healthy", || {
            start(well);
            kill_guard();
        }),
        row(GUARDS, "guard killed, and replaced by the loop; stopped", replace_guard),
        // Root may have any number under way.
        Row {
            users: Users::OnlyNobody,
            ready: 2,
            pre_stops: 1,
            ..not_by_valgrind(row(
                UNDER_WAY,
                "guard killed, replaced, too many descriptors; stopped",
                || {
                    sys::set_descriptor_limits(100).expect("it may be lowered");
                    start_and_wait(send_too_many);
                    replace_guard();
                },
            ))
        },
        Row {
            ready: 2,
            ..row(GUARDS, "guard killed, and replaced by a start; stopped", || {
                let spawner = Spawner::new();
                start_with(&spawner, TaskConfig::new("before"), stopped);
                kill_guard();
                start_with(&spawner, TaskConfig::new("after"), stopped);
            })
        },
    ]
}

/// A task that sends descriptors which nobody receives, until its user may send no more, and is well.
fn send_too_many() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    ours.set_nonblocking(true).expect("it is a socket");
    while attack::send_descriptors(&ours, b"x", &[theirs.as_fd()]).is_ok() {}
    std::mem::forget((ours, theirs));
}

/// Runs a loop until there is another guard.
fn replace_guard() {
    let mut kpt: EventLoop<()> = EventLoop::with_capacity(1).expect("a loop");
    start_with(&kpt.spawner(), TaskConfig::new("stopped"), stopped);
    kill_guard();
    while list_guards_of(process::id()).is_empty() {
        let time = Duration::from_millis(10);
        kpt.threads().add_timer("look", time, |(), _| {}, ()).expect("room");
        kpt.turn(&mut ()).expect("the loop runs");
    }
    std::mem::forget(kpt);
}
