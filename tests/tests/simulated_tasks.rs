//! Simulated tasks: what a parent sees of them, as usual and with each deviation.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write, pipe};
use std::time::Duration;

use kpt_std::sim::{End, Limits, Sim, TestResult, check, replay};
use kpt_std::{
    Builder, Child, EventLoop, Message, Parent, Passed, SendError, Spawner, StartError, StopStep,
    TaskConfig, TaskEvent, TaskExit, TaskHandle, TaskStatus, Thread, ThreadId, Threads, source,
};
use kpt_tests::time::millis;

/// Answers each message with itself, and does what some of them say.
struct Answers {
    parent: Parent,
    tick: Option<ThreadId>,
}

impl Answers {
    fn new(parent: Parent) -> Self {
        Self { parent, tick: None }
    }
}

impl Child for Answers {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        self.tick = Some(threads.add_timer("tick", millis(10), |_, thread| thread.again(), ())?);
        Ok(())
    }

    fn on_message(&mut self, message: Vec<u8>, mut threads: Threads<Self>) {
        match &message[..] {
            b"panic" => panic!("as it was told"),
            b"stop" => threads.stop(),
            b"hang up" => {
                self.parent.hang_up();
                self.tick.take().map(|tick| threads.cancel(tick));
            }
            _ => drop(self.parent.send(&message)),
        }
    }

    fn pre_stop(&mut self, _: Threads<Self>) {
        let _ = self.parent.send(b"stopped");
    }
}

struct Refuses;

impl Child for Refuses {
    type Arg = ();

    fn pre_run(&mut self, _: Threads<Self>) -> Result<(), Box<dyn Error>> {
        Err("it does not want to".into())
    }
}

fn config() -> TaskConfig {
    TaskConfig::new("answers").grace(millis(100))
}

/// There is a simulation, so the task is simulated.
fn start(_: &Sim) -> Result<TaskHandle, StartError> {
    Spawner::new().start_owned(config(), Answers::new)
}

/// A parent with a loop: what it has received of its task, with the time in milliseconds.
struct Asks {
    task: TaskHandle,
    received: Vec<(u64, TaskEvent)>,
}

impl Asks {
    fn on_event(&mut self, mut thread: Thread<Self>) {
        let now = thread.threads().now().as_micros() / 1_000;
        while let Some(event) = self.task.receive() {
            let is_exit = matches!(event, TaskEvent::Exit(_));
            self.received.push((now, event));
            if is_exit {
                return;
            }
        }
        thread.again();
    }
}

/// Sends "a", stops the task after 50 ms, and returns what has come of it.
fn asks(sim: &Sim) -> Result<Vec<(u64, TaskEvent)>, Box<dyn Error>> {
    let task = start(sim)?;
    assert_eq!(task.name(), "answers");
    let _ = task.send(b"a");
    let mut kpt: EventLoop<Asks, (), _> = Builder::new().threads(4).build_on(sim.poller())?;
    kpt.threads().add_read("events", task.source(), Asks::on_event, ())?;
    let stop = |asks: &mut Asks, _: Thread<Asks>| asks.task.stop(millis(100));
    kpt.threads().add_timer("stop", millis(50), stop, ())?;
    let mut state = Asks { task, received: Vec::new() };
    kpt.run(&mut state)?;
    assert_eq!(state.task.send(b"late"), Err(SendError::Closed));
    assert_eq!(state.task.receive(), None);
    Ok(state.received)
}

fn exit(status: TaskStatus, stopped: Option<StopStep>, has_started: bool) -> TaskEvent {
    TaskEvent::Exit(TaskExit {
        status,
        stopped,
        has_started,
        is_truncated: false,
        protocol_error: None,
        signal_error: None,
    })
}

fn message(text: &str) -> TaskEvent {
    TaskEvent::Message(text.into())
}

