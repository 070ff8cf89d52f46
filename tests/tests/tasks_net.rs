//! The net under tasks: their parent gets SIGKILL, and none of them outlives it by more than its grace, whatever it has
//! done. Each row runs as the user of the test; with `SKIPPED` where that must be root. The last column of the table
//! that this prints is when the task was gone.

use std::error::Error;
use std::io::{Read, Write, pipe};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant as Stopwatch};

use kpt_std::{Child, Parent, Spawner, TaskConfig, Threads};
use kpt_tests::sys;

/// A task may take so long after its parent's death, on a machine with other work.
const GRACE: Duration = Duration::from_millis(1_000);
const LATE: Duration = Duration::from_millis(1_800);

const NOBODY: u32 = 65_534;

/// The descriptor by which a task says that it is there, and that its `pre_stop` runs.
static REPORT: AtomicI32 = AtomicI32::new(-1);

fn say(word: u8) {
    sys::write_byte(REPORT.load(Ordering::Relaxed), word);
}

/// Does `act`, and then serves its loop if that returns.
struct Acts(fn());

impl Child for Acts {
    type Arg = ();

    fn pre_run(&mut self, _: Threads<Self>) -> Result<(), Box<dyn Error>> {
        (self.0)();
        say(b'r');
        Ok(())
    }

    fn pre_stop(&mut self, _: Threads<Self>) {
        say(b's');
    }
}

fn hang() {
    say(b'r');
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

/// What the parent does before its task, the task itself, and the parent after it.
struct Row {
    name: &'static str,
    needs_root: bool,
    before: fn(),
    act: fn(),
    after: fn(),
    is_healthy: bool,
}

const fn row(name: &'static str, act: fn()) -> Row {
    Row { name, needs_root: false, before: || {}, act, after: || {}, is_healthy: false }
}

fn rows() -> Vec<Row> {
    let become_nobody = || sys::become_user(NOBODY).expect("root may do that");
    let helper = || {
        sys::fork_and(|| thread::sleep(Duration::from_secs(1))).expect("a fork");
    };
    vec![
        Row { is_healthy: true, ..row("healthy", || {}) },
        row("hung", hang),
        row("hung, all descriptors closed", || {
            say(b'r');
            sys::close_from(3, REPORT.load(Ordering::Relaxed));
            hang();
        }),
        row("stopped", || {
            say(b'r');
            loop {
                sys::raise(libc::SIGSTOP);
            }
        }),
        row("all signals blocked", || {
            (1..=64).for_each(sys::block);
            hang();
        }),
        row("all signals ignored", || {
            (1..=64).for_each(sys::ignore);
            hang();
        }),
        Row {
            needs_root: true,
            ..row("has changed its user", || {
                sys::become_user(NOBODY).expect("root may do that");
                hang();
            })
        },
        Row { needs_root: true, after: become_nobody, ..row("the parent has given up root", hang) },
        Row {
            needs_root: true,
            after: become_nobody,
            is_healthy: true,
            ..row("the parent has given up root, healthy", || {})
        },
        Row {
            needs_root: true,
            before: || sys::unshare_processes().expect("root may do that"),
            ..row("in a PID namespace", hang)
        },
        Row { after: helper, is_healthy: true, ..row("helper forked by hand, healthy", || {}) },
    ]
}

/// In a process of its own: starts the task of a row, and waits to be killed.
fn be_parent(row: &Row, report: RawFd) {
    REPORT.store(report, Ordering::Relaxed);
    (row.before)();
    let act = row.act;
    let build = |_: Parent| Acts(act);
    let task = Spawner::new().start(TaskConfig::new("row"), build).expect("it starts");
    (row.after)();
    say(b'p');
    std::mem::forget(task);
    thread::sleep(Duration::from_secs(60));
}

/// Returns when `pre_stop` ran, if it did, and when all holders of the report had gone.
fn try_row(row: &Row) -> (Option<Duration>, Duration) {
    let (mut reader, writer) = pipe().expect("a pipe");
    let parent = sys::fork_and(|| be_parent(row, writer.as_raw_fd())).expect("a fork");
    drop(writer);
    let mut words = Vec::new();
    while !(words.contains(&b'r') && words.contains(&b'p')) {
        let mut word = [0];
        assert_eq!(reader.read(&mut word).expect("it can be read"), 1, "{}: ends early", row.name);
        words.push(word[0]);
    }
    // So that a task which stops itself has done so.
    thread::sleep(Duration::from_millis(20));
    sys::kill(parent);
    let begin = Stopwatch::now();
    let mut stopped = None;
    let mut word = [0];
    // The helper holds the report, too, so the end is that of the task.
    while reader.read(&mut word).expect("it can be read") == 1 {
        if word[0] == b's' {
            stopped = Some(begin.elapsed());
            break;
        }
    }
    let gone = begin.elapsed();
    sys::wait_for(parent).expect("a child");
    (stopped, gone)
}

fn r20_no_task_outlives_its_parent_whatever_it_has_done() {
    let is_root = sys::is_root();
    for row in rows().iter().filter(|row| !row.name.starts_with("helper")) {
        check_row(row, is_root);
    }
}

fn r21_a_helper_that_holds_the_channel_hides_no_death() {
    for row in rows().iter().filter(|row| row.name.starts_with("helper") && row.is_healthy) {
        check_row(row, true);
    }
}

/// Loop or spawner are older than the process that starts the tasks: the tasks are its own.
fn r24_a_process_forked_by_hand_owns_the_tasks_that_it_starts() {
    let spawner = Spawner::new();
    let child = sys::fork_and(|| {
        let task = spawner.start(TaskConfig::new("hangs"), |_| Acts(hang)).expect("it starts");
        // The report goes nowhere.
        let number = task.id() as u32;
        let begin = Stopwatch::now();
        drop(task);
        drop(spawner);
        assert!(!sys::is_running(number), "it was killed and reaped");
        assert!(begin.elapsed() < LATE);
    });
    assert_eq!(sys::exit_code(child.expect("a fork")).expect("a child"), Some(0));
}

fn check_row(row: &Row, is_root: bool) {
    if row.needs_root && !is_root {
        return println!("SKIPPED {}: only root can do that", row.name);
    }
    let (stopped, gone) = try_row(row);
    let stop = stopped.map_or_else(|| "-".to_owned(), |time| format!("{} ms", time.as_millis()));
    println!("NOTE {:<40} pre_stop {stop:>8}  gone {:>5} ms", row.name, gone.as_millis());
    std::io::stdout().flush().expect("it can be written");
    assert_eq!(stopped.is_some(), row.is_healthy, "{}", row.name);
    let limit = if row.is_healthy { GRACE } else { LATE };
    assert!(gone < limit, "{}: {gone:?}", row.name);
}

kpt_tests::scenarios! {
    r20_no_task_outlives_its_parent_whatever_it_has_done,
    r21_a_helper_that_holds_the_channel_hides_no_death,
    r24_a_process_forked_by_hand_owns_the_tasks_that_it_starts,
}
