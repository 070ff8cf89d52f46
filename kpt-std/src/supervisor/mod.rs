//! Supervision: which children are started, stopped and restarted, and when.
//!
//! A [`Supervisor`] is a state machine without I/O: it is told the events and the time, and answers with [`Order`]s.
//! The terms and rules are those of Erlang/OTP. A hook that receives the exit event of a task tells it, and carries out
//! its orders; see the example at [`Supervisor`].

mod child;
mod restarts;
mod spec;

pub use spec::{ChildSpec, Strategy};

use std::time::Duration;

use kpt_core::Instant;

use child::{Child, State};
use restarts::{BackOff, Intensity};
use spec::Restart;

/// An order of a supervisor. A child is named by its number, in the order of adding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Start the child. If that fails, report it as an exit that is not normal.
    Start(usize),
    /// Stop the child: it should exit within the grace.
    Stop {
        /// Its number.
        child: usize,
        /// The grace of its specification.
        grace: Duration,
    },
    /// Kill the child: it has not stopped within its grace, was not ready in time, or has given no heartbeat.
    Kill(usize),
}

/// Decides which children are started, stopped and restarted.
///
/// - **Start**: the children are started in the order of adding, each when all before it are ready. Children that have
///   ended for good are not waited for. With [`Strategy::OneForOne`], this holds for the first start only: a child that
///   was ready once keeps no other waiting.
/// - **Failure**: what a failure is depends on the [`ChildSpec`]. The [`Strategy`] says which others are restarted,
///   too: they are stopped first, the last one first, each when the one after it has exited, and nothing is started
///   meanwhile. Exits of children that are being stopped are no failures.
/// - **Intensity**: the number of failures within a period that lead to a restart: at most 5 in 10 s by default. At the
///   next one the supervisor gives up: it stops all children for good, and [`given_up`](Self::given_up) names the one
///   that failed.
/// - **Back-off**: before the restart after the `n`th failure of a child in a row, there is a pause: `first` times 2 to
///   the power of `n - 1`, but not more than `most`, which are 100 ms and 5 s by default. Children that are restarted
///   with it wait, too. A row ends when the child has been ready for a whole period of the intensity. If the pauses of
///   all failures that are allowed take longer than the period, the supervisor never gives up.
/// - **Hung**: a child that is not ready in time, or gives no heartbeat in time, is killed. Its exit counts as any
///   other. Only [`on_time`](Self::on_time) decides that: where a loop is late, the heartbeats that have come in the
///   meantime are read before its timers run. Where it is late by more than a quarter of the time that a child has, as when
///   all processes were stopped or frozen, the child has that time once more.
/// - **Stop**: [`stop`](Self::stop) stops all children for good, the last one first and one after the other, each within its
///   grace: if all hang, that takes the sum of their graces.
///
/// It allocates memory while it is built, and not after that. A call looks at all children: O(n).
///
/// # Usage
/// Report events as they come, and carry out all orders of [`next`](Self::next) after each. Have a timer call
/// [`on_time`](Self::on_time) at the [`deadline`](Self::deadline), and then carry out the orders, too:
///
/// ```
/// use std::time::Duration;
/// use kpt_std::supervisor::{ChildSpec, Order, Strategy, Supervisor};
/// use kpt_std::{
///     Child, EventLoop, Parent, Spawner, TaskConfig, TaskEvent, TaskHandle, Thread, ThreadId, Threads, When,
/// };
///
/// /// A worker that crashes at each message, and says before that it is alive.
/// struct Worker(Parent);
///
/// impl Child for Worker {
///     type Arg = ();
///
///     fn on_message(&mut self, _: Vec<u8>, _: Threads<Self>) {
///         let _ = self.0.send(b"alive");
///         std::process::abort();
///     }
/// }
///
/// struct Daemon {
///     spawner: Spawner,
///     supervisor: Supervisor,
///     tasks: [Option<TaskHandle>; 2],
///     timer: Option<ThreadId>,
///     starts: u32,
/// }
///
/// impl Daemon {
///     /// The argument of a thread is the number of its child.
///     fn on_task(&mut self, mut thread: Thread<Self, usize>) {
///         let (child, now) = (thread.arg, thread.threads().now());
///         let Some(task) = &self.tasks[child] else { return };
///         match task.receive() {
///             Some(TaskEvent::Exit(exit)) => {
///                 self.supervisor.on_exit(child, exit.is_normal(), now);
///                 let (_, threads) = thread.end(); // Before its source.
///                 self.tasks[child] = None;
///                 return self.carry_out(threads);
///             }
///             Some(TaskEvent::Ready) => {
///                 self.supervisor.on_ready(child, now);
///                 let _ = task.send(b"crash");
///             }
///             Some(TaskEvent::Message(_)) => self.supervisor.on_heartbeat(child, now),
///             None => {}
///         }
///         self.carry_out(thread.threads());
///         thread.again();
///     }
///
///     fn carry_out(&mut self, mut threads: Threads<Self, usize>) {
///         let now = threads.now();
///         while let Some(order) = self.supervisor.next(now) {
///             match order {
///                 Order::Start(child) => match self.start(child, threads.reborrow()) {
///                     Ok(task) => self.tasks[child] = Some(task),
///                     Err(_) => self.supervisor.on_exit(child, false, now),
///                 },
///                 Order::Stop { child, grace } => self.tasks[child].iter().for_each(|task| task.stop(grace)),
///                 Order::Kill(child) => {
///                     let task = self.tasks[child].as_ref().expect("it runs");
///                     task.kill().unwrap_or_else(|error| eprintln!("worker {child}: {error}"));
///                 }
///             }
///         }
///         if let Some(timer) = self.timer.take() {
///             let _ = threads.cancel(timer);
///         }
///         if let Some(deadline) = self.supervisor.deadline() {
///             let added = threads.add("supervisor", When::At(deadline), Self::on_deadline, 0);
///             self.timer = Some(added.expect("a thread for each child, and this one"));
///         }
///     }
///
///     fn on_deadline(&mut self, thread: Thread<Self, usize>) {
///         let (_, mut threads) = thread.end(); // Its slot is for the next timer.
///         self.supervisor.on_time(threads.now());
///         self.carry_out(threads);
///     }
///
///     fn start(
///         &mut self,
///         child: usize,
///         mut threads: Threads<Self, usize>,
///     ) -> Result<TaskHandle, Box<dyn std::error::Error>> {
///         self.starts += 1;
///         let config = TaskConfig::new(format!("worker {child}")).tell_ready();
///         let task = self.spawner.start(config, Worker)?;
///         threads.add_read("task", task.source(), Self::on_task, child)?;
///         Ok(task)
///     }
/// }
///
/// let supervisor = Supervisor::new(Strategy::OneForAll)
///     .intensity(2, Duration::from_secs(60))
///     .back_off(Duration::from_millis(1), Duration::from_millis(10))
///     .child(ChildSpec::permanent().heartbeat(Duration::from_secs(10)))
///     .child(ChildSpec::permanent());
/// let mut kpt = EventLoop::new()?;
/// let mut daemon = Daemon { spawner: kpt.spawner(), supervisor, tasks: [None, None], timer: None, starts: 0 };
/// daemon.carry_out(kpt.threads());
/// kpt.run(&mut daemon)?; // Until nothing is left to do.
/// assert_eq!(daemon.supervisor.given_up(), Some(0));
/// # assert!(daemon.supervisor.is_over() && daemon.starts >= 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Supervisor {
    strategy: Strategy,
    intensity: Intensity,
    back_off: BackOff,
    children: Vec<Child>,
    /// The moment up to which all events have been reported.
    looked_at: Instant,
    /// Whether all children are stopped for good.
    is_ending: bool,
    given_up: Option<usize>,
}

