//! What a task does.

use kpt_std::{Limit, Spawner, TaskConfig};
use kpt_tests::attack::Hold;
use kpt_tests::sys;
use kpt_tests::sys::family;

use super::super::parent::{
    execute, hang, hung, other_user, ready, say, start, start_and_wait, start_with, stopped, trace,
    well,
};
use super::super::row::{AT_ONCE, IN_TWO_SECONDS, Row, Users, healthy, not_by_valgrind, row};

const PART: &str = "tasks";
const NESTED: &str = "nested";

pub fn rows() -> Vec<Row> {
    [plain(), with_other_rights(), of_other_programs(), traced(), nested()]
        .into_iter()
        .flatten()
        .collect()
}

fn plain() -> Vec<Row> {
    vec![
        healthy(PART, "healthy", || _ = start(well)),
        row(PART, "hung", || _ = start(hung)),
        row(PART, "hung, with all descriptors closed", || {
            start(|| {
                ready();
                sys::close_from(0, -1);
                hang();
            });
        }),
        row(PART, "computes for ever", || {
            start(|| {
                ready();
                loop {
                    std::hint::spin_loop();
                }
            });
        }),
        row(PART, "stopped", || _ = start(stopped)),
        row(PART, "all signals blocked", || {
            start(|| {
                (1..=64).for_each(sys::block);
                hung();
            });
        }),
        healthy(PART, "all signals blocked, healthy", || {
            start(|| (1..=64).for_each(sys::block));
        }),
        row(PART, "all signals ignored", || {
            start(|| {
                (1..=64).for_each(sys::ignore);
                hung();
            });
        }),
        row(PART, "a session of its own", || {
            start(|| {
                family::begin_session().expect("it leads no group");
                hung();
            });
        }),
    ]
}

fn with_other_rights() -> Vec<Row> {
    let of_root = |row| Row { users: Users::OnlyRoot, ..row };
    vec![
        of_root(row(PART, "has changed its user", || _ = start(other_user))),
        of_root(healthy(PART, "has changed its user, healthy", || {
            start(|| sys::become_user(65_534).expect("root may do that"));
        })),
        of_root(row(PART, "has changed its group", || {
            start(|| {
                family::become_group(65_534).expect("root may do that");
                hung();
            });
        })),
        row(PART, "in a user namespace of its own", || {
            start(|| {
                if let Err(error) = family::unshare_users() {
                    say(&format!("skipped {error}"));
                }
                hung();
            });
        }),
        of_root(not_by_valgrind(row(PART, "TaskConfig: user, root, limits, no_new_privs", || {
            let config = TaskConfig::new("confined")
                .user(65_534, 65_534, [])
                .root("/")
                .limits([Limit::Processes(1), Limit::OpenFiles(16)])
                .no_new_privs();
            start_with(&Spawner::new(), config, hung);
        }))),
    ]
}

fn of_other_programs() -> Vec<Row> {
    let of_nobody = |row| not_by_valgrind(Row { users: Users::OnlyNobody, ..row });
    vec![
        // The second net is at once then: the program has no handler for its signal.
        Row {
            expected: AT_ONCE,
            ..row(PART, "has become another program", || _ = start(|| execute("plain", "plain")))
        },
        of_nobody(row(PART, "has become a setuid program that keeps the real user", || {
            start(|| execute("setuid", "setuid"));
        })),
        of_nobody(row(PART, "has become a setgid program", || {
            start(|| execute("setgid", "setgid"));
        })),
    ]
}

fn traced() -> Vec<Row> {
    vec![row(PART, "stopped by a tracer", || trace(start_and_wait(hung), Hold::Stopped))]
}

fn nested() -> Vec<Row> {
    vec![
        Row {
            ready: 2,
            expected: IN_TWO_SECONDS,
            ..row(NESTED, "has a task, both hung", || {
                start(|| {
                    start(hung);
                    hung();
                });
            })
        },
        Row {
            ready: 2,
            pre_stops: 1,
            ..row(NESTED, "has a task, that hung", || {
                start(|| _ = start(hung));
            })
        },
        Row {
            ready: 2,
            pre_stops: 1,
            ..row(NESTED, "has a healthy task, and is hung", || {
                start(|| {
                    start(well);
                    hung();
                });
            })
        },
        Row {
            ready: 2,
            pre_stops: 2,
            ..healthy(NESTED, "has a task, both healthy", || {
                start(|| _ = start(well));
            })
        },
    ]
}
