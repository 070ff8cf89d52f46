//! Tasks in odd places and orders: started in any hook and by tasks; handles, spawners and loops dropped in any order.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant as Stopwatch};

use kpt_std::{
    Child, EventLoop, Parent, Spawner, TaskConfig, TaskEvent, TaskHandle, TaskStatus, Thread,
    Threads,
};
use kpt_tests::scenario::descriptors;
use kpt_tests::sys;
use kpt_tests::tasks::{One, message_of, receive_all, start, use_and_end};
use libc::SIGKILL;

const GRACE: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Build,
    PreRun,
    Thread,
    Message,
    PreStop,
}

/// Has a task of its own at a place, and says so to its parent.
struct Nest {
    parent: Parent,
    spawner: Spawner,
    place: Place,
}

impl Nest {
    fn new(parent: Parent, spawner: Spawner, place: Place) -> Self {
        let nest = Self { parent, spawner, place };
        nest.at(Place::Build);
        nest
    }

    fn at(&self, place: Place) {
        if self.place == place {
            use_and_end(&start(&self.spawner, |_, _| Ok(())));
            // One that is still there when this one ends.
            let spawner = self.spawner.clone();
            std::mem::forget(start(&spawner, |_, _| Ok(())));
            self.parent.send(b"done").expect("room");
        }
    }
}

impl Child for Nest {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        self.at(Place::PreRun);
        threads.add_execute("thread", |nest: &mut Self, _| nest.at(Place::Thread), ())?;
        Ok(())
    }

    fn on_message(&mut self, _: Vec<u8>, _: Threads<Self>) {
        self.at(Place::Message);
    }

    fn pre_stop(&mut self, _: Threads<Self>) {
        self.at(Place::PreStop);
    }
}

/// The tasks of a task that ends see their parent's end, and nobody is left: the harness waits for that.
fn a_task_may_have_tasks_from_any_hook() {
    let outer = Spawner::new();
    for place in [Place::Build, Place::PreRun, Place::Thread, Place::Message, Place::PreStop] {
        for is_inherited in [false, true] {
            let inherited = outer.clone();
            let build = |parent| {
                let spawner = if is_inherited { inherited } else { Spawner::new() };
                Nest::new(parent, spawner, place)
            };
            let task = outer.start(TaskConfig::new("nest"), build).expect("it starts");
            task.send(b"now").expect("room");
            if place == Place::PreStop {
                task.stop(GRACE);
            }
            assert_eq!(message_of(&task), b"done", "{place:?}");
            task.stop(GRACE);
            let exit = task.wait();
            assert_eq!(exit.status, TaskStatus::Code(0), "{place:?} {is_inherited}: {exit}");
        }
    }
}

/// The hook of a task's source drops that task's handle, starts another, and waits for that one.
fn hooks_start_drop_and_wait() {
    struct State {
        spawner: Spawner,
        task: Option<TaskHandle>,
        left: u32,
    }
    fn on_task(state: &mut State, thread: Thread<State>) {
        let Some(task) = &state.task else { return };
        if task.receive().is_none() {
            return thread.again();
        }
        let (_, mut threads) = thread.end();
        state.task = None;
        if state.left > 0 {
            state.left -= 1;
            use_and_end(&start(&state.spawner, |_, _| Ok(())));
            let task = start(&state.spawner, |child, _| Ok(child.parent.send(b"here")?));
            if state.left.is_multiple_of(2) {
                // It says what it has to say before it sees this.
                task.stop(GRACE);
            }
            threads.add_read("task", task.source(), on_task, ()).expect("room");
            state.task = Some(task);
        }
    }
    let mut kpt = EventLoop::with_capacity(2).unwrap();
    let spawner = kpt.spawner();
    let task = start(&spawner, |child, _| Ok(child.parent.send(b"here")?));
    kpt.threads().add_read("task", task.source(), on_task, ()).expect("room");
    let mut state = State { spawner, task: Some(task), left: 10 };
    kpt.run(&mut state).expect("the loop runs");
    assert_eq!(state.left, 0);
    drop(state);
    drop(kpt);
    assert!(!sys::has_children());
}

