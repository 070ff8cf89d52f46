//! Descriptors in messages: each arrives with its message, in order and within a bound, and what is lost is told.

use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use kpt_std::{
    Child, EventLoop, Message, Parent, Passed, SendError, Spawner, TaskConfig, TaskEvent,
    TaskHandle, TaskStatus, Thread, Threads,
};
use kpt_tests::attack;
use kpt_tests::chance::is_under_valgrind;
use kpt_tests::scenario::descriptors;
use kpt_tests::sys::{self, namespaces};
use libc::{EPERM, SIGSTOP, SYS_sendmsg};

const GRACE: Duration = Duration::from_secs(8);

/// At most so many descriptors in each queue.
const MOST: usize = 4;

/// Sends back each message with what came with it. Lowers and raises its limit of descriptors when it is told so.
struct Mirror(Parent);

impl Child for Mirror {
    type Arg = ();

    fn on_message_with(&mut self, message: Message, _: Threads<Self>) {
        match &message.bytes[..] {
            b"less" => sys::set_descriptor_limit(lowest_free()).expect("it can be lowered"),
            b"more" => sys::raise_descriptor_limit().expect("it can be raised"),
            _ => {}
        }
        match message.descriptor {
            Passed::Nothing => self.0.send(&message.bytes).expect("room"),
            Passed::Descriptor(it) => self.0.send_with(&message.bytes, it).expect("room"),
            Passed::Lost => self.0.send(b"lost").expect("room"),
        }
    }
}

fn config() -> TaskConfig {
    TaskConfig::new("task").accept_descriptors(MOST)
}

fn start_mirror() -> TaskHandle {
    Spawner::new().start(config(), Mirror).expect("it starts")
}

