//! Signals as a source, also in tasks and in processes that were forked by hand.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kpt_std::{Exit, Next, Signal, Signals, Spawner, TaskExit, TaskStatus, Thread, source};
use kpt_tests::loops::{AnyLoop, BoxedLoop, real_loop};
use kpt_tests::real::Real;
use kpt_tests::sys;
use kpt_tests::tasks::{Script, message_of, receive_all, start};
use libc::{SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

struct App {
    signals: Signals,
    came: Vec<Signal>,
    /// How many a hook takes at most.
    at_once: usize,
}

impl App {
    fn new(signals: &[Signal]) -> Self {
        let signals = Signals::new(signals).expect("these can be handled");
        Self { signals, came: Vec::new(), at_once: usize::MAX }
    }

    fn on_signals(&mut self, thread: Thread<App>) {
        let signals = std::iter::from_fn(|| self.signals.take());
        self.came.extend(signals.take(self.at_once));
        thread.again();
    }

    /// A loop that waits for them.
    fn wait<'p>(&self, real: Real) -> BoxedLoop<'p, App, (), std::io::Error> {
        let mut kpt = real_loop::<App, ()>(2, real);
        kpt.threads().add_read("signals", source(&self.signals), App::on_signals, ()).unwrap();
        kpt
    }

    /// What has come by the time that the loop would sleep.
    fn poll(&mut self, kpt: &mut dyn AnyLoop<App, (), Error = std::io::Error>) -> Vec<Signal> {
        while kpt.poll(self).unwrap() == Next::Again {}
        std::mem::take(&mut self.came)
    }
}

fn which_have_come_is_said_once_and_in_order() {
    for real in Real::all() {
        let mut app = App::new(&[Signal::USR2, Signal::USR1, Signal::new(64), Signal::HUP]);
        let mut kpt = app.wait(real);
        assert_eq!(app.poll(&mut *kpt), []);
        for signal in [64, SIGUSR2, SIGUSR2, SIGUSR2, SIGUSR1] {
            sys::raise(signal);
        }
        let all = [Signal::USR1, Signal::USR2, Signal::new(64)];
        assert_eq!(app.poll(&mut *kpt), all);
        assert_eq!(app.poll(&mut *kpt), []);
        sys::raise(SIGUSR2);
        assert_eq!(app.poll(&mut *kpt), [Signal::USR2]);
    }
}

fn a_signal_wakes_a_loop_that_sleeps() {
    fn on_signals(app: &mut App, mut thread: Thread<App>) {
        app.came.extend(app.signals.take());
        thread.threads().stop();
    }
    for real in Real::all() {
        let mut app = App::new(&[Signal::TERM]);
        let mut kpt = real_loop::<App, ()>(2, real);
        kpt.threads().add_read("signals", source(&app.signals), on_signals, ()).unwrap();
        let parent = std::process::id();
        let child = sys::fork_and(|| {
            std::thread::sleep(Duration::from_millis(30));
            sys::signal(parent, SIGTERM);
        });
        assert_eq!(kpt.run(&mut app).unwrap(), Exit::Stopped);
        assert_eq!(app.came, [Signal::TERM]);
        sys::wait_for(child.unwrap()).unwrap();
    }
}

/// Its source must stay readable, and must not when all have been taken.
fn p01_a_hook_that_takes_some_of_the_signals_is_called_for_the_others() {
    for real in Real::all() {
        let mut app = App::new(&[Signal::HUP, Signal::USR1, Signal::USR2]);
        app.at_once = 1;
        let mut kpt = app.wait(real);
        for signal in [SIGHUP, SIGUSR1, SIGUSR2] {
            sys::raise(signal);
        }
        assert_eq!(app.poll(&mut *kpt), [Signal::HUP, Signal::USR1, Signal::USR2]);
    }
}

/// Another OS thread raises them as fast as it can, while they are taken. The last one of each kind must be seen after
/// it was sent.
fn p01_no_signal_is_lost_while_signals_are_taken() {
    static SENT: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
    const SIGNALS: [Signal; 3] = [Signal::HUP, Signal::USR1, Signal::USR2];
    const TIMES: u64 = 50_000;
    struct App {
        signals: Signals,
        seen: [u64; 3],
    }
    fn on_signals(app: &mut App, thread: Thread<App>) {
        if let Some(signal) = app.signals.take() {
            let number = SIGNALS.iter().position(|&other| other == signal).expect("one of them");
            app.seen[number] = SENT[number].load(Ordering::Relaxed);
        }
        if app.seen != [TIMES; 3] {
            thread.again();
        }
    }
    for real in Real::all() {
        SENT.iter().for_each(|sent| sent.store(0, Ordering::Relaxed));
        let mut app = App { signals: Signals::new(&SIGNALS).unwrap(), seen: [0; 3] };
        let mut kpt = real_loop::<App, ()>(2, real);
        kpt.threads().add_read("signals", source(&app.signals), on_signals, ()).unwrap();
        let sender = std::thread::spawn(|| {
            for _ in 0..TIMES {
                for (sent, signal) in SENT.iter().zip(SIGNALS) {
                    sent.fetch_add(1, Ordering::Relaxed);
                    sys::raise(signal.number());
                }
            }
        });
        assert_eq!(kpt.run(&mut app).unwrap(), Exit::Empty);
        sender.join().unwrap();
    }
}

fn p02_a_signal_of_a_task_ends_it_and_does_not_reach_its_parent() {
    for real in Real::all() {
        let mut app = App::new(&[Signal::TERM, Signal::USR1]);
        let mut kpt = app.wait(real);
        for signal in [SIGTERM, SIGUSR1] {
            let task = start(&Spawner::new(), |_, _| Ok(()));
            sys::signal(task.id(), signal);
            let (_, TaskExit { status, .. }) = receive_all(&task);
            assert_eq!(status, TaskStatus::Signal(signal));
        }
        assert_eq!(app.poll(&mut *kpt), []);
        sys::raise(SIGTERM);
        assert_eq!(app.poll(&mut *kpt), [Signal::TERM], "the parent's are as before");
    }
}

fn p02_a_signal_of_a_process_forked_by_hand_ends_it_and_does_not_reach_its_parent() {
    for real in Real::all() {
        let mut app = App::new(&[Signal::TERM, Signal::WINCH]);
        let mut kpt = app.wait(real);
        let child = sys::fork_and(|| {
            sys::raise(SIGWINCH); // By default, it does nothing.
            sys::raise(SIGTERM);
        });
        assert_eq!(sys::exit_code(child.unwrap()).unwrap(), None, "has not ended by the signal");
        assert_eq!(app.poll(&mut *kpt), []);
        sys::raise(SIGTERM);
        assert_eq!(app.poll(&mut *kpt), [Signal::TERM], "the parent's are as before");
    }
}

/// What it did before is neither to be ignored now nor to end the process.
fn p02_what_was_ignored_or_caught_before_does_not_end_a_process_forked_by_hand() {
    sys::ignore(SIGHUP);
    sys::catch(SIGUSR1);
    let signals = Signals::new(&[Signal::HUP, Signal::USR1]).unwrap();
    let child = sys::fork_and(|| {
        sys::raise(SIGHUP);
        sys::raise(SIGUSR1);
    });
    assert_eq!(sys::exit_code(child.unwrap()).unwrap(), Some(0));
    assert_eq!(signals.take(), None);
}

/// signal-hook takes its handler for installed, which it is not any more.
fn p03_a_task_handles_a_signal_that_its_parent_handles() {
    const HANDLES: Script = |child, _| {
        let signals = Signals::new(&[Signal::TERM, Signal::INT])?;
        sys::raise(SIGTERM);
        assert_eq!(signals.take(), Some(Signal::TERM));
        sys::raise(SIGINT);
        assert_eq!(signals.take(), Some(Signal::INT));
        assert_eq!(signals.take(), None);
        Ok(child.parent.send(b"took both")?)
    };
    let parents = Signals::new(&[Signal::TERM]).unwrap();
    let task = start(&Spawner::new(), HANDLES);
    assert_eq!(message_of(&task), b"took both");
    task.stop(Duration::from_secs(8));
    assert_eq!(task.wait().status, TaskStatus::Code(0));
    // And one of a task that handles it.
    let task = start(&Spawner::new(), |child, _| {
        let _own = Signals::new(&[Signal::TERM])?;
        let inner = start(&Spawner::new(), HANDLES);
        child.parent.send(&message_of(&inner))?;
        Ok(())
    });
    assert_eq!(message_of(&task), b"took both");
    assert_eq!(parents.take(), None);
}

fn p03_a_process_forked_by_hand_handles_a_signal_that_its_parent_handles() {
    let parents = Signals::new(&[Signal::TERM, Signal::WINCH]).unwrap();
    let child = sys::fork_and(|| {
        sys::raise(SIGWINCH); // From here on, it does what it does by default.
        let signals = Signals::new(&[Signal::TERM, Signal::WINCH]).unwrap();
        sys::raise(SIGTERM);
        sys::raise(SIGWINCH);
        assert_eq!(signals.take(), Some(Signal::TERM));
        assert_eq!(signals.take(), Some(Signal::WINCH));
        assert_eq!(parents.take(), None);
        drop(signals);
        sys::raise(SIGTERM); // It has been handled here, and does nothing now.
    });
    assert_eq!(sys::exit_code(child.unwrap()).unwrap(), Some(0));
    assert_eq!(parents.take(), None);
}

fn p03_what_other_code_has_reset_is_an_error() {
    drop(Signals::new(&[Signal::USR1]).unwrap());
    sys::reset(SIGUSR1);
    let error = Signals::new(&[Signal::USR1]).unwrap_err();
    assert!(error.to_string().contains("signal 10"), "{error}");
}

fn p04_what_can_not_be_handled_is_an_error() {
    let net = libc::SIGRTMAX() - 1;
    let refused = [
        [0, -1, 65, 32, i32::MIN, i32::MAX],
        [SIGKILL, libc::SIGSTOP, libc::SIGILL, libc::SIGFPE, libc::SIGSEGV, net],
    ];
    for number in refused.into_iter().flatten() {
        let error = Signals::new(&[Signal::USR1, Signal::new(number)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{number}");
        assert!(error.to_string().contains(&format!("signal {number} ")), "{error}");
    }
    sys::raise(SIGUSR1); // Does nothing.
}

fn two_have_the_same_signal_and_one_is_dropped() {
    let first = Signals::new(&[Signal::USR1]).unwrap();
    let second = Signals::new(&[Signal::USR1, Signal::USR1]).unwrap();
    sys::raise(SIGUSR1);
    for signals in [&first, &second] {
        assert_eq!(signals.take(), Some(Signal::USR1));
        assert_eq!(signals.take(), None);
    }
    drop(first);
    sys::raise(SIGUSR1);
    assert_eq!(second.take(), Some(Signal::USR1));
    drop(second);
    sys::raise(SIGUSR1);
    let third = Signals::new(&[Signal::USR1]).unwrap();
    assert_eq!(third.take(), None);
    sys::raise(SIGUSR1);
    assert_eq!(third.take(), Some(Signal::USR1));
}

fn each_signal_has_its_name() {
    assert_eq!(Signal::TERM.to_string(), "SIGTERM");
    assert_eq!(Signal::new(SIGUSR2).to_string(), "SIGUSR2");
    assert_eq!(Signal::new(40).to_string(), "signal 40");
    assert_eq!(Signal::HUP.number(), SIGHUP);
}

kpt_tests::scenarios! {
    which_have_come_is_said_once_and_in_order,
    a_signal_wakes_a_loop_that_sleeps,
    p01_a_hook_that_takes_some_of_the_signals_is_called_for_the_others,
    p01_no_signal_is_lost_while_signals_are_taken,
    p02_a_signal_of_a_task_ends_it_and_does_not_reach_its_parent,
    p02_a_signal_of_a_process_forked_by_hand_ends_it_and_does_not_reach_its_parent,
    p02_what_was_ignored_or_caught_before_does_not_end_a_process_forked_by_hand,
    p03_a_task_handles_a_signal_that_its_parent_handles,
    p03_a_process_forked_by_hand_handles_a_signal_that_its_parent_handles,
    p03_what_other_code_has_reset_is_an_error,
    p04_what_can_not_be_handled_is_an_error,
    two_have_the_same_signal_and_one_is_dropped,
    each_signal_has_its_name,
}
