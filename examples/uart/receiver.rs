//! A state machine whose states are hooks: it receives frames, and finds the next one after anything else.
//!
//! A frame is `START`, a length up to `MOST`, that many bytes, and their sum. One thread reads, and its hook is its state.
//! A hook takes one byte; then `again` stays in the state, and `again_as` goes to another. What can't be a frame leads back
//! to `on_start`, and so does a timer, if the rest of a frame does not come.

use std::time::Duration;

use kpt_core::{AddError, Instant, Thread, ThreadId, Threads, When};

use crate::simulated::Uart;

pub const START: u8 = 0x7E;
pub const MOST: u8 = 32;

/// The time for a frame. The longest takes 3 ms at 115,200 bits a second.
pub const TIMEOUT: Duration = Duration::from_millis(5);

/// The reader and the timer.
pub const THREADS: usize = 2;

pub struct Receiver<'w> {
    uart: Uart<'w>,
    timeout: Option<ThreadId>,
    length: usize,
    payload: Vec<u8>,
    /// What was received, and when.
    pub frames: Vec<(Instant, Vec<u8>)>,
    pub given_up: u32,
}

impl<'w> Receiver<'w> {
    pub fn new(uart: Uart<'w>) -> Self {
        let (payload, frames) = (Vec::new(), Vec::new());
        Self { uart, timeout: None, length: 0, payload, frames, given_up: 0 }
    }

    pub fn add_reader(&mut self, mut threads: Threads<Self>) -> Result<(), AddError<()>> {
        threads.add_read("receiver", Uart::SOURCE, Self::on_start, ())?;
        Ok(())
    }

    fn on_start(&mut self, mut thread: Thread<Self>) {
        if self.uart.read() != Some(START) {
            return thread.again();
        }
        self.timeout = thread.threads().add_timer("timeout", TIMEOUT, Self::on_timeout, ()).ok();
        thread.again_as(Self::on_length);
    }

    fn on_length(&mut self, thread: Thread<Self>) {
        match self.uart.read() {
            Some(length @ 1..=MOST) => {
                self.length = length.into();
                self.payload.clear();
                thread.again_as(Self::on_payload);
            }
            // The `START` before it was noise.
            Some(START) | None => thread.again(),
            Some(_) => self.give_up(thread),
        }
    }

    fn on_payload(&mut self, thread: Thread<Self>) {
        self.payload.extend(self.uart.read());
        if self.payload.len() < self.length {
            thread.again();
        } else {
            thread.again_as(Self::on_sum);
        }
    }

    fn on_sum(&mut self, thread: Thread<Self>) {
        let Some(sum) = self.uart.read() else { return thread.again() };
        if sum != sum_of(&self.payload) {
            return self.give_up(thread);
        }
        self.frames.push((self.uart.now(), self.payload.clone()));
        self.go_on(thread);
    }

    fn give_up(&mut self, thread: Thread<Self>) {
        self.given_up += 1;
        self.go_on(thread);
    }

    fn go_on(&mut self, mut thread: Thread<Self>) {
        if let Some(timeout) = self.timeout.take() {
            let _ = thread.threads().cancel(timeout);
        }
        thread.again_as(Self::on_start);
    }

    fn on_timeout(&mut self, thread: Thread<Self>) {
        if self.uart.has_byte() {
            // It was the loop that was late, and not the byte: once more after the reader.
            let _ = thread.again_when(When::After(Duration::ZERO));
            return;
        }
        self.given_up += 1;
        // The reader may be in any state, which only its own hook can change. So there is a new one.
        let ((), mut threads) = thread.end();
        threads.cancel_source(Uart::SOURCE);
        let _ = self.add_reader(threads); // Two threads have ended, so that there is room.
    }
}

/// What follows the payload.
pub fn sum_of(payload: &[u8]) -> u8 {
    payload.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}
