//! A supervisor with real tasks: what is killed, hangs or fails is there again, in order.

use std::time::Duration;

use kpt_std::supervisor::{ChildSpec, Order, Strategy, Supervisor};
use kpt_std::{
    EventLoop, Parent, Spawner, TaskConfig, TaskEvent, TaskHandle, Thread, ThreadId, Threads, When,
};
use kpt_tests::sys;
use kpt_tests::tasks::{Script, Scripted};

const GRACE: Duration = Duration::from_secs(4);
const NO_PAUSE: Duration = Duration::ZERO;

/// What happened, with the number of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    Started(usize),
    Ready(usize),
    Exited(usize),
}

/// A parent with a supervisor. Does something to a child when all are ready for the first time, and stops all when they
/// are ready again.
struct App {
    spawner: Spawner,
    supervisor: Supervisor,
    tasks: Vec<Option<TaskHandle>>,
    timer: Option<ThreadId>,
    log: Vec<Log>,
    script: Script,
    /// Done when all are ready for the first time.
    harm: fn(&[Option<TaskHandle>]),
    is_harmed: bool,
}

type AppThreads<'t> = Threads<'t, App, usize>;

impl App {
    /// Runs until the supervisor has nothing left to do. Returns what happened.
    fn run(supervisor: Supervisor, script: Script, harm: fn(&[Option<TaskHandle>])) -> Self {
        // A thread for each child, and one timer, which gives up its slot to the next one (r56).
        let mut kpt = EventLoop::with_capacity(4).expect("a loop");
        let tasks = (0..3).map(|_| None).collect();
        let (log, timer, spawner) = (Vec::new(), None, kpt.spawner());
        let is_harmed = false;
        let mut app = Self { spawner, supervisor, tasks, timer, log, script, harm, is_harmed };
        app.carry_out(kpt.threads());
        kpt.run(&mut app).expect("it runs");
        app
    }

    fn on_task(&mut self, mut thread: Thread<Self, usize>) {
        let (child, now) = (thread.arg, thread.threads().now());
        let event = self.tasks[child].as_ref().and_then(TaskHandle::receive);
        match event {
            Some(TaskEvent::Exit(exit)) => {
                self.log.push(Log::Exited(child));
                self.supervisor.on_exit(child, exit.is_normal(), now);
                let (_, threads) = thread.end();
                self.tasks[child] = None;
                return self.carry_out(threads);
            }
            Some(TaskEvent::Ready) => {
                self.log.push(Log::Ready(child));
                self.supervisor.on_ready(child, now);
                self.on_ready();
            }
            Some(TaskEvent::Message(_)) => self.supervisor.on_heartbeat(child, now),
            None => {}
        }
        self.carry_out(thread.threads());
        thread.again();
    }

    fn on_ready(&mut self) {
        let is_ready = |child| self.log.iter().rev().find(|log| log.child() == child);
        if (0..3).any(|child| is_ready(child) != Some(&Log::Ready(child))) {
            return;
        }
        if self.is_harmed {
            self.supervisor.stop();
        } else {
            self.is_harmed = true;
            (self.harm)(&self.tasks);
        }
    }

    fn carry_out(&mut self, mut threads: AppThreads) {
        let now = threads.now();
        while let Some(order) = self.supervisor.next(now) {
            match order {
                Order::Start(child) => {
                    self.log.push(Log::Started(child));
                    let config = TaskConfig::new(format!("child {child}")).tell_ready();
                    let script = self.script;
                    let build = |parent: Parent| Scripted::new(parent, script);
                    let task = self.spawner.start(config, build).expect("it starts");
                    let source = task.source();
                    threads.add_read("child", source, Self::on_task, child).expect("room");
                    self.tasks[child] = Some(task);
                }
                Order::Stop { child, grace } => {
                    self.tasks[child].as_ref().expect("it runs").stop(grace);
                }
                Order::Kill(child) => {
                    self.tasks[child].as_ref().expect("it runs").kill().expect("it can be killed")
                }
            }
        }
        if let Some(timer) = self.timer.take() {
            let _ = threads.cancel(timer);
        }
        if let Some(deadline) = self.supervisor.deadline() {
            let hook = |app: &mut Self, thread: Thread<Self, usize>| {
                let (_, mut threads) = thread.end();
                app.supervisor.on_time(threads.now());
                app.carry_out(threads);
            };
            let added = threads.add("supervisor", When::At(deadline), hook, 0);
            self.timer = Some(added.expect("room for the timer"));
        }
    }
}

impl Log {
    fn child(self) -> usize {
        match self {
            Self::Started(child) | Self::Ready(child) | Self::Exited(child) => child,
        }
    }
}

fn three(strategy: Strategy, spec: ChildSpec) -> Supervisor {
    let supervisor = Supervisor::new(strategy).back_off(NO_PAUSE, NO_PAUSE);
    supervisor.child(spec).child(spec).child(spec)
}

