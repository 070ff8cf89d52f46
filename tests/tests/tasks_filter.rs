//! A filter that allows only the system calls that the docs of `before_run` name lets a task work, and end.

use std::error::Error;
use std::time::Duration;

use kpt_std::{
    Child, Parent, Spawner, TaskConfig, TaskEvent, TaskHandle, TaskStatus, Thread, Threads,
};
use kpt_tests::attack;
use kpt_tests::chance::is_checked;
use kpt_tests::tasks::{message_of, receive_all};
use libc::c_long;

/// The numbers of the calls that the docs name.
fn documented() -> Vec<c_long> {
    let text = include_str!("../../kpt-std/src/task/config.rs");
    let text = text.split("A system call filter must allow").nth(1).expect("it is documented");
    let text = text.split("```").next().expect("an example follows");
    text.split('`').skip(1).step_by(2).map(number).collect()
}

fn number(name: &str) -> c_long {
    match name {
        "brk" => libc::SYS_brk,
        "clock_gettime" => libc::SYS_clock_gettime,
        "close" => libc::SYS_close,
        "epoll_ctl" => libc::SYS_epoll_ctl,
        "epoll_wait" => libc::SYS_epoll_wait,
        "epoll_pwait" => libc::SYS_epoll_pwait,
        "exit_group" => libc::SYS_exit_group,
        "fcntl" => libc::SYS_fcntl,
        "getpid" => libc::SYS_getpid,
        "getppid" => libc::SYS_getppid,
        "madvise" => libc::SYS_madvise,
        "mmap" => libc::SYS_mmap,
        "mremap" => libc::SYS_mremap,
        "munmap" => libc::SYS_munmap,
        "poll" => libc::SYS_poll,
        "ppoll" => libc::SYS_ppoll,
        "recvfrom" => libc::SYS_recvfrom,
        "recvmsg" => libc::SYS_recvmsg,
        "rt_sigreturn" => libc::SYS_rt_sigreturn,
        "sendmsg" => libc::SYS_sendmsg,
        "sendto" => libc::SYS_sendto,
        "timer_create" => libc::SYS_timer_create,
        "timer_settime" => libc::SYS_timer_settime,
        "timerfd_settime" => libc::SYS_timerfd_settime,
        other => panic!("{other} has no number here"),
    }
}

/// Echoes, and ticks.
struct Confined {
    parent: Parent,
    ticks: u32,
}

impl Confined {
    fn tick(&mut self, thread: Thread<Self>) {
        self.ticks += 1;
        thread.again();
    }
}

impl Child for Confined {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        threads.add_timer("tick", Duration::from_millis(1), Self::tick, ())?;
        Ok(())
    }

    fn on_message(&mut self, message: Vec<u8>, mut threads: Threads<Self>) {
        match &message[..] {
            b"ticks" => self.parent.send(&self.ticks.to_le_bytes()).expect("room"),
            b"stop" => threads.stop(),
            b"fork" => drop(std::process::Command::new("true").status()),
            _ => self.parent.send(&message).expect("room"),
        }
    }
}

fn start() -> TaskHandle {
    let allowed = documented();
    let config = TaskConfig::new("confined").queue(4 << 20).tell_ready();
    let config = config.before_run(move || Ok(attack::allow_only(&allowed)?));
    Spawner::new().start(config, |parent| Confined { parent, ticks: 0 }).expect("it starts")
}

fn the_documented_calls_are_enough_to_work_and_to_end() {
    if is_checked() {
        return println!("SKIPPED: a checker of memory makes calls of its own");
    }
    let task = start();
    match task.receive_blocking() {
        Some(TaskEvent::Ready) => {}
        other => panic!("{other:?}"),
    }
    for length in [0, 1, 4_096, 65_536].into_iter().cycle().take(100) {
        let message = vec![7; length];
        task.send(&message).expect("room");
        assert_eq!(message_of(&task), message);
    }
    // More at once than the kernel takes, both ways.
    for _ in 0..40 {
        task.send(&[9; 65_536]).expect("room");
    }
    for _ in 0..40 {
        assert_eq!(message_of(&task).len(), 65_536);
    }
    task.send(b"ticks").expect("room");
    let ticks = u32::from_le_bytes(message_of(&task).try_into().expect("a number"));
    assert!(ticks > 0);
    task.stop(Duration::from_secs(8));
    let (_, exit) = receive_all(&task);
    assert_eq!(exit.status, TaskStatus::Code(0), "{exit}");
}

fn the_documented_calls_are_enough_for_a_loop_that_returns_and_for_a_dropped_handle() {
    if is_checked() {
        return println!("SKIPPED: a checker of memory makes calls of its own");
    }
    let task = start();
    task.send(b"stop").expect("room");
    let (_, exit) = receive_all(&task);
    assert_eq!(exit.status, TaskStatus::Code(0), "{exit}");
    drop(start());
}

fn any_other_call_ends_a_task() {
    if is_checked() {
        return println!("SKIPPED: a checker of memory makes calls of its own");
    }
    let task = start();
    task.send(b"fork").expect("room");
    let (_, exit) = receive_all(&task);
    assert_eq!(exit.status, TaskStatus::Signal(libc::SIGSYS), "{exit}");
}

kpt_tests::scenarios! {
    the_documented_calls_are_enough_to_work_and_to_end,
    the_documented_calls_are_enough_for_a_loop_that_returns_and_for_a_dropped_handle,
    any_other_call_ends_a_task,
}
