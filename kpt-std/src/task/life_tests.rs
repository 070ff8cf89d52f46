//! Tries all lives of a few steps, in virtual time.

use super::*;

/// An event of a task.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ready,
    Stop(Duration),
    Kill,
    KillFailed,
    Ended(Ended),
}

/// One step of two lives.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// An event of the first or the second life.
    Event(usize, Event),
    /// Time passes for both.
    Pass(Duration),
}

const MICRO: Duration = Duration::from_micros(1);

const EVENTS: [Event; 9] = [
    Event::Ready,
    Event::Stop(Duration::ZERO),
    Event::Stop(Duration::from_micros(4)),
    Event::Stop(Duration::from_micros(10)),
    Event::Stop(Duration::MAX),
    Event::Kill,
    Event::Ended(Ended::Code(3)),
    Event::Ended(Ended::Signal(9)),
    Event::Ended(Ended::Unknown),
];

/// The events of a task since its start, and the answers. It keeps no other state, and derives everything from these
/// each time.
#[derive(Default)]
struct Twin {
    events: Vec<(Instant, Event)>,
    /// With the number of events before each.
    answers: Vec<(usize, Action)>,
}

impl Twin {
    fn ended(&self) -> Option<Ended> {
        self.events.iter().find_map(|&(_, event)| match event {
            Event::Ended(ended) => Some(ended),
            _ => None,
        })
    }

    /// Returns the first moment at which a stop has used up its grace, or half of it.
    fn end_of_grace(&self, part: u32) -> Option<Instant> {
        let ends = self.events.iter().filter_map(|&(time, event)| match event {
            Event::Stop(grace) => Some(time + grace / part),
            _ => None,
        });
        ends.min()
    }

    fn answer(&mut self, action: Action) {
        self.answers.push((self.events.len(), action));
    }

    fn has_said(&self, action: Action) -> bool {
        self.answers.iter().any(|&(_, said)| said == action)
    }

    /// Returns the last time at which the last kill has failed.
    fn last_failure(&self) -> Option<Instant> {
        let &(before, _) = self.answers.iter().rfind(|&&(_, action)| action == Action::Kill)?;
        self.events[before..].iter().rev().find_map(|&(time, event)| match event {
            Event::KillFailed => Some(time),
            _ => None,
        })
    }

    /// Returns the expected answer to the last event.
    fn expected(&self) -> Option<Action> {
        let &(_, event) = self.events.last()?;
        match event {
            _ if self.ended().is_some() => None,
            Event::Stop(_) => self.answers.is_empty().then_some(Action::Ask),
            Event::Kill => Some(Action::Kill),
            Event::Ready | Event::KillFailed | Event::Ended(_) => None,
        }
    }

    /// Returns the next action, and when it is due.
    fn next(&self) -> Option<(Instant, Action)> {
        if self.ended().is_some() {
            return None;
        }
        if self.has_said(Action::Kill) {
            return Some((self.last_failure()? + RETRY, Action::Kill));
        }
        let is_terminated = self.has_said(Action::Terminate);
        let (part, action) = if is_terminated { (1, Action::Kill) } else { (2, Action::Terminate) };
        Some((self.end_of_grace(part)?, action))
    }

    fn last_step(&self) -> Option<StopStep> {
        let said = self.answers.iter().map(|(_, answer)| match answer {
            Action::Ask => StopStep::Asked,
            Action::Terminate => StopStep::Terminated,
            Action::Kill => StopStep::Killed,
        });
        said.max()
    }
}

/// A life, and its twin.
#[derive(Default)]
struct Pair {
    twin: Twin,
}

impl Pair {
    fn happen(&mut self, life: &mut Life, now: Instant, event: Event) {
        self.twin.events.push((now, event));
        let answer = match event {
            Event::Ready => {
                life.on_ready();
                None
            }
            Event::Stop(grace) => life.stop(now, grace),
            Event::Kill => life.kill(),
            Event::KillFailed => {
                life.on_kill_failed(now);
                None
            }
            Event::Ended(ended) => {
                life.on_ended(ended);
                None
            }
        };
        assert_eq!(answer, self.twin.expected());
        answer.into_iter().for_each(|answer| self.twin.answer(answer));
    }

    fn pass(&mut self, life: &mut Life, now: Instant) {
        loop {
            let expected = self.twin.next().filter(|&(due, _)| due <= now);
            let answer = life.on_time(now);
            assert_eq!(answer, expected.map(|(_, action)| action));
            let Some(answer) = answer else { return };
            self.twin.answer(answer);
        }
    }

