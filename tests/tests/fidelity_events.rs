//! Signals, wakers and channels do the same simulated as with the system.

use std::fmt::Write;

use kpt_core::poller::Poller;
use kpt_std::sim::{Limits, Sim, check, explore};
use kpt_std::{
    Builder, EpollPoller, EventLoop, Receiver, Sender, Signal, Signals, Thread, Waker, Wakeups,
    channel, source, waker,
};
use kpt_tests::sys;
use kpt_tests::time::millis;

/// What it does in its hooks, it writes down.
struct App {
    signals: Signals,
    /// How many signals a hook takes at most.
    at_once: usize,
    waker: Waker,
    wakeups: Wakeups,
    sender: Option<Sender<u32>>,
    receiver: Receiver<u32>,
    send: Box<dyn Fn(Signal)>,
    ticks: u32,
    log: String,
}

impl App {
    fn new(send: impl Fn(Signal) + 'static) -> Self {
        let (waker, wakeups) = waker().unwrap();
        let (sender, receiver) = channel(3).unwrap();
        Self {
            signals: Signals::new(&[Signal::USR2, Signal::HUP, Signal::USR1]).unwrap(),
            at_once: usize::MAX,
            waker,
            wakeups,
            sender: Some(sender),
            receiver,
            send: Box::new(send),
            ticks: 0,
            log: String::new(),
        }
    }

    fn on_signals(&mut self, thread: Thread<Self>) {
        let taken: Vec<_> = std::iter::from_fn(|| self.signals.take()).take(self.at_once).collect();
        let _ = writeln!(self.log, "signals {taken:?}");
        thread.again();
    }

    fn on_wake(&mut self, thread: Thread<Self>) {
        let _ = writeln!(self.log, "woken {}", self.wakeups.take());
        thread.again();
    }

    fn on_value(&mut self, thread: Thread<Self>) {
        let received = self.receiver.try_recv();
        let _ = writeln!(self.log, "received {received:?}");
        if received != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            thread.again();
        }
    }

    /// One thing after the other, each with its effects before the next.
    fn on_tick(&mut self, mut thread: Thread<Self>) {
        self.ticks += 1;
        let _ = writeln!(self.log, "tick {}", self.ticks);
        match (self.ticks, &self.sender) {
            (1, _) => (self.send)(Signal::HUP),
            (2, _) => {
                let all = [Signal::USR2, Signal::USR2, Signal::USR1, Signal::HUP];
                all.into_iter().for_each(|signal| (self.send)(signal));
            }
            (3, _) => {
                self.at_once = 1;
                [Signal::USR2, Signal::HUP].into_iter().for_each(|signal| (self.send)(signal));
            }
            (4, _) => self.waker.wake(),
            (5, _) => (0..3).for_each(|_| self.waker.clone().wake()),
            (6, Some(sender)) => {
                let sent: Vec<_> = (0..5).map(|value| sender.try_send(value)).collect();
                let _ = writeln!(self.log, "sent {sent:?}");
            }
            (7, Some(sender)) => {
                let _ = sender.try_send(7);
                let value = self.receiver.try_recv(); // Whoever looks before its hook does.
                let _ = writeln!(self.log, "received at once {value:?}");
            }
            (8, _) => self.sender = None,
            _ => return thread.threads().stop(),
        }
        thread.again();
    }

    fn run<P: Poller>(mut self, poller: P) -> String
    where
        P::Error: std::fmt::Debug,
    {
        let mut kpt: EventLoop<Self, (), P> = Builder::new().threads(8).build_on(poller).unwrap();
        let mut threads = kpt.threads();
        threads.add_read("signals", source(&self.signals), Self::on_signals, ()).unwrap();
        threads.add_read("wakeups", source(&self.wakeups), Self::on_wake, ()).unwrap();
        threads.add_read("values", source(&self.receiver), Self::on_value, ()).unwrap();
        threads.add_timer("tick", millis(20), Self::on_tick, ()).unwrap();
        kpt.run(&mut self).unwrap();
        self.log
    }
}

