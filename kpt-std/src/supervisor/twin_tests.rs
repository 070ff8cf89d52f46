//! Tries all short lives of three children, in virtual time, beside a slow twin.

use std::time::Duration;

use kpt_core::Instant;

use super::twin::{Event, Twin};
use super::{ChildSpec, Order, Strategy, Supervisor};

const MICRO: Duration = Duration::from_micros(1);
const PERIOD: Duration = Duration::from_micros(30);
const BACK_OFF: (Duration, Duration) = (Duration::from_micros(4), Duration::from_micros(7));

const STRATEGIES: [Strategy; 3] = [Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll];

/// One step of a life.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Event(Event),
    /// Time passes until the next deadline.
    ToDeadline,
    /// A moment passes that is longer than a period of the intensity.
    Long,
    /// A moment passes unnoticed.
    Short,
}

/// A supervisor, its twin, and the time.
struct Pair {
    supervisor: Supervisor,
    twin: Twin,
    now: Instant,
    /// A child is ready as soon as it is started, and exits as soon as it is told to.
    is_prompt: bool,
}

/// A place to go back to.
struct Mark(Supervisor, usize, Instant);

impl Pair {
    fn new(strategy: Strategy, specs: &[ChildSpec], restarts: usize) -> Self {
        let mut supervisor =
            Supervisor::new(strategy).intensity(restarts, PERIOD).back_off(BACK_OFF.0, BACK_OFF.1);
        for &spec in specs {
            supervisor = supervisor.child(spec);
        }
        let twin = Twin::new(strategy, specs, (restarts, PERIOD), BACK_OFF);
        Self { supervisor, twin, now: Instant::from_micros(100), is_prompt: false }
    }

    fn mark(&self) -> Mark {
        Mark(self.supervisor.clone(), self.twin.length(), self.now)
    }

    fn go_back(&mut self, Mark(supervisor, length, now): Mark) {
        self.supervisor = supervisor;
        self.twin.truncate(length);
        self.now = now;
    }

    /// Does a step. Returns false if it can't be done, or changes nothing.
    fn step(&mut self, step: Step) -> bool {
        match step {
            Step::Event(event) => {
                let can_be = match event {
                    Event::Ready(child) => self.twin.runs(child) && !self.twin.is_ready(child),
                    Event::Heartbeat(child) => self.twin.runs(child),
                    Event::Exit { child, .. } => self.twin.runs(child),
                    Event::StopAll | Event::Time => true,
                };
                if !can_be {
                    return false;
                }
                self.happen(event);
            }
            Step::ToDeadline => match self.supervisor.deadline() {
                Some(deadline) => self.pass(deadline),
                None => return false,
            },
            Step::Long => self.pass(self.now + PERIOD + MICRO),
            Step::Short => self.now = self.now + MICRO,
        }
        self.carry_out();
        true
    }

    fn pass(&mut self, until: Instant) {
        self.now = self.now.max(until);
        self.happen(Event::Time);
    }

    fn happen(&mut self, event: Event) {
        let (supervisor, now) = (&mut self.supervisor, self.now);
        match event {
            Event::Ready(child) => supervisor.on_ready(child, now),
            Event::Heartbeat(child) => supervisor.on_heartbeat(child, now),
            Event::Exit { child, is_normal } => supervisor.on_exit(child, is_normal, now),
            Event::StopAll => supervisor.stop(),
            Event::Time => supervisor.on_time(now),
        }
        self.twin.happen(now, event);
    }

    /// Has both say what is to be done until that is nothing.
    fn carry_out(&mut self) {
        loop {
            let expected = self.twin.next(self.now);
            assert_eq!(self.supervisor.next(self.now), expected);
            let Some(order) = expected else { break };
            self.twin.order(self.now, order);
            if !self.is_prompt {
                continue;
            }
            match order {
                Order::Start(child) => self.happen(Event::Ready(child)),
                Order::Stop { child, .. } => self.happen(Event::Exit { child, is_normal: true }),
                Order::Kill(child) => self.happen(Event::Exit { child, is_normal: false }),
            }
        }
        assert_eq!(self.supervisor.deadline(), self.twin.deadline());
        assert_eq!(self.supervisor.is_over(), self.twin.is_over());
        assert_eq!(self.supervisor.given_up(), self.twin.given_up());
    }

