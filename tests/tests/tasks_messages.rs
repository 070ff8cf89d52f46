//! Messages between a task and its parent: M1 to M11 of the faults of this field; and the contract of pollers with
//! live tasks.

use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use kpt_std::{
    Child, EventLoop, Parent, ProtocolError, SelectPoller, SendError, Source, Spawner, StopStep,
    TaskConfig, TaskEvent, TaskExit, TaskHandle, TaskStatus, Tasks, Thread, Threads, source,
};
use kpt_tests::chance::is_checked;
use kpt_tests::contract;
use kpt_tests::rigs::{Sockets, pair};
use kpt_tests::scenario::descriptors;
use kpt_tests::sys;
use kpt_tests::tasks::{Script, Scripted, receive_all, start};

const GRACE: Duration = Duration::from_secs(8);

/// In a task: writes bytes into its channel past all that kpt does, and stays.
fn write_raw(bytes: &[u8]) {
    let mut sockets = descriptors().into_iter().filter(|(_, file)| file.starts_with("socket:"));
    let (number, _) = sockets.next_back().expect("a task has a channel");
    let mut channel = UnixStream::from(sys::duplicate(number).expect("room for one"));
    channel.set_nonblocking(false).expect("it is a socket");
    channel.write_all(bytes).expect("the parent reads");
    channel.set_nonblocking(true).expect("it is a socket");
}

/// A frame of a message.
fn frame(message: &[u8]) -> Vec<u8> {
    [&[1], &(message.len() as u32).to_le_bytes()[..], message].concat()
}

fn m01_however_the_bytes_come_the_messages_are_whole() {
    // Byte by byte, and then many frames in one.
    let script: Script = |_, _| {
        for byte in [frame(b"one"), frame(b""), frame(b"two")].concat() {
            write_raw(&[byte]);
            thread::yield_now();
        }
        write_raw(&frame(&[7; 100]).repeat(600));
        Ok(())
    };
    let task = start(&Spawner::new(), script);
    let mut messages = Vec::new();
    while messages.len() < 603 {
        let Some(TaskEvent::Message(message)) = task.receive_blocking() else { panic!("an end") };
        messages.push(message);
    }
    assert_eq!(messages[..3], [&b"one"[..], b"", b"two"]);
    assert!(messages[3..].iter().all(|message| message[..] == [7; 100]));
    task.stop(GRACE);
    task.wait();
}

fn m02_a_message_larger_than_any_socket_takes_arrives() {
    let config = TaskConfig::new("large").max_message(16 << 20).queue(40 << 20);
    let task = Spawner::new()
        .start(config, |parent| Scripted::new(parent, |_, _| Ok(())))
        .expect("it starts");
    let message: Vec<u8> = (0..16 << 20).map(|at: u32| (at % 251) as u8).collect();
    task.send(&message).expect("room");
    assert!(task.receive_blocking() == Some(TaskEvent::Message(message)), "it comes back changed");
}

/// Each side sends a megabyte before it reads anything; `tasks_flood` has 64, on loops.
fn m03_both_may_write_first() {
    let config = TaskConfig::new("first").queue(2 << 20);
    let megabyte: Script = |child, _| {
        for _ in 0..20 {
            child.parent.send(&[7; 50_000])?;
        }
        Ok(())
    };
    let spawner = Spawner::new();
    let task = spawner.start(config, |parent| Scripted::new(parent, megabyte)).expect("it starts");
    for _ in 0..20 {
        task.send(&[8; 50_000]).expect("room");
    }
    // Its own, and what it sends back.
    for at in 0..40 {
        let Some(TaskEvent::Message(message)) = task.receive_blocking() else { panic!("an end") };
        assert_eq!(message.len(), 50_000, "message {at}");
    }
    task.stop(GRACE);
    task.wait();
}

/// The same as `receive_all`, on a loop.
fn receive_in_loop(kpt: &mut EventLoop<Received>, task: TaskHandle) -> (Vec<Vec<u8>>, TaskExit) {
    let source = task.source();
    let read = |state: &mut Received, thread: Thread<Received>| match state.task.receive() {
        Some(TaskEvent::Exit(exit)) => state.exit = Some(exit),
        Some(TaskEvent::Message(message)) => {
            state.messages.push(message);
            thread.again();
        }
        Some(TaskEvent::Ready) | None => thread.again(),
    };
    kpt.threads().add_read("events", source, read, ()).expect("room");
    let mut state = Received { task, messages: Vec::new(), exit: None };
    kpt.run(&mut state).expect("the loop runs");
    (state.messages, state.exit.expect("the loop ends with it"))
}

