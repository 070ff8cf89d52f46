//! Fault R18: what has come before a deadline is served before its timer, also when the process did not run in between.

use std::cell::Cell;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use kpt_core::board::{Board, LinePoller, Lines};
use kpt_std::{Exit, Instant, Source, Thread, When, source};
use kpt_tests::loops::{Shape, Trace, any_loop, real_loop};
use kpt_tests::process::{command, is_own_process};
use kpt_tests::real::Real;
use kpt_tests::rigs::pair;

fn note(trace: &mut Trace, thread: Thread<Trace>) {
    trace.push(thread.name());
}

/// Each select takes 80 ms longer than it looks: the first finds one pipe readable, and while it does not return, another
/// becomes readable, and after that a timer due.
#[test]
fn r18_what_came_before_a_deadline_is_served_before_its_timer_on_select() {
    const NAME: &str = "r18_what_came_before_a_deadline_is_served_before_its_timer_on_select";
    if !is_own_process(NAME) {
        let test = command(NAME);
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=select,pselect6"])
            .args(["-e", "inject=select,pselect6:delay_exit=80000"])
            .arg(test.get_program())
            .args(test.get_args())
            .envs(test.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null())
            .output();
        let Ok(output) = strace else { return println!("SKIPPED: there is no strace") };
        return assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    for real in Real::all() {
        let ((first, mut to_first), (second, mut to_second)) = (pair(), pair());
        let mut kpt = real_loop::<Trace, ()>(4, real);
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
        assert_eq!(kpt.run_verified(&mut trace).unwrap(), Exit::Empty);
        assert_eq!(trace, ["first", "second", "timer"]);
        writer.join().unwrap();
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
