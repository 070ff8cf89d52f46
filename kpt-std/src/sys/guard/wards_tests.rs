//! All interleavings of a parent that starts tasks and is killed, of its tasks, and of its guard.

use std::collections::HashSet;
use std::num::NonZeroI32;

use super::*;

const UID: u32 = 1_000;
const PARENT_PID: i32 = 50;
const TASKS: usize = 3;

/// Which steps a new task takes before code of the application runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// It registers, and then looks at its parent.
    RegistersFirst,
    LooksFirst,
    DoesNotLook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Task {
    NotStarted,
    /// It has taken this many of the two steps.
    New(u8),
    /// Code of the application runs, and hangs.
    Hangs,
    Gone,
}

/// What the guard does between two questions to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Doing {
    Asking,
    Waiting { until: Option<u64> },
    Draining,
    Looking,
    Killing,
    Left,
}

/// A system with a parent, its tasks and its guard. Each step of it is atomic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: u64,
    parent_died_at: Option<u64>,
    has_killed_late: bool,
    tasks: [Task; TASKS],
    /// The numbers of the tasks whose messages are queued.
    queue: Vec<u32>,
    is_kicked: bool,
    doing: Doing,
    // The state of the machine.
    table: [Ward; TASKS],
    count: usize,
    must: (bool, bool),
    kill_at: Option<u64>,
    end: u8,
}

/// A thing that may happen next.
#[derive(Clone, Copy, Debug)]
enum Move {
    Start,
    ParentDies,
    Kick,
    Task(usize),
    /// The task notices by itself, and exits.
    Exits(usize),
    Guard,
    TimePasses,
}

impl World {
    fn new() -> Self {
        Self {
            now: 0,
            parent_died_at: None,
            has_killed_late: true,
            tasks: [Task::NotStarted; TASKS],
            queue: Vec::new(),
            is_kicked: false,
            doing: Doing::Asking,
            table: [Ward::default(); TASKS],
            count: 0,
            must: (false, false),
            kill_at: None,
            end: 0,
        }
    }

