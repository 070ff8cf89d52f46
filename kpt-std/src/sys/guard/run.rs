//! The process of a guard: carries out the steps of [`Wards`].
//!
//! It is a copy of its parent, which may have held any lock at that moment. So it does not use the heap, locks or buffers:
//! it allocates nothing, cannot panic, and makes only calls that are allowed after a fork.

use std::time::Duration;

use super::super::{has_rights_of_others, poll, real_user};
use super::calls::{self, Received};
use super::message::Message;
use super::proc::start_time;
use super::shed::give_back_memory;
use super::wards::{Answer, Step, Ward, Wards};

/// The descriptors of a guard.
pub const SOCKET: i32 = 0;
pub const KICK: i32 = 1;
pub const PARENT: i32 = 2;

/// How often the guard looks at processes of which it has no descriptor.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// The number of tasks that are polled at once.
const AT_ONCE: usize = 256;

/// Runs a guard in a process that process `parent` has made for it. `has_parent` says whether `PARENT` is a descriptor of
/// that process.
pub fn run(parent: i32, has_parent: bool, table: &mut [Ward]) -> ! {
    // The parent may have died meanwhile. Whether `parent_id` is 0 tells only whether it is in this PID namespace.
    let parent = if calls::parent_id() == 0 { 0 } else { parent };
    let mut wards = Wards::new(real_user(), parent, table);
    if has_rights_of_others() {
        wards.set_privileged();
    }
    give_back_memory();
    loop {
        match wards.next(calls::now()) {
            Step::Wait { until } => wait(&mut wards, until, has_parent, parent),
            Step::Drain => drain(&mut wards),
            Step::Look => forget_dead(&mut wards),
            Step::Kill => wards.all().iter().for_each(|ward| send(ward, libc::SIGKILL)),
            Step::Leave => calls::leave(),
        }
    }
}

/// Waits, and notes what has happened.
///
/// The guard is not woken by each message: the parent kicks it now and then.
fn wait(wards: &mut Wards<'_>, until: Option<u64>, has_parent: bool, parent: i32) {
    let mut asked = [NOTHING; AT_ONCE];
    let [socket, kick, gone, theirs @ ..] = &mut asked;
    *kick = question(KICK, libc::POLLIN);
    *socket = question(SOCKET, 0);
    let mut is_complete = true;
    let mut count = 3_usize;
    if wards.is_ending() {
        // It would stay readable: the end of the parent has been noted.
        *socket = NOTHING;
        let mut places = theirs.iter_mut();
        for ward in wards.all() {
            match ward.descriptor.and_then(|descriptor| Some((descriptor, places.next()?))) {
                Some((descriptor, place)) => {
                    *place = question(descriptor.get(), libc::POLLIN);
                    count = count.saturating_add(1);
                }
                None => is_complete = false,
            }
        }
    } else if has_parent {
        *gone = question(PARENT, libc::POLLIN);
    } else {
        is_complete = false;
    }
    // No others: `poll` takes no more of them than the process may have open.
    let asked = asked.get_mut(..count).unwrap_or_default();
    let left = until.map(|until| Duration::from_micros(until.saturating_sub(calls::now())));
    let period =
        if is_complete { left } else { Some(left.unwrap_or(LOOK_PERIOD).min(LOOK_PERIOD)) };
    if poll(asked, period).is_err() {
        return;
    }
    let [socket, kick, gone, theirs @ ..] = asked else { return };
    if kick.revents != 0 {
        calls::clear(KICK);
        wards.on_kick();
    }
    let is_orphan = !has_parent && calls::parent_id() != parent;
    if socket.revents != 0 || gone.revents != 0 || is_orphan {
        wards.on_parent_gone(calls::now());
    }
    if wards.is_ending() && (!is_complete || theirs.iter().any(|asked| asked.revents != 0)) {
        wards.on_kick();
    }
}

const NOTHING: libc::pollfd = libc::pollfd { fd: -1, events: 0, revents: 0 };

fn question(descriptor: i32, events: i16) -> libc::pollfd {
    libc::pollfd { fd: descriptor, events, revents: 0 }
}

/// Takes all messages that are queued.
fn drain(wards: &mut Wards<'_>) {
    while let Some(received) = calls::receive(SOCKET) {
        handle(wards, received);
    }
}

fn handle(wards: &mut Wards<'_>, received: Received) {
    let Received { bytes, sender, attested, sent } = received;
    let message = Message::from_bytes(&bytes);
    // A task for which the kernel attests no descriptor sends its own.
    let is_attested = matches!(message, Some(Message::Register { .. })) && attested.is_some();
    let (descriptor, other) = if is_attested { (attested, sent) } else { (sent, attested) };
    let mut answer = Answer::Refused;
    if let Some(message) = message {
        answer = wards.on_message(message, sender, descriptor);
        if answer == Answer::Full {
            forget_dead(wards);
            answer = wards.on_message(message, sender, descriptor);
        }
    }
    let unused = match answer {
        Answer::Kept { instead_of } => instead_of.and_then(|ward| ward.descriptor),
        Answer::Signal { ward, signal } => {
            send(&ward, signal);
            descriptor
        }
        Answer::Full | Answer::Refused => descriptor,
    };
    other.into_iter().chain(unused).for_each(calls::close);
}

fn forget_dead(wards: &mut Wards<'_>) {
    wards.forget(|ward| {
        let has_ended = has_ended(ward);
        if has_ended && let Some(descriptor) = ward.descriptor {
            calls::close(descriptor);
        }
        has_ended
    });
}

/// Returns whether a task has ended, also if it has not been reaped.
fn has_ended(ward: &Ward) -> bool {
    match ward.descriptor {
        Some(descriptor) => calls::is_readable(descriptor),
        None => start_time(ward.pid) != ward.start_time,
    }
}

/// Sends a task a signal, unless it has ended: its number may be another process then.
fn send(ward: &Ward, signal: i32) {
    let is_sent = ward.descriptor.is_some_and(|descriptor| calls::signal(descriptor, signal));
    // Seccomp may forbid the call for descriptors.
    if !is_sent && ward.pid > 1 && !has_ended(ward) {
        calls::kill(ward.pid, signal);
    }
}
