//! Tasks and parents that are hostile, held or forbidden to act: r25 to r38 of the faults found by running kpt.

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant as Stopwatch};

use kpt_core::poller::Poller;
use kpt_std::{
    Builder, Child, EpollPoller, EventLoop, Parent, ProtocolError, SelectPoller, Spawner,
    TaskConfig, TaskEvent, TaskStatus, Thread, Threads, kpt_core, source,
};
use kpt_tests::attack;
use kpt_tests::chance::{is_checked, is_under_valgrind};
use kpt_tests::scenario::descriptors;
use kpt_tests::sys;
use kpt_tests::tasks::{One, Script, message_of, own_channel, receive_all, start, start_deaf};
use libc::{ENOSYS, EPERM, SIGKILL, SYS_pidfd_open};

const GRACE: Duration = Duration::from_secs(8);

/// A thread waits for a socket, and does not notice that it was closed. Its number is now that of a task's channel, or of
/// its process.
fn go_stale<P: Poller<Error: std::fmt::Debug>>(poller: P, is_process: bool, by_source: bool) {
    let mut kpt: EventLoop<One, (), P> = Builder::new().threads(8).build_on(poller).unwrap();
    let unrelated = start(&Spawner::new(), |_, _| Ok(()));
    let mut state = One { task: unrelated, events: Vec::new() };
    let (one, other) = UnixStream::pair().expect("room for two");
    let stale = source(if is_process { &other } else { &one });
    let hook = |_: &mut One, thread: Thread<One>| thread.again();
    let id = kpt.threads().add_read("stale", stale, hook, ()).expect("room");
    // The poller is told of the thread.
    let nothing = |_: &mut One, _: Thread<One>| {};
    kpt.threads().add_timer("wait", Duration::ZERO, nothing, ()).expect("room");
    kpt.turn(&mut state).expect("the loop runs");
    drop((one, other));
    let task = start(&kpt.spawner(), |_, _| Ok(()));
    let is_taken = descriptors().iter().any(|&(number, _)| number as u32 == stale.number());
    assert!(is_taken, "the number is in use again");
    kpt.threads().add_read("task", task.source(), One::on_task, ()).expect("room");
    state.task = task;
    // The poller is told of the task.
    kpt.threads().add_timer("wait", Duration::ZERO, nothing, ()).expect("room");
    kpt.turn(&mut state).expect("the loop runs");
    if by_source {
        let _ = kpt.threads().cancel_source(stale);
    } else {
        let _ = kpt.threads().cancel(id);
    }
    state.task.send(b"echo").expect("room");
    let stop = |state: &mut One, thread: Thread<One>| match state.events[..] {
        [] => thread.again(),
        _ => state.task.stop(GRACE),
    };
    kpt.threads().add_timer("stop", Duration::from_millis(5), stop, ()).expect("room");
    let begin = Stopwatch::now();
    while state.events.len() < 2 && begin.elapsed() < Duration::from_secs(2) {
        // Otherwise it would hang when nothing comes. There may be enough of them.
        let _ = kpt.threads().add_timer("late", Duration::from_millis(50), nothing, ());
        kpt.turn(&mut state).expect("the loop runs");
    }
    let events = &state.events;
    assert!(
        matches!(&events[..], [TaskEvent::Message(echo), TaskEvent::Exit(_)] if echo == b"echo"),
        "process {is_process}, by source {by_source}: {events:?}"
    );
}

fn r25_a_stale_cancel_does_not_silence_a_task() {
    // Valgrind knows no descriptors of processes.
    let kinds: &[bool] = if is_under_valgrind() { &[false] } else { &[false, true] };
    for &is_process in kinds {
        for by_source in [false, true] {
            go_stale(EpollPoller::new().expect("a poller"), is_process, by_source);
            go_stale(SelectPoller::new(), is_process, by_source);
        }
    }
}

/// Leaves four processes behind that fill its channel without end, until its parent closes it.
const LEAVE_WRITERS: Script = |_, _| {
    let channel = own_channel();
    attack::enlarge_send_buffer(&channel)?;
    channel.set_nonblocking(false)?;
    for _ in 0..4 {
        sys::fork_and(|| {
            // So few at once that they are not split: parts of others between them would be no frames.
            let empty = [1, 0, 0, 0, 0].repeat(1_000);
            while (&channel).write_all(&empty).is_ok() {}
        })?;
    }
    thread::sleep(Duration::from_millis(50));
    sys::raise(SIGKILL);
    Ok(())
};