/// Configuration.
impl Supervisor {
    /// Creates a supervisor without children.
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            intensity: Intensity::new(5, Duration::from_secs(10)),
            back_off: BackOff { first: Duration::from_millis(100), most: Duration::from_secs(5) },
            children: Vec::new(),
            looked_at: Instant::ZERO,
            is_ending: false,
            given_up: None,
        }
    }

    /// Sets how many failures within a period lead to a restart: 5 in 10 s by default. Takes 8 bytes of memory for each.
    /// With a period of zero, the supervisor never gives up.
    ///
    /// # Panics
    /// If there is not enough memory for so many.
    pub fn intensity(mut self, restarts: usize, period: Duration) -> Self {
        self.intensity = Intensity::new(restarts, period);
        self
    }

    /// Sets the pause before a restart after the first failure of a child, and the longest one: 100 ms and 5 s by default.
    /// With `Duration::ZERO` for both, children are restarted at once, as in Erlang.
    pub fn back_off(mut self, first: Duration, most: Duration) -> Self {
        self.back_off = BackOff { first, most };
        self
    }

    /// Adds a child. Its number is the number of children that were added before.
    pub fn child(mut self, spec: ChildSpec) -> Self {
        self.children.push(Child::new(spec));
        self
    }
}

/// Events. Those of children that do not run, or that were never added, are ignored.
impl Supervisor {
    /// Notes that a child is ready.
    pub fn on_ready(&mut self, child: usize, now: Instant) {
        let Some(child) = self.children.get_mut(child) else { return };
        if child.state == State::Starting {
            child.state = State::Ready;
            child.was_ever_ready = true;
            child.ready_since = Some(now);
            child.note_life(now);
        }
    }

    /// Notes that a child has given a heartbeat.
    pub fn on_heartbeat(&mut self, child: usize, now: Instant) {
        let Some(child) = self.children.get_mut(child) else { return };
        if child.state == State::Ready {
            child.note_life(now);
        }
    }

