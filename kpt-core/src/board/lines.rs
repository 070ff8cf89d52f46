//! Lines: one bit each, from an interrupt handler to a hook.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};

use crate::source::Source;

/// `N` lines, at most 32, numbered from 0. Interrupt handlers set them, and hooks clear them.
///
/// A line that is set is ready for its reader and for its writer until it is cleared, as a pipe is readable until it
/// has been read. A hook therefore clears the line first, and then looks at the device: an event after that sets the
/// line again, and nothing is lost.
///
/// Each operation is one load or one store, which every machine with interrupts has. None needs a critical section.
///
/// # One line for each direction
/// A UART has two lines: its receive interrupt sets one, and "transmit register empty" sets the other. The hook of the
/// second line clears it, fills the register while there is room, and then waits for the line again, or ends if it has
/// nothing left to send. The register is empty before that interrupt comes for the first time: set the line once at the
/// start.
///
/// ```
/// use kpt_core::board::Lines;
/// use kpt_core::{Source, Thread};
/// # mod uart { // Stands for the registers.
/// #     pub fn has_room() -> bool { true }
/// #     pub fn write(_: u8) {}
/// # }
///
/// const UART_TX: Source = Source::new(1); // add_write("tx", UART_TX, App::on_writable, ())
/// static LINES: Lines<2> = Lines::new();
///
/// struct App {
///     unsent: heapless::Deque<u8, 64>,
/// }
///
/// impl App {
///     fn on_writable(&mut self, thread: Thread<Self>) {
///         LINES.clear(UART_TX);
///         while uart::has_room() {
///             let Some(byte) = self.unsent.pop_front() else {
///                 LINES.set(UART_TX); // There is still room, for the next sender.
///                 return;
///             };
///             uart::write(byte);
///         }
///         thread.again(); // Runs when the interrupt has come.
///     }
/// }
/// ```
///
/// # Several cores
/// A line may be set on another core or OS thread on every target with an operating system, and with the feature
/// `multicore` on targets without one. `set` and `clear` then have a fence each, which a single core does not need.
/// After `set`, the setter must also wake the core that sleeps (on ARM with `SEV`, if that core sleeps in `WFE`).
pub struct Lines<const N: usize> {
    set: [AtomicBool; N],
}

impl<const N: usize> Lines<N> {
    /// Creates lines of which none is set. All zero bytes.
    pub const fn new() -> Self {
        const { assert!(N <= 32, "at most 32 lines") };
        Self { set: [const { AtomicBool::new(false) }; N] }
    }

    /// Sets a line, from an interrupt handler of any priority or from a hook. Does nothing if there is no such line.
    ///
    /// Code that clears the line afterwards sees the data that was written before this call.
    pub fn set(&self, line: Source) {
        if let Some(is_set) = self.line(line) {
            fence_for_all_cores();
            is_set.store(true, Ordering::Release);
        }
    }

    /// Clears a line. Does nothing if there is no such line.
    ///
    /// Data read afterwards is at least as new as the last `set` that this has cleared.
    pub fn clear(&self, line: Source) {
        if let Some(is_set) = self.line(line) {
            is_set.store(false, Ordering::Release);
            fence_for_all_cores();
        }
    }

    /// Returns whether a line is set.
    pub fn is_set(&self, line: Source) -> bool {
        self.line(line).is_some_and(|is_set| is_set.load(Ordering::Acquire))
    }

    pub(super) const fn line(&self, line: Source) -> Option<&AtomicBool> {
        match self.set.as_slice().split_at_checked(line.number() as usize) {
            Some((_, [is_set, ..])) => Some(is_set),
            _ => None,
        }
    }

    /// Returns the lines that are set, one bit each.
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

/// The numbers of the lines that are set.
impl<const N: usize> fmt::Debug for Lines<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = (0_u32..).zip(&self.set).filter(|(_, is_set)| is_set.load(Ordering::Relaxed));
        f.debug_set().entries(lines.map(|(line, _)| line)).finish()
    }
}

/// Returns the bit of a line in a mask; 0 if there can't be such a line.
pub(super) fn line_bit(line: u32) -> u32 {
    1_u32.checked_shl(line).unwrap_or(0)
}

/// Orders the data and `set`, and `clear` and the data, so that either the hook sees the data or the line stays set.
///
/// Release and acquire are not enough. In the C11 model, two writes against a write and a read are the litmus test R:
/// only a fence on both sides forbids the result in which `clear` comes last and the data is not seen. Processors show
/// this result: the write of `clear` waits in a store buffer while the read overtakes it (x86, ARM), and other cores
/// see the writes of the setter in another order (POWER).
///
/// Interrupts of the same core see all its writes in order; there, only the compiler must not move them.
fn fence_for_all_cores() {
    if cfg!(any(feature = "multicore", not(target_os = "none"))) {
        fence(Ordering::SeqCst);
    } else {
        compiler_fence(Ordering::SeqCst);
    }
}
