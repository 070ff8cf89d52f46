//! What has been received and not consumed, in one piece of memory.

/// The memory that a buffer has first, and keeps.
pub const FIRST_BYTES: usize = 4096;

/// Room below which a read is not worth its call.
const LEAST_ROOM: usize = 1024;

/// Up to `most` bytes, in memory of at most half as much again. All of the memory is initialized, so that a read may
/// write to it; `held` bytes from `start` on have been received.
///
/// Each byte is moved a bounded number of times: the bytes move to the front only when at least as many have been
/// consumed, or the memory is at its largest; then that is a half of `most`.
#[derive(Debug)]
pub struct Input {
    memory: Vec<u8>,
    start: usize,
    held: usize,
    most: usize,
    /// The largest `held` since there was nothing.
    peak: usize,
}

impl Input {
    pub fn new(most: usize) -> Self {
        Self { memory: Vec::new(), start: 0, held: 0, most, peak: 0 }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.held]
    }

    pub fn is_full(&self) -> bool {
        self.held >= self.most
    }

    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.held);
        self.start += count;
        self.held -= count;
        if self.held == 0 {
            self.start = 0;
            if let Some(less) = shrunk(self.memory.len(), self.peak) {
                self.memory = vec![0; less];
            }
            self.peak = 0;
        }
    }

    /// Room for what is received next. It is empty only if the input is full.
    pub fn room(&mut self) -> &mut [u8] {
        let most = self.most - self.held;
        let end = self.start + self.held;
        if self.memory.len() - end < most.min(LEAST_ROOM) {
            let largest = self.most.saturating_add(self.most / 2);
            if self.memory.len() >= largest || (self.start > 0 && self.start >= self.held) {
                self.memory.copy_within(self.start..end, 0);
                self.start = 0;
            } else {
                let more = self.memory.len().saturating_mul(2).max(FIRST_BYTES);
                self.memory.resize(more.min(largest), 0);
            }
        }
        let end = self.start + self.held;
        let room = &mut self.memory[end..];
        let most = most.min(room.len());
        &mut room[..most]
    }

    /// Counts what has been written to the room.
    pub fn received(&mut self, count: usize) {
        self.held += count;
        self.peak = self.peak.max(self.held);
    }

    /// How much memory it has.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.memory.len()
    }
}

/// Returns how much memory an empty buffer should have in place of `has`, if less than a quarter of it was used last.
/// By halves, so that a buffer whose use varies is not allocated anew each time.
pub fn shrunk(has: usize, peak: usize) -> Option<usize> {
    (has > FIRST_BYTES && peak < has / 4).then_some((has / 2).max(FIRST_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills it, consumes some bytes at a time, and receives as many. Returns how many bytes were consumed, and moved.
    fn churn(most: usize, at_a_time: usize) -> (usize, usize) {
        let mut input = Input::new(most);
        while !input.is_full() {
            let count = input.room().len();
            input.received(count);
        }
        let (mut consumed, mut moved) = (0, 0);
        while consumed < 20 * most {
            input.consume(at_a_time);
            consumed += at_a_time;
            let mut left = at_a_time;
            while left > 0 {
                let before = input.start;
                let room = input.room().len().min(left);
                moved += if input.start < before { input.held } else { 0 };
                input.received(room);
                left -= room;
            }
        }
        (consumed, moved)
    }

    #[test]
    fn a_full_input_that_is_consumed_byte_by_byte_is_not_moved_each_time() {
        for most in [2048, 4096, 10_000, 100_000] {
            for at_a_time in [1, 2, 1000, most / 3, most - 1] {
                let (consumed, moved) = churn(most, at_a_time);
                assert!(
                    moved <= 4 * consumed,
                    "{moved} for {consumed} of {most}, {at_a_time} each"
                );
            }
        }
    }
}