#[test]
fn a_parent_sees_each_deviation_of_its_task() {
    let (killed, asked) = (TaskStatus::Signal(9), Some(StopStep::Asked));
    let usual = || {
        vec![
            (0, message("a")),
            (50, message("stopped")),
            (50, exit(TaskStatus::Code(0), asked, true)),
        ]
    };
    let late = || {
        vec![
            (0, message("a")),
            (50, message("stopped")),
            (250, exit(TaskStatus::Code(0), asked, true)),
        ]
    };
    let terminated =
        |has_started| exit(TaskStatus::Signal(15), Some(StopStep::Terminated), has_started);
    for (schedule, expected) in [
        ("", usual()),
        ("exit/1#0=late", late()),
        ("task/1#0=dies", vec![(0, exit(killed.clone(), None, false))]),
        ("task/1#0=hangs", vec![(100, terminated(false))]),
        ("task/1#1=hangs", vec![(0, message("a")), (100, terminated(true))]),
        ("message/1#0=dies", vec![(0, exit(killed.clone(), None, true))]),
        ("message/1#1=dies", vec![(0, message("a")), (50, exit(killed.clone(), asked, true))]),
    ] {
        let result = std::cell::RefCell::new(Vec::new());
        let test = |sim: &Sim| -> TestResult {
            result.replace(asks(sim)?);
            Ok(())
        };
        let replay = replay(schedule, test).unwrap();
        assert!(replay.failure.is_none(), "{schedule}: {:?}", replay.failure);
        assert_eq!(result.take(), expected, "{schedule}\n{}", replay.trace);
    }
}

#[test]
fn a_task_that_sends_garbage_is_stopped() {
    let test = |sim: &Sim| -> TestResult {
        let received = asks(sim)?;
        let [(0, TaskEvent::Exit(exit))] = &received[..] else {
            return Err(format!("{received:?}").into());
        };
        assert!(exit.protocol_error.is_some());
        assert_eq!((&exit.status, exit.stopped), (&TaskStatus::Code(0), Some(StopStep::Asked)));
        Ok(())
    };
    let replay = replay("message/1#0=garbage", test).unwrap();
    assert!(replay.failure.is_none(), "{:?}", replay.failure);
}

#[test]
fn a_start_may_fail() {
    let test = |sim: &Sim| -> TestResult {
        let error = start(sim).err().ok_or("it has started")?;
        assert!(matches!(error, StartError::System(_)), "{error}");
        Ok(())
    };
    let replay = replay("start/1#0=EAGAIN", test).unwrap();
    assert!(replay.failure.is_none(), "{:?}", replay.failure);
}

#[test]
fn a_task_ends_in_each_way() {
    let sim = Sim::new();
    let end = |text: &str| {
        let task = start(&sim).unwrap();
        task.send(text.as_bytes()).unwrap();
        task.wait()
    };
    assert_eq!(end("stop").status, TaskStatus::Code(0));
    assert_eq!(end("hang up").status, TaskStatus::Code(0));
    let TaskStatus::Panicked(text) = end("panic").status else { panic!("it has not panicked") };
    assert!(text.ends_with(":\nas it was told"), "{text}");
    let task = Spawner::new().start_owned(config(), |_| Refuses).unwrap();
    assert_eq!(task.wait().status, TaskStatus::Failed("it does not want to".into()));
    assert!(!task.wait().has_started);
    let built: Result<TaskHandle, _> =
        Spawner::new().start_owned(config(), |_| -> Answers { panic!("before it is there") });
    assert!(matches!(built.unwrap().wait().status, TaskStatus::Panicked(_)));
}

#[test]
fn without_a_loop_a_parent_waits_in_the_time_of_the_simulation() {
    let sim = Sim::new();
    let task = start(&sim).unwrap();
    task.send(b"a").unwrap();
    assert_eq!(task.receive_blocking(), Some(message("a")));
    let before = sim.now();
    assert_eq!(task.receive_timeout(millis(30)), None);
    assert_eq!(sim.now(), before + millis(30));
    task.kill().expect("it can be killed");
    assert_eq!(
        task.receive_blocking(),
        Some(exit(TaskStatus::Signal(9), Some(StopStep::Killed), true))
    );
    assert_eq!(task.receive_blocking(), None);
    assert_eq!(task.wait().status, TaskStatus::Signal(9));
}

#[test]
fn a_parent_is_told_that_a_task_runs_if_it_asks_for_it() {
    let _sim = Sim::new();
    let task = Spawner::new().start_owned(config().tell_ready(), Answers::new).unwrap();
    assert_eq!(task.receive_blocking(), Some(TaskEvent::Ready));
    assert_eq!(task.receive_timeout(millis(1)), None);
}

#[test]
fn a_full_queue_says_so() {
    let sim = Sim::new();
    let config = TaskConfig::new("full").max_message(10).queue(20);
    let task = Spawner::new().start_owned(config, Answers::new).unwrap();
    assert_eq!(task.send(&[0; 11]), Err(SendError::TooLong));
    let sent = (0..100).take_while(|_| task.send(&[1; 10]).is_ok()).count();
    assert_eq!(task.send(&[1; 10]), Err(SendError::Full));
    for _ in 0..sent {
        assert_eq!(task.receive_blocking(), Some(TaskEvent::Message(vec![1; 10])));
    }
    assert_eq!(task.send(&[1; 10]), Ok(()));
    drop(sim);
}