#[test]
fn what_wakes_a_loop_does_the_same_in_a_simulation() {
    let real = App::new(|signal| sys::raise(signal.number())).run(EpollPoller::new().unwrap());
    let sim = Sim::new();
    let sender = sim.clone();
    let simulated = App::new(move |signal| sender.signal(signal)).run(sim.poller());
    println!("{real}");
    assert_eq!(real, simulated);
    assert!(real.contains("signals [SIGHUP, SIGUSR1, SIGUSR2]"), "{real}");
    assert!(real.contains("received Err(Disconnected)"), "{real}");
}

/// A daemon that is told to stop, at whatever moment.
#[test]
fn a_signal_comes_at_a_moment() {
    fn on_signals(signals: &mut Signals, mut thread: Thread<Signals>) {
        assert_eq!(signals.take(), Some(Signal::TERM));
        thread.threads().stop();
    }
    let report = check(Limits::new(), |sim| {
        let mut signals = Signals::new(&[Signal::TERM])?;
        let after = millis(u64::from(sim.pick("moment", 3)));
        sim.after(after, |sim| sim.signal(Signal::TERM));
        sim.after(after, |sim| sim.signal(Signal::WINCH)); // Without effect, as nobody waits for it.
        let mut kpt = Builder::new().threads(2).build_on(sim.poller())?;
        kpt.threads().add_read("signals", source(&signals), on_signals, ())?;
        kpt.run(&mut signals)?;
        sim.always("it stops as soon as it is told", sim.now() >= kpt_std::Instant::ZERO + after);
        Ok(())
    });
    assert_eq!(report.by_deviations[0], 3);
}

#[test]
fn a_signal_that_nobody_waits_for_ends_a_process() {
    let run = |waits_for: &'static [Signal], keeps: bool| {
        let report = explore(Limits::new().deviations(0), |sim| {
            let signals = Signals::new(waits_for)?;
            let kept = keeps.then_some(signals);
            let mut kpt = Builder::new().threads(2).build_on(sim.poller())?;
            sim.after(millis(1), |sim| sim.signal(Signal::TERM));
            kpt.threads().add_timer("end", millis(5), |_, _| (), ())?;
            kpt.run(&mut ())?;
            assert_eq!(kpt.run(&mut ()), Ok(kpt_std::Exit::Empty));
            drop(kept);
            Ok(())
        });
        report.failure.map(|failure| failure.message)
    };
    let text = run(&[Signal::HUP], true).expect("it ends");
    assert_eq!(text, "a signal ends the application: SIGTERM, which it does not wait for");
    assert_eq!(run(&[Signal::TERM], true), None);
    assert_eq!(run(&[Signal::TERM], false), None, "after a drop it has no effect");
}

#[test]
fn what_is_no_signal_is_refused_as_by_the_system() {
    let refused = |number| {
        let error = Signals::new(&[Signal::HUP, Signal::new(number)]).unwrap_err();
        (error.kind(), error.to_string())
    };
    let numbers =
        [0, -1, 65, 1_000, i32::MAX, i32::MIN, libc::SIGKILL, libc::SIGSEGV, libc::SIGRTMAX() - 1];
    for number in numbers {
        let real = refused(number);
        let sim = Sim::new();
        assert_eq!(refused(number), real, "{number}");
        drop(sim);
    }
    let sim = Sim::new();
    numbers.iter().skip(1).filter(|number| !(1..=64).contains(*number)).for_each(|&number| {
        sim.signal(Signal::new(number));
    });
    assert!(!sim.has_failed(), "what is no signal has no effect");
    sim.signal(Signal::new(64));
    assert!(sim.has_failed(), "a signal of real time ends a process, too");
}

/// It would be lost, as the simulation knows nothing of other OS threads.
#[test]
fn a_simulated_waker_is_not_for_another_os_thread() {
    let sim = Sim::new();
    let (waker, wakeups) = waker().unwrap();
    let other = std::thread::spawn(move || waker.wake()).join();
    let text = *other.unwrap_err().downcast::<&str>().unwrap();
    assert!(text.contains("an action of the test (`Sim::after`)"), "{text}");
    drop((sim, wakeups));
}
