//! Lines: one bit each between an interrupt handler and a hook.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};

use crate::source::Source;

/// `N` lines, at most 32, numbered from 0: set by interrupt handlers, cleared by hooks.
///
/// A line that is set is ready for its reader and for its writer, and stays so until it is cleared, as a pipe does. So a
/// hook first clears the line and then looks at the device; what happens after that sets the line anew, and nothing is
/// lost.
///
/// Each operation is one load or one store, which every machine with interrupts has; none needs a critical section.
///
/// # One line for each direction
/// A UART has two: one that its receive interrupt sets, and one that "transmit register empty" sets. The hook of the
/// second clears it, fills the register for as long as there is room, and then waits for the line again, or ends if it
/// has nothing left to send. Before that interrupt has come for the first time, the register is empty: set the line once
/// at the start.
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
///                 LINES.set(UART_TX); // There is room still: for who sends next.
///                 return;
///             };
///             uart::write(byte);
///         }
///         thread.again(); // When the interrupt has come.
///     }
/// }
/// ```
///
/// # Several cores
/// A line may be set on another core or OS thread on every target with an operating system, and with the feature
/// `multicore` on those without; then `set` and `clear` have a fence each, which a single core does not need. The setter
/// also has to wake the core that sleeps, after `set` (on ARM by `SEV`, if that one sleeps in `WFE`).
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
    ///
    /// Data written before is seen by whoever clears the line afterwards.
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

    /// Whether a line is set.
    pub fn is_set(&self, line: Source) -> bool {
        self.line(line).is_some_and(|is_set| is_set.load(Ordering::Acquire))
    }

    pub(super) const fn line(&self, line: Source) -> Option<&AtomicBool> {
        match self.set.as_slice().split_at_checked(line.number() as usize) {
            Some((_, [is_set, ..])) => Some(is_set),
            _ => None,
        }
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

/// The lines that are set.
impl<const N: usize> fmt::Debug for Lines<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = (0_u32..).zip(&self.set).filter(|(_, is_set)| is_set.load(Ordering::Relaxed));
        f.debug_set().entries(lines.map(|(line, _)| line)).finish()
    }
}

/// A line's bit in a mask; none, if there can't be such a line.
pub(super) fn line_bit(line: u32) -> u32 {
    1_u32.checked_shl(line).unwrap_or(0)
}

/// Between the data and `set`, and between `clear` and the data, so that either the hook sees the data or the line stays
/// set.
///
/// Release and acquire are not enough. In the C11 model, two writes against a write and a read are the litmus test R;
/// only a fence on both sides forbids that `clear` comes last and the data is not seen. Processors show it: the write of
/// `clear` waits in a store buffer while the read overtakes it (x86, ARM), and others see the writes of the setter in
/// another order (POWER).
///
/// Interrupts of the same core see all its writes in order; there, only the compiler must not move them.
fn fence_for_all_cores() {
    if cfg!(any(feature = "multicore", not(target_os = "none"))) {
        fence(Ordering::SeqCst);
    } else {
        compiler_fence(Ordering::SeqCst);
    }
}
