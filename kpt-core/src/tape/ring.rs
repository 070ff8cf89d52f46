//! The last entries, in fixed memory.
//!
//! The memory is two words that say what it is, and blocks. A block is a word that says which block it is, how many of
//! its bytes are valid and whether a hook runs, and its bytes, which can be read without other blocks. The next block
//! takes the place of the oldest one.

use core::sync::atomic::{AtomicU32, Ordering};

use super::code::{Encoder, Output, VERSION};
use super::entry::Entry;
use super::recorder::Tape;
use crate::poller::HookCall;

/// The first word of a [`Ring`].
pub const RING: [u8; 4] = *b"KPTR";

/// The words before the blocks: what it is, and the version.
pub(super) const HEADER: usize = 2;

/// The words of a block: a sixteenth of the memory, between these.
const LEAST_BLOCK: usize = 32;
const MOST_BLOCK: usize = 1_024;

/// The names that are known at a time.
const NAMES: usize = 16;

/// The longest value that an application may put into the ring, in bytes.
const LONGEST_VALUE: usize = 64;

/// In the first word of a block: the number of valid bytes, whether a hook runs, and from there on the block's number,
/// which is never 0.
pub(super) const USED: u32 = 0x7FFF;
pub(super) const RUNS: u32 = 0x8000;
pub(super) const NUMBER: u32 = 16;

/// A flight recorder: a [`Tape`] of the last entries, in memory that outlives the program.
///
/// The memory is valid at every moment: after a reset, a panic or a kill, it tells what the loop did before. Put it
/// where a start does not clear it: a section such as `.uninit` of a microcontroller, or a file that is mapped
/// (`kpt_std::tape::RingFile`). Words are atomics since that needs no unsafe code; there must be one writer.
///
/// A wait with one hook takes about 15 bytes. An entry costs about 10 to 100 instructions. The clock is read once more for
/// each wait and each hook.
///
/// ```
/// use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use kpt_core::tape::{Records, Recorder, Ring};
/// # use kpt_core::{FixedLoop, sim::{SimPoller, World}};
///
/// static MEMORY: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256]; // In `.uninit`.
///
/// let world = World::<4>::new();
/// let poller = Recorder::new(SimPoller::new(&world), Ring::new(&MEMORY[..]));
/// let mut kpt = FixedLoop::<_, u32, 4>::new(poller);
/// # let hook = |count: &mut u32, thread: kpt_core::Thread<u32>| { *count += 1; if *count < 3 { thread.again() } };
/// # kpt.threads().add_timer("tick", core::time::Duration::from_millis(20), hook, ()).unwrap();
/// # kpt.run(&mut 0).unwrap();
///
/// // After a reset, or on another machine: a dump of the memory, the lowest byte of a word first.
/// let dump: Vec<u8> = MEMORY.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
/// for record in Records::new(&dump)? {
///     println!("{record}"); // 0.020000 hook tick 0.1, timer, 0 us late
/// }
/// # let text: Vec<String> = Records::new(&dump)?.map(|record| record.to_string()).collect();
/// # assert_eq!(text.iter().filter(|line| line.contains("hook tick 0.1, timer, 0 us late")).count(), 3);
/// # Ok::<(), kpt_core::tape::NoTape>(())
/// ```
#[derive(Debug)]
pub struct Ring<M> {
    memory: M,
    encoder: Encoder<NAMES>,
    /// The first word of the block that is written.
    block: usize,
    /// The number of the block that is written, and its valid bytes.
    number: u16,
    used: usize,
    runs: bool,
}

impl<M: AsRef<[AtomicU32]>> Ring<M> {
    /// Begins a recording in this memory, whose contents are lost. The memory must have at least 66 words, which are two
    /// blocks, and less than 256 MiB, since 65,535 blocks can be told apart.
    pub fn new(memory: M) -> Self {
        let words = memory.as_ref();
        // Not a ring from here until it is one again.
        store(words, 0, 0);
        for word in words {
            word.store(0, Ordering::Release);
        }
        store(words, 1, VERSION);
        store(words, 0, u32::from_le_bytes(RING));
        Self { memory, encoder: Encoder::new(), block: HEADER, number: 1, used: 0, runs: false }
    }

