//! Numbers as text without the number formatting of `core::fmt`, which brings panic paths and kilobytes into firmware.

/// The powers of ten that a `u64` can hold, largest first. Digits are found by subtraction, since a 64-bit division is
/// a large function on a 32-bit machine.
const POWERS: [u64; 20] = powers();

const fn powers() -> [u64; 20] {
    let mut powers = [1; 20];
    let mut power = 1_u64;
    let mut rest: &mut [u64] = &mut powers;
    while let Some((last, shorter)) = rest.split_last_mut() {
        *last = power;
        power = power.saturating_mul(10);
        rest = shorter;
    }
    powers
}

/// A number in decimal digits, without leading zeros.
pub(crate) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(crate) fn new(value: u64) -> Self {
        Self::with_width(value, 1)
    }

    /// Formats a number with at least `width` digits, filled up with zeros; at most 20.
    pub(crate) fn with_width(mut value: u64, width: usize) -> Self {
        let mut digits = [b'0'; 20];
        let mut start = 20_usize.saturating_sub(width);
        for (position, (digit, power)) in digits.iter_mut().zip(POWERS).enumerate() {
            while value >= power {
                value = value.wrapping_sub(power);
                *digit = digit.wrapping_add(1);
            }
            if *digit != b'0' {
                start = start.min(position);
            }
        }
        Self { digits, start }
    }

    pub(crate) fn as_str(&self) -> &str {
        let digits = self.digits.get(self.start..).unwrap_or(&[]);
        core::str::from_utf8(digits).unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for value in [0, 1, 9, 10, 99, 100, 1_234_567, u64::from(u32::MAX), u64::MAX - 1, u64::MAX]
        {
            assert_eq!(Decimal::new(value).as_str(), value.to_string());
        }
        assert_eq!(Decimal::with_width(42, 6).as_str(), "000042");
        assert_eq!(Decimal::with_width(1_234_567, 6).as_str(), "1234567");
    }
}
