//! What every contestant in Rust does with a link that is ready.

use std::io::{Read, Write};

use kpt_speed::contestants::Contestant;

use super::links::Link;

/// No message is as long, so that one `read` takes all that is there.
pub const BUFFER: usize = 2_048;

/// Links, and messages to come.
pub struct Relay {
    pub links: Vec<Link>,
    pub left: usize,
    buffer: [u8; BUFFER],
}

impl Relay {
    pub fn new(links: Vec<Link>) -> Self {
        Self { links, left: 0, buffer: [0; BUFFER] }
    }

    /// Reads a message from a link that is ready and writes it, by the functions of the C library, as std does and libraries in
    /// C do. System calls inlined into a loop can be a quarter faster, as no function returns behind them.
    #[inline(always)]
    pub fn pass_on(&mut self, at: usize) {
        let link = &self.links[at];
        let length = (&*link.input).read(&mut self.buffer).expect("a message is there");
        let written = link.output().write(&self.buffer[..length]).expect("there is room");
        assert!(written == length && length > 0);
        self.left = self.left.saturating_sub(1);
    }
}

/// A relay in a loop.
pub struct Relaying<L> {
    pub relay: Relay,
    pub looping: L,
}

/// Loops until no message is left.
pub trait Looping {
    fn run(&mut self, relay: &mut Relay);
}

impl<L: Looping> Contestant for Relaying<L> {
    fn run(&mut self, times: usize) {
        self.relay.left = times;
        self.looping.run(&mut self.relay);
    }
}

/// A contestant.
pub fn relaying(relay: Relay, looping: impl Looping + 'static) -> Box<dyn Contestant> {
    Box::new(Relaying { relay, looping })
}