struct Received {
    task: TaskHandle,
    messages: Vec<Vec<u8>>,
    exit: Option<TaskExit>,
}

/// How it ends when that is in its channel, with a loop and without. A second task of the same spawner is not disturbed.
fn exit_after(script: Script) -> TaskExit {
    let mut kpt = EventLoop::with_capacity(1).unwrap();
    let [in_loop, alone] = [kpt.spawner(), Spawner::new()].map(|spawner| {
        let other = start(&spawner, |_, _| Ok(()));
        let config = TaskConfig::new("hostile").grace(Duration::from_millis(400));
        let build = |parent| Scripted::new(parent, script);
        (spawner.start(config, build).expect("it starts"), other)
    });
    let (in_loop_messages, in_loop_exit) = receive_in_loop(&mut kpt, in_loop.0);
    let (messages, exit) = receive_all(&alone.0);
    assert!(messages == [b"good"] && in_loop_messages == messages);
    assert_eq!(in_loop_exit.protocol_error, exit.protocol_error);
    assert_eq!(in_loop_exit.is_truncated, exit.is_truncated);
    for other in [in_loop.1, alone.1] {
        other.send(b"still there").expect("room");
        assert_eq!(other.receive_blocking(), Some(TaskEvent::Message(b"still there".to_vec())));
    }
    exit
}

fn m04_a_huge_length_is_refused_before_anything_is_kept() {
    let exit = exit_after(|_, _| {
        write_raw(&[&frame(b"good")[..], &[1, 0xFF, 0xFF, 0xFF, 0xFF]].concat());
        Ok(())
    });
    assert_eq!(exit.protocol_error, Some(ProtocolError::TooLong { length: u32::MAX }));
    let exit = exit_after(|_, _| {
        write_raw(&[&frame(b"good")[..], &[1], &65_537_u32.to_le_bytes()].concat());
        loop {
            thread::sleep(GRACE);
        }
    });
    assert_eq!(exit.protocol_error, Some(ProtocolError::TooLong { length: 65_537 }));
    assert_eq!(exit.stopped, Some(StopStep::Terminated), "one that does not see its channel's end");
}

fn m05_half_a_frame_is_not_delivered_and_is_told() {
    let exit = exit_after(|_, _| {
        write_raw(&[&frame(b"good")[..], &frame(b"half a message")[..9]].concat());
        sys::raise(libc::SIGKILL);
        Ok(())
    });
    assert_eq!((exit.status.clone(), exit.is_truncated), (TaskStatus::Signal(libc::SIGKILL), true));
    let exit = exit_after(|_, _| {
        write_raw(&[&frame(b"good")[..], &[1, 9, 0]].concat());
        std::process::exit(0)
    });
    assert_eq!((exit.status.clone(), exit.is_truncated), (TaskStatus::Code(0), true));
}

fn m06_last_words_are_not_lost_while_the_parent_is_busy() {
    let spawner = Spawner::new();
    for _ in 0..20 {
        let task = start(&spawner, |child, _| {
            for at in 0..50_u32 {
                child.parent.send(&at.to_le_bytes())?;
            }
            std::process::exit(0)
        });
        sys::wait_until_ended(task.id());
        let (messages, exit) = receive_all(&task);
        assert_eq!(messages.len(), 50);
        assert_eq!(exit.status, TaskStatus::Code(0));
    }
}

/// Sends small messages as fast as they are taken.
struct Flooder {
    parent: Parent,
    left: u32,
}

impl Child for Flooder {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        threads.add_write("flood", self.parent.source(), Self::on_room, ())?;
        Ok(())
    }
}

