//! A UART in virtual time. In firmware it would be registers, or a queue that an interrupt handler fills.

use std::collections::VecDeque;
use std::time::Duration;

use kpt_core::sim::{World, WorldFull};
use kpt_core::{Instant, Readiness, Source};

/// At 115,200 bits a second, rounded up.
pub const BYTE_TIME: Duration = Duration::from_micros(87);

/// The receiving end, and the bytes that are still to come.
pub struct Uart<'w> {
    world: &'w World<512>,
    bytes: VecDeque<(Instant, u8)>,
}

impl<'w> Uart<'w> {
    pub const SOURCE: Source = Source::new(0);

    pub fn new(world: &'w World<512>) -> Self {
        Self { world, bytes: VecDeque::new() }
    }

    /// Sends these bytes to the receiver, from a moment on, which is later than all that were sent before.
    pub fn send_at(&mut self, start: Duration, bytes: &[u8]) -> Result<(), WorldFull> {
        let mut at = Instant::ZERO + start;
        for &byte in bytes {
            at = at + BYTE_TIME;
            self.world.at(at, Self::SOURCE, Readiness::READABLE)?;
            self.bytes.push_back((at, byte));
        }
        Ok(())
    }

    pub fn now(&self) -> Instant {
        self.world.now()
    }

    pub fn has_byte(&self) -> bool {
        self.bytes.front().is_some_and(|&(at, _)| at <= self.now())
    }

    pub fn read(&mut self) -> Option<u8> {
        let byte = if self.has_byte() { self.bytes.pop_front() } else { None };
        if !self.has_byte() {
            self.world.clear(Self::SOURCE, Readiness::READABLE);
        }
        byte.map(|(_, byte)| byte)
    }
}