/// The next message of a task.
fn message_of(task: &TaskHandle) -> Message {
    match task.receive_with_blocking() {
        Some(TaskEvent::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn descriptor_of(task: &TaskHandle) -> OwnedFd {
    match message_of(task).descriptor {
        Passed::Descriptor(descriptor) => descriptor,
        other => panic!("{other:?}"),
    }
}

fn stop(task: &TaskHandle) {
    task.stop(GRACE);
    assert_eq!(task.wait().status, TaskStatus::Code(0));
}

/// How many pipes this process has open.
fn count_pipes() -> usize {
    descriptors().iter().filter(|(_, file)| file.starts_with("pipe:")).count()
}

/// How many pipes a task has open that starts now.
fn count_pipes_of_a_later_task() -> usize {
    let build = |parent: Parent| {
        parent.send(&count_pipes().to_le_bytes()).expect("room");
        Mirror(parent)
    };
    let task = Spawner::new().start(config(), build).expect("it starts");
    let count = message_of(&task).bytes.try_into().expect("a number");
    stop(&task);
    usize::from_le_bytes(count)
}

/// The lowest number that is free.
fn lowest_free() -> u64 {
    File::open("/dev/null").expect("it is there").as_raw_fd() as u64
}

/// Whether all ends of a pipe for writing are closed.
fn is_ended(reader: &mut PipeReader) -> bool {
    matches!(reader.read(&mut [0; 1]), Ok(0))
}

fn descriptors_pass_both_ways_in_order_among_other_messages() {
    let task = start_mirror();
    let mut pipes = Vec::new();
    for number in 0..300_u16 {
        let (reader, writer) = pipe().expect("a pipe");
        if number % 3 == 0 {
            task.send(&number.to_le_bytes()).expect("room");
        } else {
            task.send_with(&number.to_le_bytes(), writer).expect("room");
        }
        pipes.push((number, reader));
        if pipes.len() < 20 {
            continue;
        }
        for (number, mut reader) in pipes.drain(..) {
            let message = message_of(&task);
            assert_eq!(message.bytes, number.to_le_bytes());
            let Passed::Descriptor(writer) = message.descriptor else {
                assert_eq!(number % 3, 0, "{:?}", message.descriptor);
                continue;
            };
            // It is the one that was sent with this message, and nobody else has it.
            PipeWriter::from(writer).write_all(&message.bytes).expect("it is open");
            let mut text = Vec::new();
            reader.read_to_end(&mut text).expect("it ends");
            assert_eq!((text, number % 3 > 0), (message.bytes, true));
        }
    }
    assert_eq!(pipes.len(), 0);
    stop(&task);
}

/// The flags of a descriptor, as the system says.
fn is_closed_by_exec(descriptor: &impl AsFd) -> bool {
    let path = format!("/proc/self/fdinfo/{}", descriptor.as_fd().as_raw_fd());
    let text = fs::read_to_string(path).expect("it is open");
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).expect("it has flags");
    i32::from_str_radix(flags.trim(), 8).expect("a number") & libc::O_CLOEXEC != 0
}

/// Tells whether what it gets is closed by exec, and under which number it is.
struct Flags(Parent);

impl Child for Flags {
    type Arg = ();

    fn on_message_with(&mut self, message: Message, _: Threads<Self>) {
        let Passed::Descriptor(descriptor) = message.descriptor else { panic!("nothing came") };
        let number = descriptor.as_raw_fd() as u8;
        let flags = [u8::from(is_closed_by_exec(&descriptor)), number];
        self.0.send_with(&flags, descriptor).expect("room");
    }
}

fn what_is_received_is_closed_by_exec_and_no_standard_stream() {
    let outcome = sys::without_standard_descriptors(|| {
        let task = Spawner::new().start(config(), Flags).expect("it starts");
        task.send_with(b"", File::open("/dev/null")?)?;
        let message = message_of(&task);
        let Passed::Descriptor(descriptor) = message.descriptor else { panic!("nothing came") };
        let here = [is_closed_by_exec(&descriptor), descriptor.as_raw_fd() > 2];
        stop(&task);
        Ok::<_, Box<dyn std::error::Error>>((message.bytes, here))
    });
    let (there, here) = outcome.expect("they can be closed").expect("it can be sent");
    assert_eq!(here, [true, true]);
    assert!(there[0] == 1 && there[1] > 2, "{there:?}");
}

/// Sends ten descriptors at once, and says so.
fn send_ten(parent: Parent) -> Mirror {
    let (_, writer) = pipe().expect("a pipe");
    for number in 0..10 {
        parent.send_with(&[number], writer.try_clone().expect("room")).expect("room");
    }
    Mirror(parent)
}

/// Waits until as many pipes are open, and then some time for more.
struct Looker {
    pipes: usize,
    ticks_left: usize,
}

impl Looker {
    fn on_timer(&mut self, mut thread: Thread<Self>) {
        self.ticks_left -= usize::from(count_pipes() >= self.pipes);
        if self.ticks_left == 0 {
            return thread.threads().stop();
        }
        thread.again();
    }
}

/// Those that come too early stay in the channel, and none is lost.
fn a_receiver_holds_no_more_than_it_may() {
    let mut kpt = EventLoop::new().expect("a loop");
    let task = kpt.spawner().start(config(), send_ten).expect("it starts");
    let before = count_pipes();
    let mut threads = kpt.threads();
    threads.add_timer("look", Duration::from_millis(10), Looker::on_timer, ()).expect("room");
    kpt.run(&mut Looker { pipes: before + MOST, ticks_left: 5 }).expect("it runs");
    assert_eq!(count_pipes(), before + MOST, "received and not taken");
    assert_eq!(count_pipes_of_a_later_task(), before);
    for number in 0..10 {
        assert!(count_pipes() <= before + MOST);
        let message = message_of(&task);
        assert_eq!(message.bytes, [number]);
        assert!(matches!(message.descriptor, Passed::Descriptor(_)));
    }
    assert_eq!(count_pipes(), before);
    stop(&task);
}

/// Neither are more of them queued. What is refused comes back.
fn a_sender_holds_no_more_than_it_may() {
    let task = start_mirror();
    sys::signal(task.id(), SIGSTOP);
    sys::wait_until_stopped(task.id()).expect("a child");
    while task.send(&[0; 50_000]).is_ok() {}
    let (mut reader, writer) = pipe().expect("a pipe");
    let before = count_pipes();
    for _ in 0..MOST {
        task.send_with(b"x", writer.try_clone().expect("room")).expect("room");
    }
    let error = task.send_with(b"x", writer).expect_err("there is no room");
    assert_eq!((error.error, count_pipes()), (SendError::Full, before + MOST));
    PipeWriter::from(error.descriptor).write_all(b"y").expect("it is open");
    assert_eq!(task.send(b"x"), Ok(()), "there is room for others");
    // A later task has the end for reading, and none of those that wait.
    assert_eq!(count_pipes_of_a_later_task(), before - 1);
    task.kill().expect("it can be killed");
    task.wait();
    let mut text = Vec::new();
    reader.read_to_end(&mut text).expect("it ends");
    assert_eq!((text, count_pipes()), (b"y".to_vec(), before - 1));
}

fn without_a_configuration_for_it_a_descriptor_is_refused() {
    let build = |parent: Parent| {
        let error = parent.send_with(b"x", File::open("/dev/null").expect("it is there"));
        assert_eq!(error.expect_err("there may be none").error, SendError::NoDescriptors);
        Mirror(parent)
    };
    let task = Spawner::new().start(TaskConfig::new("task"), build).expect("it starts");
    let error = task.send_with(b"x", File::open("/dev/null").expect("it is there"));
    assert_eq!(error.expect_err("there may be none").error, SendError::NoDescriptors);
    stop(&task);
    let task = start_mirror();
    stop(&task);
    let error = task.send_with(b"x", File::open("/dev/null").expect("it is there"));
    assert_eq!(error.expect_err("it has ended").error, SendError::Closed);
}

/// Whether the system does not know a limit that is set, since valgrind keeps it itself.
fn is_limit_unreal() -> bool {
    if is_under_valgrind() {
        println!("SKIPPED: under valgrind, the limit of descriptors is not the system's");
    }
    is_under_valgrind()
}

fn a_descriptor_that_the_parent_has_no_number_for_is_lost() {
    if is_limit_unreal() {
        return;
    }
    let task = start_mirror();
    let (_, writer) = pipe().expect("a pipe");
    for number in 0..3 {
        task.send_with(&[number], writer.try_clone().expect("room")).expect("room");
        task.send(&[10 + number]).expect("room");
    }
    sys::set_descriptor_limit(lowest_free()).expect("it can be lowered");
    for number in 0..3 {
        let message = message_of(&task);
        assert_eq!(message.bytes, [number]);
        assert!(matches!(message.descriptor, Passed::Lost), "{:?}", message.descriptor);
        let message = message_of(&task);
        assert_eq!(message.bytes, [10 + number]);
        assert!(matches!(message.descriptor, Passed::Nothing), "{:?}", message.descriptor);
    }
    sys::raise_descriptor_limit().expect("it can be raised");
    task.send_with(b"", writer).expect("room");
    drop(descriptor_of(&task));
    stop(&task);
}

fn a_descriptor_that_a_task_has_no_number_for_is_lost() {
    if is_limit_unreal() {
        return;
    }
    let task = start_mirror();
    let (_, writer) = pipe().expect("a pipe");
    for (word, came) in [("less", &b"lost"[..]), ("more", b"x")] {
        task.send(word.as_bytes()).expect("room");
        assert_eq!(message_of(&task).bytes, word.as_bytes());
        task.send_with(b"x", writer.try_clone().expect("room")).expect("room");
        task.send(b"y").expect("room");
        assert_eq!([(); 2].map(|()| message_of(&task).bytes), [came, b"y"]);
    }
    stop(&task);
}

/// As a security module or a filter of calls may do.
fn a_descriptor_that_may_not_be_sent_is_lost() {
    let build = |parent: Parent| {
        attack::forbid(&[SYS_sendmsg], EPERM).expect("filters can be set");
        Mirror(parent)
    };
    let task = Spawner::new().start(config(), build).expect("it starts");
    let (mut reader, writer) = pipe().expect("a pipe");
    for _ in 0..20 {
        task.send(b"x").expect("room");
        task.send_with(b"y", writer.try_clone().expect("room")).expect("room");
        assert_eq!(message_of(&task).bytes, b"x");
        let message = message_of(&task);
        assert_eq!(message.bytes, b"y");
        assert!(matches!(message.descriptor, Passed::Lost), "{:?}", message.descriptor);
    }
    drop(writer);
    assert!(is_ended(&mut reader), "a lost one is open");
    stop(&task);
}

fn a_descriptor_that_the_system_never_passes_is_lost() {
    let ring = match attack::open_io_uring() {
        Ok(ring) => ring,
        Err(error) => return println!("SKIPPED: no io_uring: {error}"),
    };
    let task = start_mirror();
    task.send_with(b"x", ring).expect("room");
    assert_eq!(message_of(&task).bytes, b"lost");
    task.send_with(b"x", File::open("/dev/null").expect("it is there")).expect("room");
    drop(descriptor_of(&task));
    stop(&task);
}

/// The system counts those under way for a user that is not root. They are sent when there are fewer, and a wait does not
/// spin meanwhile.
fn what_is_too_many_under_way_is_sent_later() {
    if is_limit_unreal() {
        return;
    }
    let work = || {
        if namespaces::is_root() {
            namespaces::become_nobody().expect("root may");
        }
        sys::set_descriptor_limits(64).expect("it can be lowered");
        let task = start_mirror();
        sys::signal(task.id(), SIGSTOP);
        sys::wait_until_stopped(task.id()).expect("a child");
        let (_, writer) = pipe().expect("a pipe");
        let send = |number: u8| task.send_with(&[number], writer.try_clone().expect("room"));
        let sent = (0..).take_while(|&number| send(number).is_ok()).count();
        assert!((64..80).contains(&sent), "{sent} under way and queued");
        let begin = sys::thread_cpu_time();
        assert!(task.receive_with_timeout(Duration::from_millis(300)).is_none());
        let used = sys::thread_cpu_time() - begin;
        assert!(used < Duration::from_millis(100), "{used:?} of CPU time in a wait");
        task.send(b"last").expect("room");
        sys::resume(task.id());
        for number in 0..sent {
            let message = message_of(&task);
            assert_eq!(message.bytes, [number as u8]);
            assert!(matches!(message.descriptor, Passed::Descriptor(_)));
        }
        assert_eq!(message_of(&task).bytes, b"last");
        stop(&task);
    };
    let child = sys::fork_and(work).expect("a fork");
    assert_eq!(sys::exit_code(child).expect("a child"), Some(0));
}

/// Takes messages without what came with them.
struct Plain(Parent);

impl Child for Plain {
    type Arg = ();

    fn on_message(&mut self, message: Vec<u8>, _: Threads<Self>) {
        match &message[..] {
            b"hang up" => self.0.hang_up(),
            _ => self.0.send(&message).expect("room"),
        }
    }
}

fn what_is_not_taken_is_closed() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let task = Spawner::new().start(config(), |parent| {
        parent.send_with(b"x", writer.try_clone().expect("room")).expect("room");
        drop(writer);
        Plain(parent)
    });
    let task = task.expect("it starts");
    assert_eq!(task.receive_blocking(), Some(TaskEvent::Message(b"x".to_vec())));
    assert!(is_ended(&mut reader), "after `receive`");
    let (mut reader, writer) = pipe().expect("a pipe");
    task.send_with(b"y", writer).expect("room");
    assert_eq!(task.receive_blocking(), Some(TaskEvent::Message(b"y".to_vec())));
    assert!(is_ended(&mut reader), "after `on_message`");
    // Those that are under way, or come later, when it hangs up.
    let (mut reader, writer) = pipe().expect("a pipe");
    task.send(b"hang up").expect("room");
    for _ in 0..3 {
        let _ = task.send_with(b"z", writer.try_clone().expect("room"));
    }
    drop(writer);
    assert!(is_ended(&mut reader), "after `hang_up`");
    task.wait();
}

/// In each queue, in each direction, when a task is killed and when its handle is dropped.
fn what_is_under_way_when_a_task_ends_is_closed() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let task = Spawner::new().start(config(), |parent| {
        for _ in 0..10 {
            parent.send_with(b"up", writer.try_clone().expect("room")).expect("room");
        }
        drop(writer);
        sys::stop_myself();
        Mirror(parent)
    });
    let task = task.expect("it starts");
    sys::wait_until_stopped(task.id()).expect("a child");
    let copy = descriptor_of(&task);
    while task.send(&[0; 50_000]).is_ok() {}
    for _ in 0..3 {
        task.send_with(b"down", copy.try_clone().expect("room")).expect("room");
    }
    drop(copy);
    task.kill().expect("it can be killed");
    drop(descriptor_of(&task));
    drop(task);
    assert!(is_ended(&mut reader));
}

