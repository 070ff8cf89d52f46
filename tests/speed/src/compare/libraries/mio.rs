//! mio: only edge-triggered. That a `read` gets less than it could is the end of what is there, as epoll(7) has it.

use kpt_speed::contestants::Contestant;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::fd::AsRawFd;

use crate::links::Link;
use crate::relay::{Looping, Relay, relaying};

struct Mio {
    poll: Poll,
    events: Events,
}

impl Looping for Mio {
    fn run(&mut self, relay: &mut Relay) {
        while relay.left > 0 {
            self.poll.poll(&mut self.events, None).expect("the wait works");
            for event in &self.events {
                relay.pass_on(event.token().0);
            }
        }
    }
}

pub fn relay(links: Vec<Link>) -> Box<dyn Contestant> {
    let (poll, events) = (Poll::new().expect("room for a set"), Events::with_capacity(1_024));
    for (at, link) in links.iter().enumerate() {
        let (source, token) = (link.input.as_raw_fd(), Token(at));
        let registry = poll.registry();
        registry.register(&mut SourceFd(&source), token, Interest::READABLE).expect("room");
    }
    relaying(Relay::new(links), Mio { poll, events })
}