impl Flooder {
    fn on_room(&mut self, thread: Thread<Self>) {
        while self.left > 0 {
            match self.parent.send(b"x") {
                Ok(()) => self.left -= 1,
                Err(SendError::Full) => return thread.again(),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn m07_a_flood_starves_nobody_and_is_bounded() {
    struct State {
        task: TaskHandle,
        received: u32,
        ticks: u32,
        stopped_at: Option<u32>,
    }
    let read = |state: &mut State, thread: Thread<State>| match state.task.receive() {
        Some(TaskEvent::Exit(exit)) => {
            assert!(is_checked() || exit.stopped == Some(StopStep::Asked), "{exit}");
        }
        event => {
            state.received += u32::from(event.is_some());
            thread.again();
        }
    };
    let tick = |state: &mut State, thread: Thread<State>| {
        state.ticks += 1;
        if state.stopped_at.is_none() && state.received > 100_000 {
            state.task.stop(GRACE);
            state.stopped_at = Some(state.received);
        }
        if state.stopped_at.is_none() {
            thread.again();
        }
    };
    let mut kpt = EventLoop::with_capacity(2).unwrap();
    let start = |parent| Flooder { parent, left: 1_000_000 };
    let task = kpt.spawner().start(TaskConfig::new("flood"), start).expect("it starts");
    let source = task.source();
    kpt.threads().add_read("flood", source, read, ()).expect("room");
    kpt.threads().add_timer("tick", Duration::from_millis(5), tick, ()).expect("room");
    let before = sys::resident_bytes();
    let mut state = State { task, received: 0, ticks: 0, stopped_at: None };
    kpt.run(&mut state).expect("the loop runs");
    assert!(state.ticks > 0 && state.received >= 100_000);
    // It was heard in the flood: what came after it was on the way already.
    let stopped_at = state.stopped_at.expect("it was stopped");
    assert!(state.received < 1_000_000, "{stopped_at} {}", state.received);
    assert!(is_checked() || sys::resident_bytes() < before + (8 << 20));
}

fn m08_after_the_end_a_message_is_refused() {
    sys::reset(libc::SIGPIPE);
    let spawner = Spawner::new();
    let stopped = start(&spawner, |_, _| Ok(()));
    stopped.stop(GRACE);
    assert_eq!(stopped.send(b"x"), Err(SendError::Closed), "after stop");
    stopped.wait();
    assert_eq!(stopped.send(b"x"), Err(SendError::Closed), "after the exit");
    // One that has gone without a word: found out by writing, which raises no signal.
    let gone = start(&spawner, |_, _| std::process::exit(0));
    sys::wait_until_ended(gone.id());
    let _ = gone.send(b"x");
    assert_eq!(gone.send(b"x"), Err(SendError::Closed), "after the other side has gone");
    let (messages, exit) = receive_all(&gone);
    assert_eq!((messages.len(), exit.status), (0, TaskStatus::Code(0)));
    assert_eq!(gone.send(b"x"), Err(SendError::Closed));
}

/// Its parent has closed the channel, because of what came out of it: no signal, and no message.
fn m08_a_task_whose_parent_does_not_read_is_refused() {
    sys::reset(libc::SIGPIPE);
    let task = start(&Spawner::new(), |child, _| {
        write_raw(&[0; 5]);
        while child.parent.send(b"x") != Err(SendError::Closed) {
            thread::sleep(Duration::from_millis(1));
        }
        std::process::exit(33)
    });
    assert_eq!(receive_all(&task).1.status, TaskStatus::Code(33));
}

/// What gets the channel's number next is nobody else's: nothing is written to it, and its events are its own.
fn m08_the_number_of_a_channel_may_be_another_file_by_now() {
    struct State {
        task: TaskHandle,
        others: Vec<(UnixStream, UnixStream)>,
        found: usize,
    }
    let mut kpt: EventLoop<State> = EventLoop::with_capacity(9).unwrap();
    let before = descriptors();
    let task = start(&kpt.spawner(), |_, _| std::process::exit(0));
    let new: Vec<_> = descriptors().difference(&before).map(|&(number, _)| number).collect();
    let wait = |state: &mut State, thread: Thread<State>| {
        if state.task.receive().is_none() {
            thread.again();
        }
    };
    kpt.threads().add_read("task", task.source(), wait, ()).expect("room");
    let mut state = State { task, others: Vec::new(), found: 0 };
    kpt.run(&mut state).expect("the loop runs");
    // The poller is told in the next wait, and then they are closed.
    kpt.threads().add_timer("wait", Duration::from_millis(1), |_, _| {}, ()).expect("room");
    kpt.run(&mut state).expect("the loop runs");
    state.others = (0..4).map(|_| pair()).collect();
    let is_open = |&new| descriptors().iter().any(|&(number, _)| number == new);
    assert!(!new.is_empty() && new.iter().all(is_open), "{new:?} are in use again");
    assert_eq!(state.task.send(b"x"), Err(SendError::Closed));
    for (one, other) in &state.others {
        for mut file in [one, other] {
            assert!(file.read(&mut [0; 1]).is_err(), "nothing is in there");
        }
        for (mut from, to) in [(one, other), (other, one)] {
            from.write_all(b"y").expect("room");
            let found = |state: &mut State, _: Thread<State>| state.found += 1;
            kpt.threads().add_read("other", source(to), found, ()).expect("room");
        }
    }
    kpt.run(&mut state).expect("the loop runs");
    assert_eq!(state.found, 8);
}

/// Each byte that can say what a frame is before `Ready`; and all kinds after that, and after the last frame.
fn m09_each_kind_of_frame_comes_at_its_time_or_is_refused() {
    let spawner = Spawner::new();
    let states: [(&[u8], &[u8]); 3] =
        [(&[], &[1, 3, 4, 5, 6]), (&[4, 0, 0, 0, 0], &[1, 3, 5, 6]), (&[5, 0, 0, 0, 0], &[])];
    for (before, allowed) in states {
        for kind in (0..=u8::MAX).filter(|kind| before.is_empty() || kind % 128 < 8) {
            let build = |parent| {
                write_raw(&[before, &[kind, 0, 0, 0, 0]].concat());
                Scripted::new(parent, |_, _| std::process::exit(0))
            };
            let task = spawner.start(TaskConfig::new("kinds"), build).expect("it starts");
            let (messages, exit) = receive_all(&task);
            let is_allowed = allowed.contains(&kind);
            let expected = (!is_allowed).then_some(ProtocolError::Unexpected { kind });
            assert_eq!(exit.protocol_error, expected, "{kind} after {before:?}");
            assert_eq!(messages.len(), usize::from(is_allowed && kind == 1));
        }
    }
}

/// The parent has much to send when the child ends: an end that is told once, and nothing that hangs.
fn m10_what_is_queued_for_one_that_has_gone_is_dropped() {
    let spawner = Spawner::new();
    let task = start(&spawner, |child, _| {
        child.parent.send(b"here")?;
        thread::sleep(Duration::from_millis(100));
        std::process::exit(0)
    });
    assert!(matches!(task.receive_blocking(), Some(TaskEvent::Message(_))));
    while task.send(&[7; 10_000]) != Err(SendError::Full) {}
    let (messages, exit) = receive_all(&task);
    assert_eq!((messages.len(), exit.status), (0, TaskStatus::Code(0)));
    assert_eq!(task.send(b"x"), Err(SendError::Closed));
}

fn m11_nothing_and_the_most_pass_and_one_more_is_refused() {
    let spawner = Spawner::new();
    let config = TaskConfig::new("sizes").max_message(1_000);
    let task =
        spawner.start(config, |parent| Scripted::new(parent, |_, _| Ok(()))).expect("it starts");
    task.send(&[]).expect("nothing is a message");
    task.send(&[7; 1_000]).expect("the most is allowed");
    assert_eq!(task.send(&[7; 1_001]), Err(SendError::TooLong));
    assert_eq!(task.receive_blocking(), Some(TaskEvent::Message(vec![])));
    assert_eq!(task.receive_blocking(), Some(TaskEvent::Message(vec![7; 1_000])));
}

/// Two tasks that talk all the time, beside what the suite does.
fn the_contract_holds_with_live_tasks() {
    let poller = Tasks::new(SelectPoller::new());
    let spawner = poller.spawner();
    let tasks: Vec<TaskHandle> = (0..2)
        .map(|_| {
            let start = |parent| Flooder { parent, left: 100_000 };
            spawner.start(TaskConfig::new("talks"), start).expect("it starts")
        })
        .collect();
    let unwatchable = vec![Source::new(u32::MAX), Source::new(70_000)];
    contract::check(&mut Sockets::new(poller, unwatchable));
    drop(tasks);
}

kpt_tests::scenarios! {
    m01_however_the_bytes_come_the_messages_are_whole,
    m02_a_message_larger_than_any_socket_takes_arrives,
    m03_both_may_write_first,
    m04_a_huge_length_is_refused_before_anything_is_kept,
    m05_half_a_frame_is_not_delivered_and_is_told,
    m06_last_words_are_not_lost_while_the_parent_is_busy,
    m07_a_flood_starves_nobody_and_is_bounded,
    m08_after_the_end_a_message_is_refused,
    m08_a_task_whose_parent_does_not_read_is_refused,
    m08_the_number_of_a_channel_may_be_another_file_by_now,
    m09_each_kind_of_frame_comes_at_its_time_or_is_refused,
    m10_what_is_queued_for_one_that_has_gone_is_dropped,
    m11_nothing_and_the_most_pass_and_one_more_is_refused,
    the_contract_holds_with_live_tasks,
}
