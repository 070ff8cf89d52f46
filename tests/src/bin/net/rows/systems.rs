//! What the system lacks, or forbids.

use std::io;
use std::path::Path;

use kpt_tests::attack::{self, forbid, forbid_argument};
use kpt_tests::sys::{self, namespaces};
use libc::{
    CLONE_PIDFD, EAGAIN, ENOPROTOOPT, ENOSYS, SYS_clone, SYS_close_range, SYS_pidfd_open,
    SYS_pidfd_send_signal, SYS_setsockopt, SYS_timer_create,
};

use super::super::parent::{
    fork_helper, hang, hung, other_user, start, start_after_others, stopped, well,
};
use super::super::row::{IN_A_SECOND, IN_TWO_SECONDS, Row, Users, healthy, not_by_valgrind, row};

const DESCRIPTORS: &str = "descriptors";
const FEW: &str = "few";
const KERNELS: &str = "kernels";
const NAMESPACES: &str = "namespaces";
const LATE: &str = "late";
const PROC: &str = "proc";
const ROOM: &str = "room";

pub fn rows() -> Vec<Row> {
    [
        without_descriptors(),
        of_an_old_kernel(),
        of_an_old_kernel_in_namespaces(),
        without_proc(),
        without_guard(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const ALLOWED: &str = "filters can be set";

/// As under a filter that does not know these calls.
fn no_process_descriptors() {
    forbid(&[SYS_pidfd_open, SYS_pidfd_send_signal], ENOSYS).expect(ALLOWED);
}

/// As before Linux 5.3, except for the descriptor that the parent has of its guard.
pub fn old_kernel() {
    no_process_descriptors();
    forbid(&[SYS_close_range], ENOSYS).expect(ALLOWED);
    for option in [attack::SO_PASSPIDFD, attack::SO_PASSRIGHTS] {
        forbid_argument(SYS_setsockopt, 2, option, ENOPROTOOPT).expect(ALLOWED);
    }
}

/// As where the user may have no more processes at that moment.
fn no_guard() {
    forbid_argument(SYS_clone, 0, CLONE_PIDFD as u32, EAGAIN).expect(ALLOWED);
}

pub fn hide_proc() -> io::Result<()> {
    namespaces::hide(Path::new("/proc"))
}

fn without_descriptors() -> Vec<Row> {
    vec![
        row(DESCRIPTORS, "no descriptors of processes", || {
            no_process_descriptors();
            start(hung);
        }),
        row(DESCRIPTORS, "no descriptors of processes, stopped", || {
            no_process_descriptors();
            start(stopped);
        }),
        healthy(DESCRIPTORS, "no descriptors of processes, healthy", || {
            no_process_descriptors();
            start(well);
        }),
        Row {
            users: Users::OnlyRoot,
            ..row(DESCRIPTORS, "no descriptors of processes, other user", || {
                no_process_descriptors();
                start(other_user);
            })
        },
    ]
}

fn of_an_old_kernel() -> Vec<Row> {
    vec![
        row(KERNELS, "a kernel before 5.3", || {
            old_kernel();
            start(hung);
        }),
        row(KERNELS, "a kernel before 5.3, stopped", || {
            old_kernel();
            start(stopped);
        }),
        healthy(KERNELS, "a kernel before 5.3, healthy", || {
            old_kernel();
            start(well);
        }),
        Row {
            users: Users::OnlyRoot,
            ..row(KERNELS, "a kernel before 5.3, other user", || {
                old_kernel();
                start(other_user);
            })
        },
        Row {
            ready: 2,
            expected: IN_TWO_SECONDS,
            ..row(KERNELS, "a kernel before 5.3, a task of a task", || {
                old_kernel();
                start(|| {
                    start(hung);
                    hung();
                });
            })
        },
        // The guard closes all descriptors one by one, and then looks for its parent.
        row(LATE, "a kernel before 5.3, stopped, and a helper forked by hand", || {
            old_kernel();
            start(stopped);
            fork_helper(|| hang());
        }),
    ]
}

fn of_an_old_kernel_in_namespaces() -> Vec<Row> {
    let prepared = |row| Row { prepare: sys::unshare_processes, ..row };
    vec![
        prepared(row(NAMESPACES, "a kernel before 5.3 and a PID namespace", || {
            old_kernel();
            start(hung);
        })),
        prepared(row(NAMESPACES, "a kernel before 5.3 and a PID namespace, stopped", || {
            old_kernel();
            start(stopped);
        })),
        // The guard does not know when the task has ended, and stays.
        prepared(Row {
            expected: IN_A_SECOND,
            ..healthy(NAMESPACES, "a kernel before 5.3 and a PID namespace, healthy", || {
                old_kernel();
                start(well);
            })
        }),
        Row {
            users: Users::OnlyRoot,
            ready: 2,
            ..row(NAMESPACES, "a kernel before 5.3, and a PID namespace later", || {
                old_kernel();
                start(stopped);
                sys::unshare_processes().expect("root may do that");
                start(stopped);
            })
        },
    ]
}

fn without_proc() -> Vec<Row> {
    let hidden = |row| not_by_valgrind(Row { prepare: hide_proc, ..row });
    vec![
        hidden(row(PROC, "no /proc", || _ = start(hung))),
        hidden(row(PROC, "no /proc, stopped", || _ = start(stopped))),
        hidden(healthy(PROC, "no /proc, healthy", || _ = start(well))),
        hidden(Row {
            users: Users::OnlyRoot,
            ..row(PROC, "no /proc, other user", || _ = start(other_user))
        }),
        hidden(row(PROC, "no /proc, and a kernel before 5.3", || {
            old_kernel();
            start(hung);
        })),
    ]
}

/// Valgrind crashes after a fork that has failed, and has limits of its own.
fn without_guard() -> Vec<Row> {
    let rows = [
        row(ROOM, "no room for a guard", || {
            no_guard();
            start(hung);
        }),
        healthy(ROOM, "no room for a guard, healthy", || {
            no_guard();
            start(well);
        }),
        healthy(ROOM, "no room for a guard, a kernel before 5.3, healthy", || {
            no_guard();
            old_kernel();
            start(well);
        }),
        row(ROOM, "no room for a guard, no timers", || {
            no_guard();
            forbid(&[SYS_timer_create], ENOSYS).expect(ALLOWED);
            start(hung);
        }),
        row(ROOM, "no room for a guard, none for signals", || {
            no_guard();
            namespaces::set_pending_signals_limit(0).expect("it may be lowered");
            start(hung);
        }),
        row(FEW, "few descriptors, also for the guard", || {
            sys::set_descriptor_limits(64).expect("it may be lowered");
            start(stopped);
        }),
        // The guard looks for the first time when the parent has ended.
        row(FEW, "few descriptors, and many tasks that have ended", || {
            sys::set_descriptor_limits(24).expect("it may be lowered");
            start_after_others(50, stopped);
        }),
    ];
    rows.into_iter().map(not_by_valgrind).collect()
}
