//! The parts of the protocol that leave a choice: when a packet is sent again, and what is answered.

use std::time::Duration;

/// The longest pause before a packet is sent again, unless the first one is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// When to send again, and when to give up.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The first pause; each further one is twice as long, up to 16 s. The option `timeout` takes its place.
    pub first: Duration,
    /// How often a packet is sent again.
    pub repeats: u32,
}

impl Timing {
    /// Returns the pause after a packet has been sent again `repeats` times.
    pub fn pause(self, repeats: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << repeats.min(16));
        doubled.min(LONGEST_PAUSE.max(self.first))
    }
}

impl Default for Timing {
    /// After 1, 2, 4, 8 and 16 s; then it gives up after another 16.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), repeats: 5 }
    }
}

/// What a sender does with an acknowledgement that it has received before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// Ignores it (RFC 1123, 4.2.3.1).
    #[default]
    Rfc1123,
    /// Sends the block again (RFC 783): a fault, for tests.
    Rfc783,
}
