//! A supervisor of simulated tasks, which die, hang, end late, send garbage or can't be started, as the schedule says.

use std::error::Error;
use std::time::Duration;

use kpt_std::sim::{End, Limits, Sim, TestResult, check};
use kpt_std::supervisor::{ChildSpec, Order, Strategy, Supervisor};
use kpt_std::{
    Builder, Child, EventLoop, Instant, Parent, Spawner, TaskConfig, TaskEvent, TaskHandle, Thread,
    ThreadId, Threads, When,
};
use kpt_tests::chance::is_deep;
use kpt_tests::sys::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MILLI: Duration = Duration::from_millis(1);
const CHILDREN: usize = 3;
/// How often a child gives a heartbeat, and for how long it may give none.
const HEARTBEAT: Duration = Duration::from_millis(20);
const SILENCE: Duration = Duration::from_millis(300);
const GRACE: Duration = Duration::from_millis(400);
/// By then all is well again, unless something goes wrong shortly before: so it is looked at once more than that can be.
const WELL: [Instant; 3] = [
    Instant::from_micros(5_000_000),
    Instant::from_micros(7_000_000),
    Instant::from_micros(9_000_000),
];

/// A task that gives a heartbeat, and nothing else.
struct Worker {
    parent: Parent,
    beats: u32,
}

impl Child for Worker {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        threads.add_timer("heartbeat", HEARTBEAT, Self::on_heartbeat, ())?;
        Ok(())
    }
}

impl Worker {
    /// After a few, it goes on in silence, so that not all that is decided is about heartbeats.
    fn on_heartbeat(&mut self, thread: Thread<Self>) {
        let _ = self.parent.send(b"");
        self.beats += 1;
        if self.beats < 3 {
            thread.again();
        } else {
            let _ = thread.again_when(When::After(SILENCE * 2 / 3));
        }
    }
}

/// The parent.
struct App {
    sim: Sim,
    strategy: Strategy,
    supervisor: Supervisor,
    tasks: [Option<TaskHandle>; CHILDREN],
    is_ready: [bool; CHILDREN],
    timer: Option<ThreadId>,
    kills: u32,
    is_ending: bool,
}

type AppThreads<'t> = Threads<'t, App, usize>;

impl App {
    fn new(sim: &Sim, strategy: Strategy) -> Self {
        let child = ChildSpec::permanent().ready_within(SILENCE).heartbeat(SILENCE).grace(GRACE);
        let supervisor = Supervisor::new(strategy).back_off(10 * MILLI, 100 * MILLI);
        Self {
            sim: sim.clone(),
            strategy,
            supervisor: supervisor.child(child).child(child).child(child),
            tasks: [const { None }; CHILDREN],
            is_ready: [false; CHILDREN],
            timer: None,
            kills: 0,
            is_ending: false,
        }
    }

    fn on_task(&mut self, mut thread: Thread<Self, usize>) {
        let (child, now) = (thread.arg, thread.threads().now());
        match self.tasks[child].as_ref().and_then(TaskHandle::receive) {
            Some(TaskEvent::Exit(exit)) => {
                self.is_ready[child] = false;
                self.supervisor.on_exit(child, exit.is_normal(), now);
                let (_, threads) = thread.end();
                self.tasks[child] = None;
                return self.carry_out(threads);
            }
            Some(TaskEvent::Ready) => {
                self.is_ready[child] = true;
                self.supervisor.on_ready(child, now);
            }
            Some(TaskEvent::Message(_)) => self.supervisor.on_heartbeat(child, now),
            None => {}
        }
        self.carry_out(thread.threads());
        thread.again();
    }