/// The channel is closed all the same when the task has ended.
fn a_task_may_pass_its_own_end_of_the_channel() {
    let task = Spawner::new().start(config(), |parent| {
        let own = kpt_tests::tasks::own_channel();
        parent.send_with(b"x", own.try_clone().expect("room")).expect("room");
        parent.send_with(b"y", own).expect("room");
        sys::stop_myself();
        Mirror(parent)
    });
    let task = task.expect("it starts");
    sys::wait_until_stopped(task.id()).expect("a child");
    let copy = descriptor_of(&task);
    task.kill().expect("it can be killed");
    drop(descriptor_of(&task));
    assert!(matches!(task.receive_with_blocking(), Some(TaskEvent::Exit(_))));
    drop(copy);
}

kpt_tests::scenarios! {
    descriptors_pass_both_ways_in_order_among_other_messages,
    what_is_received_is_closed_by_exec_and_no_standard_stream,
    a_receiver_holds_no_more_than_it_may,
    a_sender_holds_no_more_than_it_may,
    without_a_configuration_for_it_a_descriptor_is_refused,
    a_descriptor_that_the_parent_has_no_number_for_is_lost,
    a_descriptor_that_a_task_has_no_number_for_is_lost,
    a_descriptor_that_may_not_be_sent_is_lost,
    a_descriptor_that_the_system_never_passes_is_lost,
    what_is_too_many_under_way_is_sent_later,
    what_is_not_taken_is_closed,
    what_is_under_way_when_a_task_ends_is_closed,
    a_task_may_pass_its_own_end_of_the_channel,
}
