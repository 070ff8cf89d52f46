//! Which slots of a level have timers: a bitmap, no larger than the level needs.

/// A level of that many slots.
#[derive(Debug)]
pub struct Slots<const SLOTS: usize>;

/// How many slots a level may have, and the bitmap for them. A small wheel does not pay for what a large one needs.
#[diagnostic::on_unimplemented(
    message = "a level of a wheel has 2 to 1,024 slots, a power of two",
    label = "no such wheel"
)]
pub trait Level {
    /// A bit for each slot.
    type Bitmap: Bitmap;
}

/// A set of numbers from 0. All zero bytes when empty; every operation takes a few instructions, however large it is.
pub trait Bitmap: Copy {
    /// No number.
    const EMPTY: Self;

    /// Whether no number is in the set.
    fn is_empty(&self) -> bool;

    /// Whether this number is.
    fn contains(&self, number: u32) -> bool;

    /// Takes in a number.
    fn insert(&mut self, number: u32);

    /// Gives up a number.
    fn remove(&mut self, number: u32);

    /// The lowest number; beyond the word if there is none.
    fn first(&self) -> u32;
}

/// Numbers below 64.
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

/// Numbers below 64 `WORDS`, of which there are up to 64.
#[derive(Clone, Copy, Debug)]
pub struct Words<const WORDS: usize> {
    words: [u64; WORDS],
    /// The words that are not zero, so that they need not be looked through.
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

/// Of a number below 64.
#[inline]
fn bit(number: u32) -> u64 {
    1_u64.wrapping_shl(number)
}