    /// Tries all ways to go on for `left` steps. Returns their number.
    fn go_on(&mut self, steps: &[Step], left: u32) -> u64 {
        let mut count = 1;
        if left == 0 {
            return count;
        }
        for &step in steps {
            let mark = self.mark();
            if self.step(step) {
                count += self.go_on(steps, left - 1);
            }
            self.go_back(mark);
        }
        count
    }
}

fn exit(child: usize, is_normal: bool) -> Step {
    Step::Event(Event::Exit { child, is_normal })
}

fn spec(of: ChildSpec) -> ChildSpec {
    of.ready_within(MICRO * 9).grace(MICRO * 5).heartbeat(MICRO * 12)
}

/// All ways to choose the kinds of three children.
fn all_kinds() -> impl Iterator<Item = [ChildSpec; 3]> {
    let kinds = [ChildSpec::permanent(), ChildSpec::transient(), ChildSpec::temporary()].map(spec);
    (0..27).map(move |number| [kinds[number / 9], kinds[number / 3 % 3], kinds[number % 3]])
}

fn is_deep() -> bool {
    std::env::var("KPT_DEEP").is_ok()
}

/// All sequences of eight failures and pauses, of children that are ready at once and stop at once.
#[test]
fn all_sequences_of_failures_are_as_the_twin_says() {
    let failures = [0, 1, 2].map(|child| exit(child, false));
    let steps: Vec<_> = failures.into_iter().chain([Step::ToDeadline, Step::Long]).collect();
    let mut count = 0;
    for strategy in STRATEGIES {
        let mut pair = Pair::new(strategy, &[spec(ChildSpec::permanent()); 3], 4);
        pair.is_prompt = true;
        pair.carry_out();
        count += pair.go_on(&steps, 8);
    }
    println!("{count} sequences");
    assert!(count > 50_000, "{count}");
}

/// The same with every kind of child, and with normal exits.
#[test]
fn all_kinds_of_children_fail_as_the_twin_says() {
    let exits = (0..3).flat_map(|child| [exit(child, false), exit(child, true)]);
    let steps: Vec<_> = exits.chain([Step::ToDeadline, Step::Long]).collect();
    let mut count = 0;
    for (strategy, specs) in
        STRATEGIES.iter().flat_map(|&strategy| all_kinds().map(move |specs| (strategy, specs)))
    {
        let mut pair = Pair::new(strategy, &specs, 2);
        pair.is_prompt = true;
        pair.carry_out();
        count += pair.go_on(&steps, if is_deep() { 7 } else { 5 });
    }
    println!("{count} sequences");
    assert!(count > 50_000, "{count}");
}

/// Each event at each moment: exits before the child is ready, while others are being stopped, after a kill.
#[test]
fn all_interleavings_are_as_the_twin_says() {
    let of = |child| {
        [exit(child, false), Step::Event(Event::Ready(child)), Step::Event(Event::Heartbeat(child))]
    };
    let others = [Step::Event(Event::StopAll), Step::ToDeadline, Step::Short, Step::Long];
    let steps: Vec<_> = (0..3).flat_map(of).chain(others).collect();
    let kinds = [ChildSpec::permanent(), ChildSpec::transient(), ChildSpec::temporary()].map(spec);
    let mut count = 0;
    for strategy in STRATEGIES {
        for specs in [[kinds[0]; 3], kinds] {
            let mut pair = Pair::new(strategy, &specs, 2);
            pair.carry_out();
            count += pair.go_on(&steps, if is_deep() { 8 } else { 6 });
        }
    }
    println!("{count} sequences");
    assert!(count > 50_000, "{count}");
}
