//! Moments as numbers of a few digits, one for each level of a wheel.

/// Returns the level of the highest digit in which two different moments differ.
#[inline]
pub(super) fn level_of_difference(one: u64, other: u64, bits: u32) -> u32 {
    // Setting the lowest bit changes nothing, since the moments differ, and avoids a special case for 0.
    let highest_bit = ((one ^ other) | 1).ilog2();
    highest_bit.checked_div(bits).unwrap_or(0)
}

/// Returns the digit of `value` at `level`.
#[inline]
pub(super) fn digit(value: u64, level: u32, bits: u32) -> u32 {
    let mask = shift_left(1, bits).wrapping_sub(1);
    (value.wrapping_shr(level.wrapping_mul(bits)) & mask) as u32
}

/// Returns the first moment ahead of `position` with this digit at `level`: the digits above are those of the position,
/// and those below are 0.
pub(super) fn slot_start(position: u64, level: u32, digit: u32, bits: u32) -> u64 {
    let below = level.wrapping_mul(bits);
    (position & span(below.wrapping_add(bits))) | shift_left(u64::from(digit), below)
}

/// Returns a mask that clears the lowest `bits` bits of a moment, which leaves the start of its span.
pub(super) fn span(bits: u32) -> u64 {
    shift_left(u64::MAX, bits)
}

/// Returns `value << by`, and 0 if all bits are shifted out.
#[inline]
pub(super) fn shift_left(value: u64, by: u32) -> u64 {
    value.checked_shl(by).unwrap_or(0)
}