/// Sends back what has come with each message.
struct Mirror(Parent);

impl Child for Mirror {
    type Arg = ();

    fn on_message_with(&mut self, message: Message, _: Threads<Self>) {
        let _ = match message.descriptor {
            Passed::Nothing => self.0.send(b"nothing"),
            Passed::Lost => self.0.send(b"lost"),
            Passed::Descriptor(file) => self.0.send_with(b"back", file).map_err(SendError::from),
        };
    }
}

fn start_mirror() -> Result<TaskHandle, StartError> {
    let config = TaskConfig::new("mirror").accept_descriptors(2);
    Spawner::new().start_owned(config, Mirror)
}

/// The file itself is carried, and a schedule can lose it in either direction.
#[test]
fn a_descriptor_passes_or_is_lost() {
    for (schedule, expected) in [
        ("", "back, with it"),
        ("descriptor/1#0=lost", "lost, without"),
        ("descriptor/1#1=lost", "back, lost"),
    ] {
        let test = |_: &Sim| -> TestResult {
            let task = start_mirror()?;
            let (mut reader, writer) = pipe()?;
            task.send_with(b"there", writer)?;
            let Some(TaskEvent::Message(message)) = task.receive_with_blocking() else {
                return Err("no message".into());
            };
            let text = String::from_utf8(message.bytes)?;
            let descriptor = match message.descriptor {
                Passed::Nothing => "without",
                Passed::Lost => "lost",
                Passed::Descriptor(file) => {
                    File::from(file).write_all(b"x")?;
                    "with it"
                }
            };
            let came = format!("{text}, {descriptor}");
            assert_eq!(came, expected);
            // All copies are closed.
            assert_eq!(reader.read_to_end(&mut Vec::new())?, usize::from(came == "back, with it"));
            Ok(())
        };
        let replay = replay(schedule, test).unwrap();
        assert!(replay.failure.is_none(), "{schedule}: {:?}", replay.failure);
    }
}

#[test]
fn no_more_descriptors_are_queued_than_there_may_be() {
    let sim = Sim::new();
    let file = || File::open("/dev/null").expect("it is there");
    let task = start(&sim).unwrap();
    let error = task.send_with(b"", file()).expect_err("it accepts none");
    assert_eq!(error.error, SendError::NoDescriptors);
    let task = start_mirror().unwrap();
    for _ in 0..2 {
        task.send_with(b"", file()).expect("room");
    }
    assert_eq!(task.send_with(b"", file()).expect_err("no room").error, SendError::Full);
    assert_eq!(task.send(b""), Ok(()));
    for text in ["back", "back", "nothing"] {
        assert_eq!(task.receive_blocking(), Some(message(text)));
    }
    task.send_with(b"", file()).expect("there is room now");
}

#[test]
fn a_parent_gets_over_two_deviations() {
    let report = check(Limits::new().deviations(2).without(&["start"]), |sim| {
        let received = asks(sim)?;
        let exits = received.iter().filter(|(_, event)| matches!(event, TaskEvent::Exit(_)));
        sim.always("the end comes once", exits.count() == 1);
        sim.sometimes("it does not answer", received.len() == 1);
        Ok(())
    });
    println!("{} schedules, by deviations {:?}", report.schedules, report.by_deviations);
}

#[test]
fn the_loop_of_a_parent_has_the_ends_that_it_has_without_tasks() {
    let sim = Sim::new();
    let task = start(&sim).unwrap();
    let mut kpt: EventLoop<(), (), _> = Builder::new().threads(4).build_on(sim.poller()).unwrap();
    kpt.threads().add_read("never", task.source(), |_, _| {}, ()).unwrap();
    task.send(b"hang up").unwrap();
    kpt.run(&mut ()).unwrap();
    drop(task);
    let (_peer, stream) = sim.streams();
    kpt.threads().add_read("idle", source(&stream), |_, _| {}, ()).unwrap();
    assert_eq!(kpt.run(&mut ()), Err(End::Idle));
    assert!(sim.now().as_micros() < Duration::from_secs(10).as_micros() as u64);
}

#[test]
fn r57_a_start_of_a_process_in_a_simulation_is_refused_at_once() {
    let sim = Sim::new();
    let refused = Spawner::new().start(TaskConfig::new("process"), Answers::new);
    assert!(matches!(refused, Err(StartError::InSimulation)), "{refused:?}");
    drop(sim);
}
