//! Who is left, as the docs say (`docs/NET.md`).

use std::os::unix::process::parent_id;

use kpt_tests::attack::Hold;
use kpt_tests::sys;

use super::super::parent::{execute, guards_of, hang, hung, start, start_and_wait, stopped, trace};
use super::super::row::{Expected, Row, Users, not_by_valgrind, row};
use super::systems::{hide_proc, old_kernel};

const PART: &str = "documented";

pub fn rows() -> Vec<Row> {
    let left = |names, row| not_by_valgrind(Row { expected: Expected::Left(names), ..row });
    let of_nobody = |row| Row { users: Users::OnlyNobody, ..row };
    vec![
        left(
            &["plain"],
            row(PART, "a task has forked a process by hand", || {
                start(|| {
                    sys::fork_and(|| hang()).expect("a fork");
                    hung();
                });
            }),
        ),
        left(
            &["plain"],
            row(PART, "a task has gone into the background by hand", || {
                start(|| {
                    sys::fork_and(hung).expect("a fork");
                    std::process::exit(0);
                });
            }),
        ),
        left(
            &["plain"],
            row(PART, "a tracer holds a task at its end", || {
                trace(start_and_wait(hung), Hold::AtItsEnd);
            }),
        ),
        of_nobody(left(
            &["setuid"],
            row(PART, "a task has become root by a setuid program", || {
                start(|| execute("setuid", "root"));
            }),
        )),
        left(
            &["plain"],
            row(PART, "a task has killed the guard, and stops itself", || {
                start(|| {
                    let [guard] = guards_of(parent_id());
                    sys::kill(guard);
                    stopped();
                });
            }),
        ),
        left(
            &["kpt-guard", "plain"],
            row(PART, "a task has stopped the guard, and itself", || {
                start(|| {
                    let [guard] = guards_of(parent_id());
                    sys::signal(guard, libc::SIGSTOP);
                    stopped();
                });
            }),
        ),
        Row {
            prepare: hide_proc,
            ..left(
                &["plain"],
                row(PART, "no /proc, a kernel before 5.3, and a task stops itself", || {
                    old_kernel();
                    start(stopped);
                }),
            )
        },
    ]
}
