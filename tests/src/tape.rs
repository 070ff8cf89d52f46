//! Tapes in memory.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

/// A tape in memory. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Memory(Rc<RefCell<Vec<u8>>>);

impl Memory {
    /// Returns what has been written.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
