//! kpt: read threads that are called once for each event, and re-arm themselves with `again`.

use std::fmt::Debug;

use kpt_speed::contestants::Contestant;
use kpt_std::kpt_core::poller::Poller;
use kpt_std::{Builder, EventLoop, Thread, source};

use crate::links::Link;
use crate::relay::{Looping, Relay, relaying};

fn pass_on(relay: &mut Relay, mut thread: Thread<'_, Relay, u32>) {
    relay.pass_on(thread.arg as usize);
    if relay.left == 0 {
        thread.threads().stop();
    }
    thread.again();
}

impl<P: Poller<Error: Debug>> Looping for EventLoop<Relay, u32, P> {
    fn run(&mut self, relay: &mut Relay) {
        EventLoop::run(self, relay).expect("the wait works");
    }
}

pub fn relay<P>(links: Vec<Link>, poller: P) -> Box<dyn Contestant>
where
    P: Poller<Error: Debug> + 'static,
{
    // A reader and a timer for each.
    let room = 2 * links.len() + 64;
    let mut kpt = Builder::new().threads(room).build_on(poller).expect("there is memory");
    for (at, link) in (0..).zip(&links) {
        kpt.threads().add_read("link", source(&link.input), pass_on, at).expect("room for all");
    }
    relaying(Relay::new(links), kpt)
}