    /// Notes that a child has exited, or could not be started. [`TaskExit::is_normal`](crate::TaskExit::is_normal) says
    /// whether a task's exit is normal.
    pub fn on_exit(&mut self, number: usize, is_normal: bool, now: Instant) {
        let is_ending = self.is_ending;
        let Some(child) = self.children.get_mut(number) else { return };
        child.exit(now, self.intensity.period);
        match child.state {
            State::Waiting | State::Over => {}
            State::Starting | State::Ready | State::Hung if child.spec.is_failure(is_normal) => {
                self.fail(number, now);
            }
            State::Starting | State::Ready | State::Hung => child.state = State::Over,
            State::Condemned | State::Stopping | State::Killed => {
                let is_over = is_ending || child.spec.restart == Restart::Temporary;
                child.state = if is_over { State::Over } else { State::Waiting };
            }
        }
    }

    /// Notes that time has passed, and that all events before `now` have been reported. Call it at the
    /// [`deadline`](Self::deadline), and only in the hook of a timer, which runs after the hooks for what has come.
    pub fn on_time(&mut self, now: Instant) {
        self.looked_at = self.looked_at.max(now);
        self.children.iter_mut().for_each(|child| child.spare(now));
    }

    /// Stops all children for good.
    pub fn stop(&mut self) {
        self.is_ending = true;
        self.children.iter_mut().for_each(Child::stop_for_good);
    }

    /// Restarts a child that has failed, and those that belong to it, or gives up.
    fn fail(&mut self, number: usize, now: Instant) {
        let is_admitted = self.intensity.admit(now);
        let Some(child) = self.children.get_mut(number) else { return };
        if !is_admitted {
            child.state = State::Over;
            self.given_up = Some(number);
            return self.stop();
        }
        child.failures = child.failures.saturating_add(1);
        child.state = State::Waiting;
        child.start_at = now + self.back_off.pause(child.failures);
        let from = child.start_at;
        for (other, child) in self.children.iter_mut().enumerate() {
            if self.strategy.joins(number, other) {
                child.join_restart(from);
            }
        }
    }
}

/// Orders and state.
impl Supervisor {
    /// Returns the next order. Call it until it returns `None`, after each event and each [`on_time`](Self::on_time).
    pub fn next(&mut self, now: Instant) -> Option<Order> {
        self.kill_next().or_else(|| self.stop_next(now)).or_else(|| self.start_next(now))
    }

    /// Returns the moment at which to call [`on_time`](Self::on_time), if no event comes before. It may have passed.
    pub fn deadline(&self) -> Option<Instant> {
        let kills = self.children.iter().map(|child| child.kill_at);
        let starts = self.startable().map(|at| self.children[at].start_at);
        kills.chain(starts).min().filter(|&deadline| deadline < Instant::NEVER)
    }

    /// Returns whether no child runs, and none will be started: all have ended for good, were stopped, or the
    /// supervisor has given up.
    pub fn is_over(&self) -> bool {
        self.children.iter().all(|child| child.state == State::Over)
    }

    /// Returns the child at whose failure the supervisor has given up.
    pub fn given_up(&self) -> Option<usize> {
        self.given_up
    }

    fn kill_next(&mut self) -> Option<Order> {
        let number = self.children.iter().position(|child| child.kill_at <= self.looked_at)?;
        self.children[number].kill();
        Some(Order::Kill(number))
    }

    /// Stops the last one of those that are to be stopped, unless it has been told.
    fn stop_next(&mut self, now: Instant) -> Option<Order> {
        let number = self.children.iter().rposition(Child::is_leaving)?;
        let child = &mut self.children[number];
        if child.state != State::Condemned {
            return None;
        }
        child.stop(now);
        Some(Order::Stop { child: number, grace: child.spec.grace })
    }

    fn start_next(&mut self, now: Instant) -> Option<Order> {
        let number = self.startable().find(|&at| self.children[at].start_at <= now)?;
        self.children[number].start(now);
        Some(Order::Start(number))
    }

    /// Returns the children that may be started, as soon as their pause is over. None while others are being stopped.
    fn startable(&self) -> impl Iterator<Item = usize> {
        let is_blocked = self.children.iter().any(Child::is_leaving);
        let lets_pass = |child: &Child| match child.state {
            State::Over | State::Ready => true,
            _ => self.strategy == Strategy::OneForOne && child.was_ever_ready,
        };
        let first = self.children.iter().position(|child| !lets_pass(child));
        // The first that keeps others waiting may be started itself.
        let end = first.map_or(self.children.len(), |first| first + 1);
        let end = if is_blocked { 0 } else { end };
        (0..end).filter(|&at| self.children[at].state == State::Waiting)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
#[cfg(test)]
mod twin_tests;
