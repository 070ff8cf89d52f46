//! The bounds, in hooks and in time, on the execute threads that run between two waits.

use crate::poller::Poller;
use crate::time::Instant;

/// The bound in time, in microseconds since the last wait ended.
const MOST_MICROS: u64 = 250;

/// The clock is read after 1, 2, 4, 8 and 16 hooks since the last wait, and after every 32nd.
const CLOCK_EVERY: u32 = 32;

/// Returns whether the poller must be asked, after `hooks` hooks since the wait that ended at `wait_ended`.
///
/// Called after each hook of an execute thread. If hooks are short, the clock is read 37 times in 1,024 of them; if
/// they are long, after the first. Only hooks that become long between two readings go unnoticed until the next
/// reading.
#[inline]
pub(crate) fn is_spent<P: Poller>(poller: &mut P, hooks: u32, wait_ended: Instant) -> bool {
    if hooks >= P::LOOK_AFTER_HOOKS {
        return true;
    }
    (hooks.is_power_of_two() || hooks.is_multiple_of(CLOCK_EVERY)) && is_late(poller, wait_ended)
}

#[inline(never)]
fn is_late<P: Poller>(poller: &mut P, wait_ended: Instant) -> bool {
    poller.now().as_micros().saturating_sub(wait_ended.as_micros()) > MOST_MICROS
}
