//! Random numbers that are the same in each run, and on both sides.

/// xorshift64* of Vigna: cheap. `src/libev.c` has the same.
pub struct Random(u64);

impl Random {
    /// The sequence that all contestants take.
    pub const fn new() -> Self {
        Self(1)
    }

    /// The next one, less than `bound`.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((u128::from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)) * u128::from(bound)) >> 64) as u64
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
