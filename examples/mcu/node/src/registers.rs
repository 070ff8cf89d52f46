//! Registers of peripherals: all memory that is read and written by address.

use core::ptr;

/// The registers of one peripheral.
#[derive(Clone, Copy)]
pub struct Registers {
    base: usize,
}

impl Registers {
    const BYTES: usize = 0x1000;

    /// # Safety
    /// From `base` on there are 4 KiB that belong to a peripheral, and nothing that is written there changes memory
    /// that Rust knows of.
    pub const unsafe fn at(base: usize) -> Self {
        Self { base }
    }

    pub fn read(self, offset: usize) -> u32 {
        // SAFETY: the address is aligned and within what `at` was promised.
        unsafe { ptr::read_volatile(self.register(offset)) }
    }

    pub fn write(self, offset: usize, value: u32) {
        // SAFETY: the address is aligned and within what `at` was promised.
        unsafe { ptr::write_volatile(self.register(offset), value) }
    }

    fn register(self, offset: usize) -> *mut u32 {
        assert!(offset < Self::BYTES && offset.is_multiple_of(4));
        ptr::without_provenance_mut(self.base + offset)
    }
}
