//! The occupied slots of a level: a bitmap, no larger than the level needs.

/// A level with `SLOTS` slots.
#[derive(Debug)]
pub struct Slots<const SLOTS: usize>;

/// The allowed numbers of slots, and the bitmap for each. A small wheel does not pay for what a large one needs.
#[diagnostic::on_unimplemented(
    message = "a level of a wheel has 2 to 1,024 slots, a power of two",
    label = "no such wheel"
)]
pub trait Level {
    /// The bitmap, with a bit for each slot.
    type Bitmap: Bitmap;
}

/// A set of small numbers. All zero bytes when empty. Every operation takes a few instructions, whatever the size.
pub trait Bitmap: Copy {
    /// The empty set.
    const EMPTY: Self;

    /// Returns whether the set is empty.
    fn is_empty(&self) -> bool;

    /// Returns whether the set contains this number.
    fn contains(&self, number: u32) -> bool;

    /// Adds a number.
    fn insert(&mut self, number: u32);

    /// Removes a number.
    fn remove(&mut self, number: u32);

    /// Returns the lowest number; for an empty set, a number out of range.
    fn first(&self) -> u32;
}

/// A set of numbers below 64.
impl Bitmap for u64 {
    const EMPTY: Self = 0;

    #[inline]
    fn is_empty(&self) -> bool {
        *self == 0
    }

    #[inline]
    fn contains(&self, number: u32) -> bool {
        *self & bit(number) != 0
    }

    #[inline]
    fn insert(&mut self, number: u32) {
        *self |= bit(number);
    }

    #[inline]
    fn remove(&mut self, number: u32) {
        *self &= !bit(number);
    }

    #[inline]
    fn first(&self) -> u32 {
        self.trailing_zeros()
    }
}

/// A set of numbers below 64 times `WORDS`, which is at most 64.
#[derive(Clone, Copy, Debug)]
pub struct Words<const WORDS: usize> {
    words: [u64; WORDS],
    /// The words that are not zero, so that `first` need not scan them.
    occupied: u64,
}

impl<const WORDS: usize> Words<WORDS> {
    #[inline]
    fn word(&self, word: u32) -> u64 {
        self.words.get(word as usize).copied().unwrap_or(0)
    }
}

impl<const WORDS: usize> Bitmap for Words<WORDS> {
    const EMPTY: Self = Self { words: [0; WORDS], occupied: 0 };

    #[inline]
    fn is_empty(&self) -> bool {
        self.occupied.is_empty()
    }

    #[inline]
    fn contains(&self, number: u32) -> bool {
        self.word(number / u64::BITS).contains(number % u64::BITS)
    }

    #[inline]
    fn insert(&mut self, number: u32) {
        if let Some(word) = self.words.get_mut((number / u64::BITS) as usize) {
            word.insert(number % u64::BITS);
            self.occupied.insert(number / u64::BITS);
        }
    }

    #[inline]
    fn remove(&mut self, number: u32) {
        let Some(word) = self.words.get_mut((number / u64::BITS) as usize) else { return };
        word.remove(number % u64::BITS);
        if word.is_empty() {
            self.occupied.remove(number / u64::BITS);
        }
    }

    #[inline]
    fn first(&self) -> u32 {
        let word = self.occupied.first();
        word.wrapping_mul(u64::BITS).wrapping_add(self.word(word).first())
    }
}

macro_rules! levels {
    ($($bitmap:ty: $($slots:literal)+;)+) => {
        $($(impl Level for Slots<$slots> {
            type Bitmap = $bitmap;
        })+)+
    };
}

levels! {
    u64: 2 4 8 16 32 64;
    Words<2>: 128;
    Words<4>: 256;
    Words<8>: 512;
    Words<16>: 1024;
}

/// Returns the bit of a number below 64.
#[inline]
fn bit(number: u32) -> u64 {
    1_u64.wrapping_shl(number)
}