fn r26_a_flood_after_the_end_comes_to_an_end_when_waited_for() {
    let begin = Stopwatch::now();
    assert_eq!(start(&Spawner::new(), LEAVE_WRITERS).wait().status, TaskStatus::Signal(SIGKILL));
    assert!(is_checked() || begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

fn r26_a_flood_after_the_end_comes_to_an_end_when_received() {
    let (messages, exit) = receive_all(&start(&Spawner::new(), LEAVE_WRITERS));
    assert_eq!(exit.status, TaskStatus::Signal(SIGKILL));
    assert!(messages.iter().all(Vec::is_empty));
}

fn r26_a_flood_of_a_dropped_task_does_not_hold_up_a_timer() {
    #[derive(Default)]
    struct State {
        ticks: u32,
        latest: Duration,
    }
    let mut kpt: EventLoop<State> = EventLoop::with_capacity(2).unwrap();
    drop(start(&kpt.spawner(), LEAVE_WRITERS));
    let tick = |state: &mut State, mut thread: Thread<State>| {
        let deadline = thread.deadline().expect("a timer has one");
        let now = thread.threads().now();
        state.latest = state.latest.max(now.saturating_duration_since(deadline));
        state.ticks += 1;
        if state.ticks < 30 {
            thread.again();
        }
    };
    kpt.threads().add_timer("tick", Duration::from_millis(10), tick, ()).expect("room");
    let mut state = State::default();
    kpt.run(&mut state).expect("the loop runs");
    println!("NOTE a 10 ms timer was at most {:?} late", state.latest);
    assert!(is_checked() || state.latest < Duration::from_millis(200), "{:?}", state.latest);
}

/// A frame that takes no room and can be repeated would never fill up its reader.
fn r26_hanging_up_twice_is_refused() {
    let task = start(&Spawner::new(), |_, _| {
        own_channel().write_all(&[3, 0, 0, 0, 0, 3, 0, 0, 0, 0])?;
        Ok(())
    });
    let (_, exit) = receive_all(&task);
    assert_eq!(exit.protocol_error, Some(ProtocolError::Unexpected { kind: 3 }));
}

/// A process that is held by a tracer after its end can't be waited for, though its descriptor says that it has ended.
fn r27_a_task_that_a_tracer_holds_does_not_keep_its_parent_busy() {
    let mut kpt: EventLoop<One> = EventLoop::with_capacity(2).unwrap();
    let task = start_deaf(&kpt.spawner());
    let pid = task.id();
    let (mut reader, mut writer) = pipe().expect("a pipe");
    let tracer = sys::fork_and(|| {
        let is_held = attack::trace(pid).is_ok();
        writer.write_all(&[u8::from(is_held)]).expect("the test reads");
        thread::sleep(Duration::from_millis(700));
    })
    .expect("a fork");
    let mut is_held = [0];
    reader.read_exact(&mut is_held).expect("the tracer writes");
    if is_held == [0] {
        sys::wait_for(tracer).expect("a child");
        return println!("SKIPPED: no process may be traced here");
    }
    sys::kill(pid);
    let begin = sys::thread_cpu_time();
    let events = One::run(&mut kpt, task);
    let used = sys::thread_cpu_time() - begin;
    let Some(TaskEvent::Exit(exit)) = events.last() else { panic!("{events:?}") };
    assert_eq!(exit.status, TaskStatus::Signal(SIGKILL));
    sys::wait_for(tracer).expect("a child");
    assert!(is_checked() || used < Duration::from_millis(100), "{used:?} of CPU");
}

fn r28_a_stranger_with_the_number_of_a_task_is_not_killed() {
    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    attack::forbid(&[SYS_pidfd_open], ENOSYS).expect("filters can be set");
    let task = start(&Spawner::new(), |_, _| std::process::exit(0));
    // The application reaps all that ends.
    assert_eq!(sys::wait_for_any().expect("a child"), task.id());
    let (mut reader, mut writer) = pipe().expect("a pipe");
    let number = task.id();
    // The stranger is no child of this process.
    let helper = sys::fork_and(|| {
        let stranger = (0..50).find_map(|_| {
            let mut last = File::options().write(true).open(LAST).ok()?;
            last.write_all((number - 1).to_string().as_bytes()).ok()?;
            let next = sys::fork_and(|| thread::sleep(Duration::from_millis(500))).ok()?;
            if next != number {
                sys::kill(next);
                sys::wait_for(next).expect("a child");
                return None;
            }
            Some(next)
        });
        writer.write_all(&[u8::from(stranger.is_some())]).expect("the test reads");
        let code = stranger.map(|stranger| sys::exit_code(stranger).expect("a child"));
        assert!(code.is_none_or(|code| code == Some(0)), "it was hit");
    })
    .expect("a fork");
    let mut is_there = [0];
    reader.read_exact(&mut is_there).expect("the helper writes");
    if is_there == [1] {
        assert_eq!(task.kill(), Ok(()), "there is nobody to kill");
        task.stop(Duration::ZERO);
        assert_eq!(task.wait().status, TaskStatus::Unknown);
    } else {
        println!("SKIPPED: the number can't be given out again here");
    }
    drop(task);
    assert_eq!(sys::exit_code(helper).expect("a child"), Some(0), "the stranger was hit");
}

/// Stops in the first message, and tells its parent of each.
struct OnlyOne(Parent);

impl Child for OnlyOne {
    type Arg = ();

    fn on_message(&mut self, _: Vec<u8>, mut threads: Threads<Self>) {
        self.0.send(b"called").expect("room");
        threads.stop();
    }
}

fn r29_no_message_is_delivered_after_stop() {
    let build = |parent: Parent| {
        parent.send(b"ready").expect("room");
        // All messages are there when the loop begins.
        thread::sleep(Duration::from_millis(50));
        OnlyOne(parent)
    };
    let task = Spawner::new().start(TaskConfig::new("one"), build).expect("it starts");
    message_of(&task);
    for _ in 0..100 {
        task.send(b"x").expect("room");
    }
    let (messages, exit) = receive_all(&task);
    assert_eq!((messages.len(), exit.status), (1, TaskStatus::Code(0)));
}

/// Writes each message to a pipe.
struct Marks(std::io::PipeWriter);

impl Child for Marks {
    type Arg = ();

    fn on_message(&mut self, message: Vec<u8>, _: Threads<Self>) {
        self.0.write_all(&message).expect("the parent reads");
    }
}

fn r36_the_smallest_queue_sends_at_once() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let copy = writer.try_clone().expect("room for one");
    let build = |_| Marks(writer);
    let task = Spawner::new().start(TaskConfig::new("marks").queue(0), build).expect("it starts");
    task.send(b"x").expect("room");
    // This process does not wait for its tasks meanwhile.
    let late = sys::fork_and(|| {
        thread::sleep(Duration::from_secs(2));
        (&copy).write_all(b"late").expect("the test reads");
    })
    .expect("a fork");
    let mut byte = [0];
    reader.read_exact(&mut byte).expect("something comes");
    assert_eq!(byte, *b"x", "it was not sent");
    sys::kill(late);
    sys::wait_for(late).expect("a child");
    task.stop(GRACE);
    task.wait();
}

fn r36_words_are_cut_after_they_were_made_text() {
    let task = start(&Spawner::new(), |_, _| {
        let words = [&[6, 0, 16, 0, 0][..], &[0xFF; 4_096]].concat();
        own_channel().write_all(&words)?;
        std::process::exit(1)
    });
    let (_, exit) = receive_all(&task);
    let TaskStatus::Panicked(text) = exit.status else { panic!("{exit}") };
    assert!(text.starts_with('\u{FFFD}') && text.len() <= 4_096, "{} bytes", text.len());
}

/// A socket that lingers, with data that nobody takes, blocks whoever closes it last.
fn r38_a_task_can_not_pass_a_socket_that_blocks_its_parent() {
    let task = start(&Spawner::new(), |child, _| {
        let channel = own_channel();
        let (socket, _other) = UnixStream::pair()?;
        let sent = attack::send_descriptors(&channel, &[1, 0, 0, 0, 0], &[socket.as_fd()]);
        let error = sent.err().and_then(|error| error.raw_os_error()).unwrap_or(0);
        Ok(child.parent.send(&error.to_ne_bytes())?)
    });
    let (socket, _other) = UnixStream::pair().expect("room for two");
    if !attack::knows_option(&socket, attack::SO_PASSRIGHTS) {
        return println!("SKIPPED: the kernel can't refuse descriptors (before Linux 6.16)");
    }
    assert_eq!(message_of(&task), EPERM.to_ne_bytes());
}

kpt_tests::scenarios! {
    r25_a_stale_cancel_does_not_silence_a_task,
    r26_a_flood_after_the_end_comes_to_an_end_when_waited_for,
    r26_a_flood_after_the_end_comes_to_an_end_when_received,
    r26_a_flood_of_a_dropped_task_does_not_hold_up_a_timer,
    r26_hanging_up_twice_is_refused,
    r27_a_task_that_a_tracer_holds_does_not_keep_its_parent_busy,
    r28_a_stranger_with_the_number_of_a_task_is_not_killed,
    r29_no_message_is_delivered_after_stop,
    r36_the_smallest_queue_sends_at_once,
    r36_words_are_cut_after_they_were_made_text,
    r38_a_task_can_not_pass_a_socket_that_blocks_its_parent,
}