    fn carry_out(&mut self, mut threads: AppThreads) {
        let now = threads.now();
        while let Some(order) = self.supervisor.next(now) {
            match order {
                Order::Start(child) => {
                    if !self.start(child, threads.reborrow()) {
                        self.supervisor.on_exit(child, false, now);
                    }
                }
                Order::Stop { child, grace } => {
                    let later = &self.tasks[child + 1..];
                    let is_last = !self.is_ending || later.iter().all(Option::is_none);
                    self.sim.always("the last is stopped first", is_last);
                    self.tasks[child].as_ref().expect("it runs").stop(grace);
                }
                Order::Kill(child) => {
                    self.kills += 1;
                    self.tasks[child].as_ref().expect("it runs").kill().expect("it is simulated");
                }
            }
        }
        if let Some(timer) = self.timer.take() {
            let _ = threads.cancel(timer);
        }
        if let Some(deadline) = self.supervisor.deadline() {
            let hook = |app: &mut Self, mut thread: Thread<Self, usize>| {
                app.supervisor.on_time(thread.threads().now());
                app.carry_out(thread.threads());
            };
            self.timer = threads.add("supervisor", When::At(deadline), hook, 0).ok();
        }
    }

    /// Returns whether the child has been started.
    fn start(&mut self, child: usize, mut threads: AppThreads) -> bool {
        self.sim.always("one that runs is not started", self.tasks[child].is_none());
        let is_in_order = self.is_ready[..child].iter().all(|is_ready| *is_ready);
        let needs_order = self.strategy != Strategy::OneForOne;
        self.sim.always("each starts after those before it", is_in_order || !needs_order);
        let config = TaskConfig::new(format!("child {child}")).tell_ready().threads(2);
        let worker = |parent| Worker { parent, beats: 0 };
        let Ok(task) = Spawner::new().start_owned(config, worker) else { return false };
        threads.add_read("child", task.source(), Self::on_task, child).expect("room");
        self.tasks[child] = Some(task);
        true
    }
}

/// All are ready in the end, and then all are stopped.
fn supervised(sim: &Sim, strategy: Strategy) -> TestResult {
    let mut app = App::new(sim, strategy);
    let mut kpt: EventLoop<App, usize, _> = Builder::new().threads(8).build_on(sim.poller())?;
    app.carry_out(kpt.threads());
    for moment in WELL {
        if app.is_ready != [true; CHILDREN] {
            sim.run_until(moment, || kpt.run(&mut app).map(drop))?;
        }
    }
    sim.always("all are ready", app.is_ready == [true; CHILDREN]);
    sim.always("it has not given up", app.supervisor.given_up().is_none());
    sim.sometimes("one hangs", app.kills > 0);

    app.is_ending = true;
    app.supervisor.stop();
    app.carry_out(kpt.threads());
    match kpt.run(&mut app) {
        Ok(_) | Err(End::Idle) => {}
        Err(error) => return Err(error.into()),
    }
    sim.always("all have ended", app.supervisor.is_over());
    sim.always("none is left", app.tasks.iter().all(Option::is_none));
    Ok(())
}

#[test]
fn whatever_goes_wrong_once_all_children_are_ready_again() {
    for strategy in [Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll] {
        let limits = if is_deep() {
            Limits::new().deviations(2).schedules(40_000)
        } else {
            Limits::new().deviations(1)
        };
        let report = check(limits, |sim| supervised(sim, strategy));
        println!("{strategy:?}:\n{report}");
    }
}

#[test]
fn a_supervisor_allocates_only_while_it_is_built() {
    let child = ChildSpec::permanent().heartbeat(SILENCE);
    let mut supervisor = Supervisor::new(Strategy::OneForAll)
        .intensity(4, MILLI)
        .back_off(MILLI, MILLI)
        .child(child)
        .child(child);
    let before = CountingAllocator::count();
    let mut now = Instant::ZERO;
    for round in 0..1_000 {
        now = now + MILLI;
        supervisor.on_time(now);
        while let Some(order) = supervisor.next(now) {
            match order {
                Order::Start(child) => supervisor.on_ready(child, now),
                Order::Stop { child, .. } | Order::Kill(child) => {
                    supervisor.on_exit(child, false, now);
                }
            }
        }
        supervisor.on_exit(round % 2, round % 3 == 0, now);
    }
    assert_eq!((CountingAllocator::count(), supervisor.given_up()), (before, None));
}
