//! Lines: one bit each between an interrupt handler and a hook.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::source::Source;

/// `N` lines, at most 32, numbered from 0: set by interrupt handlers, cleared by hooks.
///
/// A line is level-triggered, as a pipe is: its thread is called again until it is cleared. So a hook first clears the
/// line and then looks at what has happened; what happens after that sets the line anew, and nothing is lost.
///
/// Each operation is one load or one store, which every machine with interrupts has; none needs a critical section.
pub struct Lines<const N: usize> {
    set: [AtomicBool; N],
}

impl<const N: usize> Lines<N> {
    /// No line is set. All zero bytes.
    pub const fn new() -> Self {
        const { assert!(N <= 32, "at most 32 lines") };
        Self { set: [const { AtomicBool::new(false) }; N] }
    }

    /// Sets a line, from an interrupt handler of any priority, or from a hook. Does nothing if there is no such line.
    pub fn set(&self, line: Source) {
        if let Some(is_set) = self.line(line) {
            is_set.store(true, Ordering::Release);
        }
    }

    /// Clears a line.
    pub fn clear(&self, line: Source) {
        if let Some(is_set) = self.line(line) {
            is_set.store(false, Ordering::Release);
        }
    }

    /// Whether a line is set.
    pub fn is_set(&self, line: Source) -> bool {
        self.line(line).is_some_and(|is_set| is_set.load(Ordering::Acquire))
    }

    fn line(&self, line: Source) -> Option<&AtomicBool> {
        self.set.get(line.number() as usize)
    }

    /// Those that are set, a bit for each.
    pub(super) fn mask(&self) -> u32 {
        (0_u32..).zip(&self.set).fold(0, |mask, (line, is_set)| {
            if is_set.load(Ordering::Acquire) { mask | line_bit(line) } else { mask }
        })
    }
}

impl<const N: usize> Default for Lines<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// A line's bit in a mask; none, if there can't be such a line.
pub(super) fn line_bit(line: u32) -> u32 {
    1_u32.checked_shl(line).unwrap_or(0)
}
