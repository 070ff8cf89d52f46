//! Which slots of a level have timers: a bitmap, no larger than the level needs.

use super::digits::shift_left;

/// A level of that many slots.
#[derive(Debug)]
pub struct Slots<const SLOTS: usize>;

/// How many slots a level may have, and the bitmap for them. A small wheel does not pay for what a large one needs.
#[diagnostic::on_unimplemented(
    message = "a level of a wheel has 2 to 256 slots, a power of two",
    label = "no such wheel"
)]
pub trait Level {
    /// A bit for each slot.
    type Bitmap: Bitmap;
}

/// A set of numbers from 0. All zero bytes when empty.
pub trait Bitmap: Copy + AsRef<[u64]> + AsMut<[u64]> {
    /// No number.
    const EMPTY: Self;
}

impl<const WORDS: usize> Bitmap for [u64; WORDS]
where
    [u64; WORDS]: AsRef<[u64]> + AsMut<[u64]>,
{
    const EMPTY: Self = [0; WORDS];
}

macro_rules! levels {
    ($($words:literal words for $($slots:literal)+;)+) => {
        $($(impl Level for Slots<$slots> {
            type Bitmap = [u64; $words];
        })+)+
    };
}

levels! {
    1 words for 2 4 8 16 32 64;
    2 words for 128;
    4 words for 256;
}

pub(super) fn is_empty(bitmap: &impl Bitmap) -> bool {
    bitmap.as_ref().iter().all(|&word| word == 0)
}

pub(super) fn contains(bitmap: &impl Bitmap, number: u32) -> bool {
    bitmap.as_ref().get(word_of(number)).is_some_and(|word| word & bit(number) != 0)
}

pub(super) fn insert(bitmap: &mut impl Bitmap, number: u32) {
    if let Some(word) = bitmap.as_mut().get_mut(word_of(number)) {
        *word |= bit(number);
    }
}

pub(super) fn remove(bitmap: &mut impl Bitmap, number: u32) {
    if let Some(word) = bitmap.as_mut().get_mut(word_of(number)) {
        *word &= !bit(number);
    }
}

/// The lowest number in the set.
pub(super) fn first(bitmap: &impl Bitmap) -> Option<u32> {
    let mut numbers_before = 0_u32;
    for word in bitmap.as_ref() {
        if *word != 0 {
            return Some(numbers_before.wrapping_add(word.trailing_zeros()));
        }
        numbers_before = numbers_before.wrapping_add(u64::BITS);
    }
    None
}

fn word_of(number: u32) -> usize {
    (number / u64::BITS) as usize
}

fn bit(number: u32) -> u64 {
    shift_left(1, number % u64::BITS)
}
