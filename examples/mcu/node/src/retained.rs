//! Memory that a reset keeps: neither the linker nor the code that runs first knows of it.

use core::sync::atomic::{AtomicU32, Ordering};

use kpt_core::tape::RING;
use semihosting::fs::File;
use semihosting::io::{self, Write};

const WORDS: usize = kib(env!("RETAINED_KIB")) * 256;

// SAFETY: the linker script has RAM there, which nothing else uses, and any bits are numbers.
unsafe extern "C" {
    #[link_name = "RETAINED"]
    safe static MEMORY: [AtomicU32; WORDS];
}

/// Returns the memory.
pub fn memory() -> &'static [AtomicU32] {
    &MEMORY
}

/// Returns whether a ring is there: since a reset and not since power was switched on.
pub fn has_ring() -> bool {
    MEMORY[0].load(Ordering::Relaxed) == u32::from_le_bytes(RING)
}

/// Writes the ring to the file `ring` of the host, and forgets it.
pub fn dump_ring() -> io::Result<()> {
    let mut file = File::create(c"ring")?;
    for words in MEMORY.chunks(64) {
        let mut bytes = [0; 256];
        for (bytes, word) in bytes.chunks_mut(4).zip(words) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        file.write_all(&bytes[..words.len() * 4])?;
    }
    MEMORY[0].store(0, Ordering::Relaxed);
    Ok(())
}

const fn kib(text: &str) -> usize {
    let (bytes, mut number, mut at) = (text.as_bytes(), 0, 0);
    while at < bytes.len() {
        number = number * 10 + (bytes[at] - b'0') as usize;
        at += 1;
    }
    number
}