    /// Calls the machine, and stores its state.
    fn with<R>(&mut self, work: impl FnOnce(&mut Wards<'_>) -> R) -> R {
        let mut table = self.table;
        let ends = [End::NotYet, End::LastLook, End::Killed];
        let mut wards = Wards {
            uid: UID,
            is_privileged: false,
            parent: PARENT_PID,
            table: &mut table,
            count: self.count,
            has_unknown: false,
            must_drain: self.must.0,
            must_look: self.must.1,
            kill_at: self.kill_at,
            end: ends[usize::from(self.end)],
        };
        let result = work(&mut wards);
        self.count = wards.count;
        self.must = (wards.must_drain, wards.must_look);
        self.kill_at = wards.kill_at;
        self.end = ends.iter().position(|&end| end == wards.end).expect("it is one of them") as u8;
        self.table = table;
        // Places that are not used make no difference.
        self.table[self.count..].fill(Ward::default());
        result
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        if self.parent_died_at.is_none() {
            moves.extend([Move::ParentDies]);
            if self.tasks.contains(&Task::NotStarted) {
                moves.push(Move::Start);
            }
            if !self.is_kicked {
                moves.push(Move::Kick);
            }
        }
        for (at, task) in self.tasks.iter().enumerate() {
            match task {
                Task::New(_) => moves.push(Move::Task(at)),
                Task::Hangs if at == 0 => moves.push(Move::Exits(at)),
                _ => {}
            }
        }
        match self.doing {
            Doing::Left => {}
            Doing::Waiting { until } => {
                let is_woken = self.is_kicked
                    || (self.parent_died_at.is_some() && self.kill_at.is_none())
                    || self.kill_at.is_some()
                        && self.table[..self.count].iter().any(|ward| self.has_ended(ward));
                let is_late = until.is_some_and(|until| until <= self.now);
                if is_woken || is_late {
                    moves.push(Move::Guard);
                } else if until.is_some() {
                    moves.push(Move::TimePasses);
                }
            }
            _ => moves.push(Move::Guard),
        }
        moves
    }

    fn has_ended(&self, ward: &Ward) -> bool {
        self.tasks[ward.number as usize] == Task::Gone
    }

    fn make(&mut self, step: Move, order: Order) {
        match step {
            Move::Start => {
                let at =
                    self.tasks.iter().position(|&task| task == Task::NotStarted).expect("asked");
                self.tasks[at] = Task::New(0);
            }
            Move::ParentDies => self.parent_died_at = Some(self.now),
            Move::Kick => self.is_kicked = true,
            Move::Exits(at) => self.tasks[at] = Task::Gone,
            Move::TimePasses => self.now += GRACE / 2,
            Move::Task(at) => self.step_task(at, order),
            Move::Guard => self.step_guard(),
        }
    }

    fn step_task(&mut self, at: usize, order: Order) {
        let Task::New(taken) = self.tasks[at] else { return };
        let registers = (taken == 0) != (order == Order::LooksFirst);
        if registers {
            self.queue.push(at as u32);
        }
        let leaves = !registers && self.parent_died_at.is_some() && order != Order::DoesNotLook;
        self.tasks[at] = match taken {
            _ if leaves => Task::Gone,
            0 => Task::New(1),
            _ => Task::Hangs,
        };
    }

    /// What `run` does, one call at a time.
    fn step_guard(&mut self) {
        let now = self.now;
        self.doing = match self.doing {
            Doing::Asking => match self.with(|wards| wards.next(now)) {
                Step::Wait { until } => Doing::Waiting { until },
                Step::Drain => Doing::Draining,
                Step::Look => Doing::Looking,
                Step::Kill => Doing::Killing,
                Step::Leave => Doing::Left,
            },
            Doing::Waiting { .. } => {
                if std::mem::take(&mut self.is_kicked) {
                    self.with(|wards| wards.on_kick());
                }
                if self.parent_died_at.is_some() {
                    self.with(|wards| wards.on_parent_gone(now));
                }
                let has_news = self.table[..self.count].iter().any(|ward| self.has_ended(ward));
                if self.kill_at.is_some() && has_news {
                    self.with(|wards| wards.on_kick());
                }
                Doing::Asking
            }
            Doing::Draining if self.queue.is_empty() => Doing::Asking,
            Doing::Draining => {
                let number = self.queue.remove(0);
                let sender = Sender { pid: 100 + number as i32, uid: UID };
                let answer = self.with(|wards| {
                    wards.on_message(
                        Message::Register { number, start_time: 0 },
                        sender,
                        NonZeroI32::new(9),
                    )
                });
                assert!(matches!(answer, Answer::Kept { instead_of: None }), "{answer:?}");
                Doing::Draining
            }
            Doing::Looking => {
                let tasks = self.tasks;
                self.with(|wards| wards.forget(|ward| tasks[ward.number as usize] == Task::Gone));
                Doing::Asking
            }
            Doing::Killing => {
                for ward in &self.table[..self.count] {
                    self.tasks[ward.number as usize] = Task::Gone;
                }
                self.has_killed_late &= self.parent_died_at.is_some_and(|died| now >= died + GRACE);
                Doing::Asking
            }
            Doing::Left => Doing::Left,
        };
    }
}

/// Tries every order of moves from every state. Returns the number of states, and how many of those in which nothing
/// more can happen have a task that runs without a parent.
fn try_all(order: Order) -> (usize, usize) {
    let mut seen = HashSet::from([World::new()]);
    let mut left = vec![World::new()];
    let mut orphans = 0;
    while let Some(world) = left.pop() {
        let moves = world.moves();
        if moves.is_empty() {
            assert_eq!(world.doing, Doing::Left, "a guard without a parent leaves: {world:?}");
            assert!(world.has_killed_late, "a task has its time: {world:?}");
            orphans += usize::from(world.tasks.contains(&Task::Hangs));
        }
        let is_early = world.doing == Doing::Left && world.parent_died_at.is_none();
        assert!(!is_early, "a guard leaves its parent: {world:?}");
        for step in moves {
            let mut next = world.clone();
            next.make(step, order);
            if seen.insert(next.clone()) {
                left.push(next);
            }
        }
    }
    (seen.len(), orphans)
}

#[test]
fn r20_in_no_order_of_steps_does_a_task_outlive_its_parent() {
    let (states, orphans) = try_all(Order::RegistersFirst);
    assert!(states > 5_000, "{states}");
    assert_eq!(orphans, 0, "of {states} states");
}

/// The test sees what would go wrong.
#[test]
fn in_another_order_tasks_outlive_their_parent() {
    assert_ne!(try_all(Order::LooksFirst).1, 0);
    assert_ne!(try_all(Order::DoesNotLook).1, 0);
}

const SELF: Sender = Sender { pid: 77, uid: UID };
const PARENT: Sender = Sender { pid: PARENT_PID, uid: UID };

fn register(number: u32) -> Message {
    Message::Register { number, start_time: 0 }
}

fn on_message(wards: &mut Wards<'_>, message: Message, sender: Sender, descriptor: i32) -> Answer {
    wards.on_message(message, sender, NonZeroI32::new(descriptor))
}

#[test]
fn a_full_table_takes_more_when_a_task_has_ended() {
    let mut table = [Ward::default(); 3];
    let mut wards = Wards::new(UID, PARENT_PID, &mut table);
    let kept = Answer::Kept { instead_of: None };
    for number in 0..3 {
        assert_eq!(on_message(&mut wards, register(number), SELF, 9), kept);
    }
    assert_eq!(on_message(&mut wards, register(3), SELF, 9), Answer::Full);
    wards.forget(|ward| ward.number == 1);
    assert_eq!(on_message(&mut wards, register(3), SELF, 9), kept);
    let mut numbers: Vec<u32> = wards.all().iter().map(|ward| ward.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 2, 3]);
    wards.forget(|_| true);
    assert_eq!(wards.all(), []);
}