fn handles_and_spawners_outlive_the_loop() {
    let before = descriptors();
    let mut kpt = EventLoop::with_capacity(2).unwrap();
    let spawner = kpt.spawner();
    let tasks: Vec<_> = (0..4).map(|_| start(&spawner, |_, _| Ok(()))).collect();
    kpt.threads()
        .add_execute("stop", |_: &mut (), mut thread| thread.threads().stop(), ())
        .expect("room");
    kpt.threads().add_read("task", tasks[0].source(), |_, _| {}, ()).expect("room");
    kpt.run(&mut ()).expect("the loop runs");
    kpt.threads()
        .add_timer("wait", Duration::ZERO, |_, mut thread| thread.threads().stop(), ())
        .expect("room");
    kpt.run(&mut ()).expect("the loop runs");
    drop(kpt);
    let late = start(&spawner, |_, _| Ok(()));
    drop(spawner);
    for task in tasks.iter().chain([&late]) {
        task.send(b"echo").expect("room");
        assert_eq!(message_of(task), b"echo");
    }
    tasks[0].kill().expect("it can be killed");
    assert_eq!(tasks[0].wait().status, TaskStatus::Signal(SIGKILL));
    drop(tasks);
    late.stop(GRACE);
    assert_eq!(receive_all(&late).1.status, TaskStatus::Code(0));
    drop(late);
    assert_eq!(descriptors(), before);
}

/// What is closed in a blocking wait is the loop's poller's to be told of; and then there is no loop any more.
fn a_loop_that_is_dropped_leaves_nothing_open() {
    // The guard is there before and after.
    let other = Spawner::new();
    use_and_end(&start(&other, |_, _| Ok(())));
    let before = descriptors();
    let mut kpt = EventLoop::with_capacity(1).unwrap();
    let task = start(&kpt.spawner(), |_, _| Ok(()));
    // The poller watches both of its descriptors.
    kpt.threads().add_timer("wait", Duration::from_millis(1), |_, _| {}, ()).expect("room");
    kpt.run(&mut ()).expect("the loop runs");
    task.stop(GRACE);
    task.wait();
    drop(kpt);
    assert_eq!(descriptors(), before, "while the handle lives");
}

fn two_loops_have_tasks_of_their_own() {
    let mut loops = [EventLoop::with_capacity(2).unwrap(), EventLoop::with_capacity(2).unwrap()];
    let tasks = [0, 1].map(|at| {
        start(&loops[at].spawner(), |child, _| {
            child.parent.send(b"here")?;
            child.parent.hang_up();
            Ok(())
        })
    });
    for (kpt, task) in loops.iter_mut().zip(tasks) {
        let events = One::run(kpt, task);
        assert!(matches!(events[..], [TaskEvent::Message(_), TaskEvent::Exit(_)]), "{events:?}");
    }
    // A hook of one waits for a task of the other.
    let task = start(&loops[0].spawner(), |_, _| Ok(()));
    let hook = |state: &mut One, _: Thread<One>| use_and_end(&state.task);
    loops[1].threads().add_execute("hook", hook, ()).expect("room");
    loops[1].run(&mut One { task, events: Vec::new() }).expect("the loop runs");
}