    /// Returns the memory.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Writes what `encode` encodes, in the next block if this one has no room for it.
    #[inline]
    fn write(&mut self, mut encode: impl FnMut(&mut Encoder<NAMES>, &mut Room<'_>)) {
        for _ in 0..2 {
            let words = self.memory.as_ref();
            let size = block_size(words.len());
            let end = self.block.saturating_add(size);
            let block = words.get(self.block..end).unwrap_or_default();
            let mut room = Room { block, at: self.used, is_over: false };
            encode(&mut self.encoder, &mut room);
            if !room.is_over {
                self.used = room.at;
                self.commit();
                return;
            }
            self.begin_block();
        }
        // There is no block, or even an empty one has no room.
        (self.encoder, self.used) = (Encoder::new(), 0);
    }

    #[cold]
    fn begin_block(&mut self) {
        let words = self.memory.as_ref();
        let size = block_size(words.len());
        let next = self.block.saturating_add(size);
        self.block = if next.saturating_add(size) <= words.len() { next } else { HEADER };
        self.number = self.number.checked_add(1).unwrap_or(1);
        store(words, self.block, 0);
        let time = self.encoder.time();
        self.encoder = Encoder::new();
        // A block that begins with a hook has its time, too.
        let block = words.get(self.block..self.block.saturating_add(size)).unwrap_or_default();
        let mut room = Room { block, at: 0, is_over: false };
        self.encoder.entry(&Entry::Awake(time), &mut room);
        self.used = room.at;
    }

    /// Makes what was written valid, by one store.
    #[inline]
    fn commit(&self) {
        let runs = if self.runs { RUNS } else { 0 };
        let word = u32::from(self.number) << NUMBER | runs | self.used as u32 & USED;
        store(self.memory.as_ref(), self.block, word);
    }
}

impl<M: AsRef<[AtomicU32]>> Tape for Ring<M> {
    /// Leaves out calls that bring more than 64 bytes.
    #[inline]
    fn put(&mut self, entry: &Entry<'_>) {
        if !matches!(entry, Entry::Called(called) if called.bytes.len() > LONGEST_VALUE) {
            self.write(|encoder, room| encoder.entry(entry, room));
        }
    }

    #[inline]
    fn hook(&mut self, call: &HookCall) {
        self.runs = true;
        self.write(|encoder, room| encoder.hook(call, room));
    }

    #[inline]
    fn hook_ended(&mut self) {
        self.runs = false;
        self.commit();
    }
}

/// Stores a word after all that was stored before.
#[inline]
fn store(words: &[AtomicU32], at: usize, value: u32) {
    if let Some(word) = words.get(at) {
        word.store(value, Ordering::Release);
    }
}

/// Returns the number of words of a block, in memory of `words` words.
#[inline]
pub(super) fn block_size(words: usize) -> usize {
    (words >> 4).clamp(LEAST_BLOCK, MOST_BLOCK)
}

/// The rest of a block.
struct Room<'b> {
    block: &'b [AtomicU32],
    at: usize,
    is_over: bool,
}

impl Output for Room<'_> {
    #[inline]
    fn byte(&mut self, byte: u8) {
        let Some(word) = self.block.get((self.at >> 2).saturating_add(1)) else {
            self.is_over = true;
            return;
        };
        let shift = (self.at as u32 & 3) << 3;
        let others = word.load(Ordering::Relaxed) & !(0xFF << shift);
        word.store(others | u32::from(byte) << shift, Ordering::Relaxed);
        self.at = self.at.wrapping_add(1);
    }
}
