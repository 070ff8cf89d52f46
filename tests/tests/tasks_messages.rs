//! Messages between a task and its parent: M1 to M11 of the faults of this field; and the contract of pollers with
//! live tasks.

use std::error::Error;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use kpt_std::{
    Child, EventLoop, Parent, ProtocolError, Rung, SelectPoller, SendError, Source, Spawner,
    TaskConfig, TaskEvent, TaskExit, TaskHandle, TaskStatus, Tasks, Thread, Threads,
};
use kpt_tests::contract;
use kpt_tests::rigs::Sockets;
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
        let Some(TaskEvent::Message(message)) = task.receive_until(None) else { panic!("an end") };
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
    assert!(task.receive_until(None) == Some(TaskEvent::Message(message)), "it comes back changed");
    task.stop(GRACE);
    task.wait();
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
        let Some(TaskEvent::Message(message)) = task.receive_until(None) else { panic!("an end") };
        assert_eq!(message.len(), 50_000, "message {at}");
    }
    task.stop(GRACE);
    task.wait();
}

/// How it ends when that is in its channel. A second task of the same spawner is not disturbed.
fn exit_after(script: Script) -> TaskExit {
    let spawner = Spawner::new();
    let other = start(&spawner, |_, _| Ok(()));
    let config = TaskConfig::new("hostile").grace(Duration::from_millis(400));
    let task = spawner.start(config, |parent| Scripted::new(parent, script)).expect("it starts");
    let (messages, exit) = receive_all(&task);
    assert_eq!(messages, [b"good"]);
    other.send(b"still there").expect("room");
    assert_eq!(other.receive_until(None), Some(TaskEvent::Message(b"still there".to_vec())));
    other.stop(GRACE);
    other.wait();
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
    assert_eq!(exit.stopped, Some(Rung::Terminated), "one that does not see its channel's end");
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
        sys::wait_until_ended(task.id() as u32);
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
        Some(TaskEvent::Exit(exit)) => assert_eq!(exit.stopped, Some(Rung::Asked), "{exit}"),
        event => {
            state.received += u32::from(event.is_some());
            thread.again();
        }
    };
    let tick = |state: &mut State, thread: Thread<State>| {
        state.ticks += 1;
        if state.stopped_at.is_none() && state.received > 300_000 {
            state.task.stop(GRACE);
            state.stopped_at = Some(state.received);
        }
        if state.stopped_at.is_none() {
            thread.again();
        }
    };
    let mut kpt = EventLoop::with_capacity(2);
    let start = |parent| Flooder { parent, left: 1_000_000 };
    let task = kpt.poller().spawner().start(TaskConfig::new("flood"), start).expect("it starts");
    let source = task.source();
    kpt.threads().add_read("flood", source, read, ()).expect("room");
    kpt.threads().add_timer("tick", Duration::from_millis(5), tick, ()).expect("room");
    let before = sys::resident_bytes();
    let mut state = State { task, received: 0, ticks: 0, stopped_at: None };
    kpt.run(&mut state).expect("the loop runs");
    assert!(state.ticks > 0 && state.received >= 300_000);
    // It was heard in the flood: what came after it was on the way already.
    let stopped_at = state.stopped_at.expect("it was stopped");
    assert!(state.received < 1_000_000, "{stopped_at} {}", state.received);
    assert!(sys::resident_bytes() < before + (8 << 20));
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
    sys::wait_until_ended(gone.id() as u32);
    let others: Vec<_> = (0..4).map(|_| UnixStream::pair().expect("a pair")).collect();
    let _ = gone.send(b"x");
    assert_eq!(gone.send(b"x"), Err(SendError::Closed), "after the other side has gone");
    let (messages, exit) = receive_all(&gone);
    assert_eq!((messages.len(), exit.status), (0, TaskStatus::Code(0)));
    assert_eq!(gone.send(b"x"), Err(SendError::Closed));
    drop(others);
}

fn m09_what_a_task_does_not_send_is_refused() {
    let scripts: [(Script, u8); 3] = [
        (|_, _| send_good_and(0), 0),
        (|_, _| send_good_and(2), 2),
        (|_, _| send_good_and(255), 255),
    ];
    for (script, kind) in scripts {
        let exit = exit_after(script);
        assert_eq!(exit.protocol_error, Some(ProtocolError::Unexpected { kind }));
    }
}

fn send_good_and(kind: u8) -> Result<(), Box<dyn Error>> {
    write_raw(&[&frame(b"good")[..], &[kind, 0, 0, 0, 0]].concat());
    Ok(())
}

/// The parent has much to send when the child ends: an end that is told once, and nothing that hangs.
fn m10_what_is_queued_for_one_that_has_gone_is_dropped() {
    let spawner = Spawner::new();
    let task = start(&spawner, |child, _| {
        child.parent.send(b"here")?;
        thread::sleep(Duration::from_millis(100));
        std::process::exit(0)
    });
    assert!(matches!(task.receive_until(None), Some(TaskEvent::Message(_))));
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
    assert_eq!(task.receive_until(None), Some(TaskEvent::Message(vec![])));
    assert_eq!(task.receive_until(None), Some(TaskEvent::Message(vec![7; 1_000])));
    task.stop(GRACE);
    task.wait();
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
    m09_what_a_task_does_not_send_is_refused,
    m10_what_is_queued_for_one_that_has_gone_is_dropped,
    m11_nothing_and_the_most_pass_and_one_more_is_refused,
    the_contract_holds_with_live_tasks,
}
