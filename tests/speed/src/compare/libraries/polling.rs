//! polling: level-triggered, which its default, one-shot, is not.
#![allow(unsafe_code)]

use std::num::NonZeroUsize;

use kpt_speed::contestants::Contestant;
use polling::{Event, Events, PollMode, Poller};

use crate::links::Link;
use crate::relay::{Looping, Relay, relaying};

struct Polling {
    poller: Poller,
    events: Events,
}

impl Looping for Polling {
    fn run(&mut self, relay: &mut Relay) {
        while relay.left > 0 {
            self.events.clear();
            self.poller.wait(&mut self.events, None).expect("the wait works");
            for event in self.events.iter() {
                relay.pass_on(event.key);
            }
        }
    }
}

pub fn relay(links: Vec<Link>) -> Box<dyn Contestant> {
    let poller = Poller::new().expect("room for a set");
    let events = Events::with_capacity(NonZeroUsize::new(1_024).expect("it is not zero"));
    for (at, link) in links.iter().enumerate() {
        // SAFETY: the relay has the descriptor as long as the poller is used, and nothing closes it.
        let result =
            unsafe { poller.add_with_mode(&*link.input, Event::readable(at), PollMode::Level) };
        result.expect("room in the set");
    }
    relaying(Relay::new(links), Polling { poller, events })
}