    fn check(&self, before: &Life, life: &Life) {
        let Twin { events, answers } = &self.twin;
        let has_started = events.iter().any(|(_, event)| matches!(event, Event::Ready));
        assert_eq!(life.has_started(), has_started);
        assert_eq!(life.ended(), self.twin.ended());
        assert_eq!(life.deadline(), self.twin.next().map(|(due, _)| due));
        assert_eq!(life.last_step(), self.twin.last_step());
        assert!(before.last_step() <= life.last_step(), "the steps only go on");
        // A kill that fails again is tried again later.
        if before.last_step() == life.last_step()
            && life.last_step() != Some(StopStep::Killed)
            && let (Some(before), Some(after)) = (before.deadline(), life.deadline())
        {
            assert!(after <= before, "the deadline grows");
        }
        assert!(life.terminate_at <= before.terminate_at && life.kill_at <= before.kill_at);
        // Ask, Terminate, Kill: each at most once, in that order, and only the kills that were asked for come again, and
        // those that have failed.
        let order = |(_, action): &(usize, Action)| match action {
            Action::Ask => 0,
            Action::Terminate => 1,
            Action::Kill => 2,
        };
        assert!(answers.is_sorted_by_key(order));
        let count = |wanted| answers.iter().filter(|&&(_, answer)| answer == wanted).count();
        assert!(count(Action::Ask) <= 1 && count(Action::Terminate) <= 1);
        assert!(count(Action::Terminate) <= count(Action::Ask));
        let kills = events
            .iter()
            .filter(|(_, event)| matches!(event, Event::Kill | Event::KillFailed))
            .count();
        assert!(count(Action::Kill) <= kills + 1);
    }
}

/// Tries all ways to continue two lives on one clock for `left` steps. Returns their number.
fn go_on(steps: &[Step], lives: [Life; 2], pairs: &mut [Pair; 2], now: Instant, left: u32) -> u64 {
    let mut count = 1;
    if left == 0 {
        return count;
    }
    for &step in steps {
        let mut lives_now = lives;
        let lengths = pairs.each_ref().map(|Pair { twin }| (twin.events.len(), twin.answers.len()));
        let now = if let Step::Pass(time) = step { now + time } else { now };
        for (at, (life, pair)) in lives_now.iter_mut().zip(pairs.iter_mut()).enumerate() {
            match step {
                Step::Event(whose, event) if whose == at => pair.happen(life, now, event),
                Step::Event(..) => continue,
                Step::Pass(_) => pair.pass(life, now),
            }
            pair.check(&lives[at], life);
        }
        count += go_on(steps, lives_now, pairs, now, left - 1);
        for (Pair { twin }, (events, answers)) in pairs.iter_mut().zip(lengths) {
            twin.events.truncate(events);
            twin.answers.truncate(answers);
        }
    }
    count
}

fn all_lives(events: &[Event], passes: &[u32], length: u32) -> u64 {
    let of = |whose| events.iter().map(move |&event| Step::Event(whose, event));
    let passes = passes.iter().map(|&micros| Step::Pass(MICRO * micros));
    let steps: Vec<_> = of(0).chain(of(1)).chain(passes).collect();
    go_on(&steps, [Life::new(); 2], &mut Default::default(), Instant::from_micros(100), length)
}

/// All sequences of five steps.
#[test]
fn two_short_lives_end_as_they_should() {
    let count = all_lives(&EVENTS, &[0, 1, 2, 5], 5);
    assert_eq!(count, (0..=5).map(|length| 22_u64.pow(length)).sum());
}

/// All sequences of seven of the steps that matter for stopping.
#[test]
fn two_ladders_do_not_mix() {
    let events = [EVENTS[2], EVENTS[3], Event::Kill, EVENTS[6]];
    let count = all_lives(&events, &[2, 5], 7);
    assert_eq!(count, (0..=7).map(|length| 10_u64.pow(length)).sum());
}

/// All sequences of six steps, where signals fail: a kill that has failed is tried again after a second, once for each
/// failure, until the task has ended.
#[test]
fn two_kills_that_fail_are_tried_again() {
    let events = [EVENTS[2], Event::Kill, Event::KillFailed, EVENTS[6]];
    let second = 1_000_000;
    assert_eq!(RETRY, MICRO * second);
    let count = all_lives(&events, &[2, second - 1, second], 6);
    assert_eq!(count, (0..=6).map(|length| 11_u64.pow(length)).sum());
}

/// A grace that is too long for the clock means no limit, and a later, shorter one still counts.
#[test]
fn no_grace_is_too_long() {
    let mut life = Life::new();
    assert_eq!(life.stop(Instant::from_micros(5), Duration::MAX), Some(Action::Ask));
    assert_eq!(life.on_time(Instant::from_micros(u64::MAX - 1)), None);
    assert_eq!(life.stop(Instant::from_micros(7), MICRO * 2), None);
    assert_eq!(life.on_time(Instant::from_micros(7)), None);
    assert_eq!(life.on_time(Instant::from_micros(9)), Some(Action::Terminate));
    assert_eq!(life.on_time(Instant::from_micros(9)), Some(Action::Kill));
    assert_eq!(life.on_time(Instant::from_micros(9)), None);
}
