//! Moments as numbers of a few digits, one for each level of a wheel.

/// The level of the highest digit in which two different moments differ.
#[inline]
pub(super) fn level_of_difference(one: u64, other: u64, bits: u32) -> u32 {
    // The lowest bit changes nothing, as they differ; without it, 0 would be a case of its own.
    let highest_bit = ((one ^ other) | 1).ilog2();
    highest_bit.checked_div(bits).unwrap_or(0)
}

/// The digit of `value` at `level`.
#[inline]
pub(super) fn digit(value: u64, level: u32, bits: u32) -> u32 {
    let mask = shift_left(1, bits).wrapping_sub(1);
    (value.wrapping_shr(level.wrapping_mul(bits)) & mask) as u32
}

/// The first moment that lies ahead of `position` with this digit at `level`: the digits above are the position's, those
/// below are 0.
pub(super) fn slot_start(position: u64, level: u32, digit: u32, bits: u32) -> u64 {
    let below = level.wrapping_mul(bits);
    (position & span(below.wrapping_add(bits))) | shift_left(u64::from(digit), below)
}

/// What of a moment is left without its lowest bits: where the span of so many bits begins.
pub(super) fn span(bits: u32) -> u64 {
    shift_left(u64::MAX, bits)
}

/// `value << by`, and 0 when all bits leave.
#[inline]
pub(super) fn shift_left(value: u64, by: u32) -> u64 {
    value.checked_shl(by).unwrap_or(0)
}
