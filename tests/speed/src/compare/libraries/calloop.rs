//! calloop: level-triggered sources, and timers as sources.

use std::time::{Duration, Instant};

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction, RegistrationToken};
use kpt_speed::contestants::Contestant;
use kpt_speed::contestants::fire::SPREAD;
use kpt_speed::contestants::timers::HORIZON;
use kpt_speed::random::Random;

use crate::links::Link;
use crate::relay::{Looping, Relay, relaying};

impl Looping for EventLoop<'static, Relay> {
    fn run(&mut self, relay: &mut Relay) {
        while relay.left > 0 {
            self.dispatch(None, relay).expect("the wait works");
        }
    }
}

pub fn relay(links: Vec<Link>) -> Box<dyn Contestant> {
    let calloop = EventLoop::<Relay>::try_new().expect("room for a loop");
    for (at, link) in links.iter().enumerate() {
        let input = Generic::new(link.input.clone(), Interest::READ, Mode::Level);
        let pass_on = move |_, _: &mut _, relay: &mut Relay| {
            relay.pass_on(at);
            Ok(PostAction::Continue)
        };
        calloop.handle().insert_source(input, pass_on).expect("room for all");
    }
    relaying(Relay::new(links), calloop)
}

/// Cancels a timer and adds another in its place.
pub struct CancelAdd {
    calloop: EventLoop<'static, ()>,
    start: Instant,
    tokens: Vec<RegistrationToken>,
    random: Random,
}

impl CancelAdd {
    pub fn new(pending: usize) -> Self {
        let calloop = EventLoop::try_new().expect("room for a loop");
        let mut this =
            Self { calloop, start: Instant::now(), tokens: Vec::new(), random: Random::new() };
        for _ in 0..pending {
            let token = this.add();
            this.tokens.push(token);
        }
        this
    }

    fn add(&mut self) -> RegistrationToken {
        let deadline = self.start + Duration::from_micros(1 + self.random.below(HORIZON));
        let timer = Timer::from_deadline(deadline);
        let hook = |_, _: &mut (), _: &mut ()| TimeoutAction::Drop;
        self.calloop.handle().insert_source(timer, hook).expect("room for one")
    }
}

impl Contestant for CancelAdd {
    fn run(&mut self, times: usize) {
        for _ in 0..times {
            let victim = self.random.below(self.tokens.len() as u64) as usize;
            self.calloop.handle().remove(self.tokens[victim]);
            self.tokens[victim] = self.add();
        }
    }
}

/// Adds timers and runs until all have fired.
pub struct Fire {
    calloop: EventLoop<'static, Vec<i64>>,
    random: Random,
}

impl Fire {
    pub fn new() -> Self {
        Self { calloop: EventLoop::try_new().expect("room for a loop"), random: Random::new() }
    }

    /// With what each timer notes.
    fn fire(&mut self, times: usize, note: fn(Instant) -> i64) -> Vec<i64> {
        let handle: LoopHandle<'static, Vec<i64>> = self.calloop.handle();
        let start = Instant::now();
        for _ in 0..times {
            let deadline = start + Duration::from_micros(1 + self.random.below(SPREAD));
            let hook = move |_, _: &mut (), fired: &mut Vec<i64>| {
                fired.push(note(deadline));
                TimeoutAction::Drop
            };
            handle.insert_source(Timer::from_deadline(deadline), hook).expect("room for one");
        }
        let mut fired = Vec::with_capacity(times);
        while fired.len() < times {
            self.calloop.dispatch(None, &mut fired).expect("the wait works");
        }
        fired
    }
}

impl Contestant for Fire {
    fn run(&mut self, times: usize) {
        self.fire(times, |_| 0);
    }

    fn lateness(&mut self, times: usize) -> Vec<i64> {
        self.fire(times, super::nanos_since)
    }
}
