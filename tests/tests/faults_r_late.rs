//! Fault R18: what has come before a deadline is served before its timer, also when the process did not run in between.

use std::cell::Cell;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use kpt_core::board::{Board, LinePoller, Lines};
use kpt_std::{Builder, Exit, Instant, Source, Thread, When, source};
use kpt_tests::loops::{Shape, Trace, any_loop};
use kpt_tests::process::{command, is_own_process};
use kpt_tests::real::{Backend, Real};
use kpt_tests::rigs::pair;

fn note(trace: &mut Trace, thread: Thread<Trace>) {
    trace.push(thread.name());
}

/// Runs the test of that name in a process in which each select and each epoll_wait takes 80 ms longer than it looks.
/// Returns whether this is that process.
fn is_slow_to_return(name: &str) -> bool {
    if is_own_process(name) {
        return true;
    }
    let test = command(name);
    let strace = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=select,pselect6,epoll_wait,epoll_pwait"])
        .args(["-e", "inject=select,pselect6,epoll_wait,epoll_pwait:delay_exit=80000"])
        .arg(test.get_program())
        .args(test.get_args())
        .envs(test.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .output();
    match strace {
        Err(_) => println!("SKIPPED: there is no strace"),
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
    false
}

/// The first select finds one pipe readable, and while it does not return, another becomes readable, and after that a
/// timer due.
macro_rules! readers_come_first {
    ($kpt:expr) => {{
        let mut kpt = $kpt;
        let ((first, mut to_first), (second, mut to_second)) = (pair(), pair());
        let mut trace = Trace::new();
        kpt.threads().add_read("first", source(&first), note, ()).unwrap();
        kpt.threads().add_read("second", source(&second), note, ()).unwrap();
        let start = kpt.threads().now();
        kpt.threads().add("timer", When::At(start + Duration::from_millis(50)), note, ()).unwrap();
        to_first.write_all(b"1").unwrap();
        let writer = thread::spawn(move || {
            // Time that passes is what this is about.
            thread::sleep(Duration::from_millis(25));
            to_second.write_all(b"2").unwrap();
            to_second
        });
        assert_eq!(kpt.run(&mut trace).unwrap(), Exit::Empty);
        assert_eq!(trace, ["first", "second", "timer"]);
        writer.join().unwrap();
    }};
}

#[test]
fn r18_what_came_before_a_deadline_is_served_before_its_timer_on_either_poller() {
    if is_slow_to_return(
        "r18_what_came_before_a_deadline_is_served_before_its_timer_on_either_poller",
    ) {
        for Real { shape, backend } in Real::all() {
            readers_come_first!(any_loop::<_, Trace, ()>(backend.poller(), 4, shape));
        }
    }
}

#[test]
fn r18_what_came_before_a_deadline_is_served_before_its_timer_with_slack() {
    if is_slow_to_return("r18_what_came_before_a_deadline_is_served_before_its_timer_with_slack") {
        for backend in Backend::both() {
            let slack = Builder::new().slack(Duration::from_secs(1));
            readers_come_first!(slack.build_on::<Trace, (), _>(backend.poller()).unwrap());
        }
    }
}

/// An interrupt comes while the clock is read, and takes so long that a timer is due afterwards.
struct Interrupted {
    lines: &'static Lines<1>,
    reads: Cell<u64>,
}

impl Board<1> for Interrupted {
    const TICK_MICROS: u32 = 1;

    fn lines(&self) -> &'static Lines<1> {
        self.lines
    }

    fn now(&mut self) -> Instant {
        self.reads.set(self.reads.get() + 1);
        if self.reads.get() < 4 {
            return Instant::ZERO;
        }
        self.lines.set(Source::new(0));
        Instant::from_micros(100)
    }

    fn sleep(&mut self, _: Instant, _: &dyn Fn() -> bool) {}
}

#[test]
fn r18_what_came_before_a_deadline_is_served_before_its_timer_on_a_board() {
    for shape in Shape::both() {
        let lines: &'static Lines<1> = Box::leak(Box::new(Lines::new()));
        let board = Interrupted { lines, reads: Cell::new(0) };
        let mut kpt = any_loop::<_, Trace, ()>(LinePoller::new(board), 2, shape);
        let mut trace = Trace::new();
        kpt.threads().add_read("line", Source::new(0), note, ()).unwrap();
        kpt.threads().add("timer", When::At(Instant::from_micros(50)), note, ()).unwrap();
        assert_eq!(kpt.run_verified(&mut trace).unwrap(), Exit::Empty);
        assert_eq!(trace, ["line", "timer"]);
    }
}