#[test]
fn a_task_that_is_named_twice_is_there_once() {
    let mut table = [Ward::default(); 3];
    let mut wards = Wards::new(UID, PARENT_PID, &mut table);
    on_message(&mut wards, register(5), SELF, 9);
    let first = wards.all()[0];
    let adopt = Message::Adopt { number: 5, pid: 123, start_time: 0 };
    let answer = on_message(&mut wards, adopt, PARENT, 10);
    assert_eq!(answer, Answer::Kept { instead_of: Some(first) }, "its descriptor can be closed");
    assert_eq!(wards.all().len(), 1);
    assert_eq!(wards.all()[0].pid, 123);
}

/// The guard of a setuid program has rights that the parent may have given up: it takes no other's word for who is a task.
#[test]
fn r51_nobody_names_processes_to_a_guard_that_has_more_rights_than_its_user() {
    let mut table = [Ward::default(); 3];
    let mut wards = Wards::new(UID, PARENT_PID, &mut table);
    wards.set_privileged();
    let adopt = Message::Adopt { number: 1, pid: 123, start_time: 0 };
    assert_eq!(on_message(&mut wards, adopt, PARENT, 9), Answer::Refused);
    assert_eq!(on_message(&mut wards, register(1), SELF, 9), Answer::Kept { instead_of: None });
}

/// A parent that has given up root names processes to a guard that has not: nobody is killed for it. It may end its own
/// tasks, and nobody else may.
#[test]
fn only_who_has_its_rights_commands_a_guard() {
    let mut table = [Ward::default(); 3];
    let mut wards = Wards::new(UID, PARENT_PID, &mut table);
    let adopt = Message::Adopt { number: 1, pid: 123, start_time: 0 };
    let signal = |number, signal| Message::Signal { number, signal };
    let dropped = Sender { uid: 65_534, ..PARENT };
    for (message, sender) in [
        (register(1), Sender { uid: 0, ..SELF }),
        (register(1), dropped),
        (adopt, dropped),
        (adopt, SELF),
        (signal(1, libc::SIGKILL), PARENT),
    ] {
        assert_eq!(
            on_message(&mut wards, message, sender, 9),
            Answer::Refused,
            "{message:?} {sender:?}"
        );
    }
    assert_eq!(on_message(&mut wards, register(1), SELF, 9), Answer::Kept { instead_of: None });
    let ward = wards.all()[0];
    for sender in [PARENT, dropped] {
        let answer = on_message(&mut wards, signal(1, libc::SIGKILL), sender, 0);
        assert_eq!(answer, Answer::Signal { ward, signal: libc::SIGKILL });
    }
    for (message, sender) in [
        (signal(1, libc::SIGKILL), SELF),
        (signal(2, libc::SIGKILL), PARENT),
        (signal(1, libc::SIGUSR1), PARENT),
        (signal(1, 0), PARENT),
    ] {
        assert_eq!(
            on_message(&mut wards, message, sender, 0),
            Answer::Refused,
            "{message:?} {sender:?}"
        );
    }
}

/// What can't be told from a later process of the same number is never killed.
#[test]
fn without_a_descriptor_and_a_time_nothing_is_kept() {
    let mut table = [Ward::default(); 3];
    let mut wards = Wards::new(UID, PARENT_PID, &mut table);
    assert_eq!(wards.on_message(register(1), SELF, None), Answer::Refused);
    let message = Message::Register { number: 1, start_time: 8 };
    assert_eq!(wards.on_message(message, SELF, None), Answer::Kept { instead_of: None });
    assert_eq!(wards.all()[0], Ward { number: 1, pid: SELF.pid, descriptor: None, start_time: 8 });
}

/// As the first process of a PID namespace, which ends with it, a guard can't look up numbers. Those that it can't keep have
/// their time all the same.
#[test]
fn r42_in_a_namespace_of_its_own_a_guard_keeps_no_numbers_and_stays_for_the_grace() {
    let mut table = [Ward::default(); 3];
    let mut wards = Wards::new(UID, 0, &mut table);
    let message = Message::Register { number: 1, start_time: 8 };
    assert_eq!(wards.on_message(message, SELF, None), Answer::Refused);
    wards.on_parent_gone(5);
    assert_eq!((wards.next(5), wards.next(5)), (Step::Drain, Step::Look));
    let until = Some(5 + GRACE);
    assert_eq!(wards.next(6), Step::Wait { until });
    let rest: Vec<_> = (0..4).map(|_| wards.next(5 + GRACE)).collect();
    assert_eq!(rest, [Step::Drain, Step::Look, Step::Kill, Step::Leave]);
}