/// Whoever comes first gets it, and nothing comes twice.
fn a_blocking_receive_goes_with_a_reader_of_the_same_source() {
    struct State {
        task: TaskHandle,
        messages: [u32; 2],
        exits: u32,
    }
    impl State {
        fn count(&mut self, at: usize, event: Option<TaskEvent>, thread: Thread<Self>) {
            match event {
                Some(TaskEvent::Exit(_)) => {
                    self.exits += 1;
                    let mut thread = thread;
                    return thread.threads().stop();
                }
                Some(TaskEvent::Message(_)) => self.messages[at] += 1,
                Some(TaskEvent::Ready) | None => {}
            }
            thread.again();
        }
    }
    let read = |state: &mut State, thread: Thread<State>| {
        let event = state.task.receive();
        state.count(0, event, thread);
    };
    let block = |state: &mut State, thread: Thread<State>| {
        let event = state.task.receive_timeout(Duration::ZERO);
        state.count(1, event, thread);
    };
    let mut kpt = EventLoop::with_capacity(2).unwrap();
    let task = start(&kpt.spawner(), |child, _| {
        (0..100).try_for_each(|_| child.parent.send(b"x"))?;
        child.parent.hang_up();
        Ok(())
    });
    kpt.threads().add_read("read", task.source(), read, ()).expect("room");
    kpt.threads().add_timer("block", Duration::from_micros(50), block, ()).expect("room");
    let mut state = State { task, messages: [0; 2], exits: 0 };
    kpt.run(&mut state).expect("the loop runs");
    assert_eq!((state.messages.iter().sum::<u32>(), state.exits), (100, 1));
    assert_eq!(state.task.receive_blocking(), None);
}

/// Without a loop, `receive_blocking` of a time that has passed looks what is there.
fn a_parent_without_a_loop_may_look_now_and_then() {
    let task = start(&Spawner::new(), |child, _| {
        child.parent.send(b"here")?;
        child.parent.hang_up();
        Ok(())
    });
    let (begin, mut events) = (Stopwatch::now(), Vec::new());
    while events.len() < 2 && begin.elapsed() < GRACE {
        events.extend(task.receive_timeout(Duration::ZERO));
        thread::yield_now();
    }
    assert!(matches!(events[..], [TaskEvent::Message(_), TaskEvent::Exit(_)]), "{events:?}");
}

/// A fork by other code has copies of all handles, and drops them with what they belong to.
fn a_process_forked_by_hand_harms_no_task_by_dropping_what_it_has() {
    let mut kpt: EventLoop<()> = EventLoop::with_capacity(1).unwrap();
    let alone = Spawner::new();
    let tasks = [&alone, &kpt.spawner()].map(|spawner| start(spawner, |_, _| Ok(())));
    kpt.threads().add_timer("wait", Duration::from_millis(1), |_, _| {}, ()).expect("room");
    kpt.run(&mut ()).expect("the loop runs");
    let mut all = Some((kpt, alone, tasks));
    let child = sys::fork_and(|| drop(all.take())).expect("a fork");
    assert_eq!(sys::exit_code(child).expect("a child"), Some(0));
    let (_, _, tasks) = all.take().expect("not taken in this process");
    tasks.iter().for_each(use_and_end);
}

/// What it panicked with is sent before its state is dropped, which may panic, too, and so abort the process.
fn a_panic_is_told_even_if_its_state_panics_when_dropped() {
    struct Brittle;

    impl Child for Brittle {
        type Arg = ();

        fn pre_run(&mut self, _: Threads<Self>) -> Result<(), Box<dyn Error>> {
            panic!("the first");
        }
    }

    impl Drop for Brittle {
        fn drop(&mut self) {
            panic!("the second");
        }
    }

    let task = Spawner::new().start(TaskConfig::new("brittle"), |_| Brittle).expect("it starts");
    let exit = task.wait();
    let TaskStatus::Panicked(text) = &exit.status else { panic!("{exit}") };
    assert!(text.contains("the first"), "{text}");
}

kpt_tests::scenarios! {
    a_panic_is_told_even_if_its_state_panics_when_dropped,
    a_task_may_have_tasks_from_any_hook,
    hooks_start_drop_and_wait,
    handles_and_spawners_outlive_the_loop,
    a_loop_that_is_dropped_leaves_nothing_open,
    two_loops_have_tasks_of_their_own,
    a_blocking_receive_goes_with_a_reader_of_the_same_source,
    a_parent_without_a_loop_may_look_now_and_then,
    a_process_forked_by_hand_harms_no_task_by_dropping_what_it_has,
}