fn kill_the_second(tasks: &[Option<TaskHandle>]) {
    tasks[1].as_ref().expect("it runs").kill().expect("it can be killed");
}

use Log::{Exited, Ready, Started};

/// All three, in order.
const STARTS: [Log; 6] = [Started(0), Ready(0), Started(1), Ready(1), Started(2), Ready(2)];
const STOPS: [Log; 3] = [Exited(2), Exited(1), Exited(0)];

fn what_is_killed_is_started_again_with_those_that_need_it() {
    for (strategy, expected) in [
        (Strategy::OneForOne, &[Exited(1), Started(1), Ready(1)][..]),
        (Strategy::RestForOne, &[Exited(1), Exited(2), Started(1), Ready(1), Started(2), Ready(2)]),
        (Strategy::OneForAll, &[&[Exited(1), Exited(2), Exited(0)][..], &STARTS].concat()),
    ] {
        let supervisor = three(strategy, ChildSpec::permanent().grace(GRACE));
        let app = App::run(supervisor, |_, _| Ok(()), kill_the_second);
        assert_eq!(app.log, [&STARTS[..], expected, &STOPS].concat(), "{strategy:?}");
        assert!(app.supervisor.is_over() && app.supervisor.given_up().is_none());
    }
}

/// The second one is stopped by a signal, and so gives no heartbeat.
fn what_hangs_is_killed_and_started_again() {
    let spec = ChildSpec::permanent().grace(GRACE).heartbeat(Duration::from_millis(400));
    let beat: Script = |child, mut threads| {
        child.parent.send(b"")?;
        let again = |child: &mut Scripted, thread: Thread<Scripted>| {
            let _ = child.parent.send(b"");
            thread.again();
        };
        threads.add_timer("heartbeat", Duration::from_millis(50), again, ())?;
        Ok(())
    };
    let app = App::run(three(Strategy::OneForOne, spec), beat, |tasks| {
        let task = tasks[1].as_ref().expect("it runs");
        sys::signal(task.id(), libc::SIGSTOP);
    });
    let restart = [Exited(1), Started(1), Ready(1)];
    assert_eq!(app.log, [&STARTS[..], &restart, &STOPS].concat());
}

fn what_fails_before_it_is_ready_is_given_up_and_nothing_after_it_starts() {
    let supervisor = three(Strategy::OneForOne, ChildSpec::permanent()).intensity(3, GRACE);
    let app = App::run(supervisor, |_, _| Err("not today".into()), |_| {});
    assert_eq!(app.log, [Started(0), Exited(0)].repeat(4));
    assert_eq!(app.supervisor.given_up(), Some(0));
}

fn ready_is_told_if_it_is_asked_for_and_after_what_was_sent_before() {
    for asks in [false, true] {
        let config = TaskConfig::new("task");
        let config = if asks { config.tell_ready() } else { config };
        let build = |parent: Parent| {
            Scripted::new(parent, |child, _| {
                child.parent.send(b"first")?;
                Ok(())
            })
        };
        let task = Spawner::new().start(config, build).expect("it starts");
        assert_eq!(task.receive_blocking(), Some(TaskEvent::Message(b"first".to_vec())));
        if asks {
            assert_eq!(task.receive_blocking(), Some(TaskEvent::Ready));
        }
        task.send(b"echo").expect("room");
        assert_eq!(task.receive_blocking(), Some(TaskEvent::Message(b"echo".to_vec())));
        task.stop(GRACE);
        let Some(TaskEvent::Exit(exit)) = task.receive_blocking() else { panic!("no exit") };
        assert!(exit.has_started && exit.is_normal(), "{exit}");
        assert_eq!(task.receive(), None);
    }
}

/// The exit event is the last one, whether or not the others are received one by one.
fn a_task_that_ends_before_it_is_heard_was_ready() {
    let config = TaskConfig::new("short").tell_ready();
    let build = |parent: Parent| {
        Scripted::new(parent, |child, _| {
            child.parent.hang_up();
            Ok(())
        })
    };
    let task = Spawner::new().start(config, build).expect("it starts");
    assert!(task.wait().has_started);
    assert!(matches!(task.receive(), Some(TaskEvent::Exit(_))), "the others are lost by then");
    let task = Spawner::new().start(TaskConfig::new("short").tell_ready(), build);
    let task = task.expect("it starts");
    assert_eq!(task.receive_blocking(), Some(TaskEvent::Ready));
    assert!(matches!(task.receive_blocking(), Some(TaskEvent::Exit(exit)) if exit.has_started));
}

kpt_tests::scenarios! {
    what_is_killed_is_started_again_with_those_that_need_it,
    what_hangs_is_killed_and_started_again,
    what_fails_before_it_is_ready_is_given_up_and_nothing_after_it_starts,
    ready_is_told_if_it_is_asked_for_and_after_what_was_sent_before,
    a_task_that_ends_before_it_is_heard_was_ready,
}
