//! Numbers without rhyme, the same ones for the same seed.

/// The `xorshift64*` generator of S. Vigna.
#[derive(Clone)]
pub struct Chance(u64);

impl Chance {
    /// A sequence that follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.number() >> 16) % bound
    }
}

/// Whether a checker of memory (valgrind, AddressSanitizer) runs the tests, which makes them slow, and takes memory of
/// its own: `KPT_CHECKED=valgrind`, or `asan`. What takes how long, and how much, is not to be asserted then.
pub fn is_checked() -> bool {
    std::env::var_os("KPT_CHECKED").is_some()
}

/// Whether valgrind does, which also has descriptors, limits and names of its own, and does not know all calls.
pub fn is_under_valgrind() -> bool {
    std::env::var("KPT_CHECKED").is_ok_and(|value| value == "valgrind")
}

/// Whether the long tests are wanted: `KPT_DEEP=1`.
pub fn is_deep() -> bool {
    std::env::var("KPT_DEEP").is_ok_and(|value| value == "1")
}
