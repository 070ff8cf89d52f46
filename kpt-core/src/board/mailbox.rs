//! Mailboxes: queues from interrupt handlers to a hook.

use core::cell::RefCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use critical_section::Mutex;
use heapless::Deque;

use super::lines::Lines;
use crate::source::Source;

/// A queue of data from interrupt handlers to a hook, with a line that is set exactly while the queue has a value.
///
/// Handlers of any priority, hooks and other cores may [`post`](Self::post) and [`take`](Self::take). Each call is one
/// critical section, in which one value is moved and the line is set or cleared. So nothing is lost, the line is never
/// set without a value, and the hook has no line to clear.
///
/// ```
/// use kpt_core::board::{Buffer, Lines, Mailbox};
/// use kpt_core::{Source, Thread};
///
/// static LINES: Lines<2> = Lines::new();
/// static RX_BUFFER: Buffer<u8, 64> = Buffer::new();
/// static RX: Mailbox<u8, 64> = Mailbox::new(&LINES, Source::new(1), &RX_BUFFER);
///
/// # #[allow(non_snake_case)]
/// fn UART0() { // #[interrupt]
///     # let byte = b'!';
///     let _ = RX.post(byte); // A byte that does not fit is lost.
/// }
///
/// struct App {
///     received: usize,
/// }
///
/// impl App {
///     // add_read("rx", RX.source(), App::on_byte, ())
///     fn on_byte(&mut self, thread: Thread<Self>) {
///         while let Some(_byte) = RX.take() {
///             self.received += 1;
///         }
///         thread.again();
///     }
/// }
/// # UART0();
/// # let mut app = App { received: 0 };
/// # app.received += RX.take().into_iter().count();
/// ```
///
/// The mailbox itself is constant and lies in flash; its [`Buffer`] is all zero bytes, in `.bss`. A `post` takes 84
/// bytes of code and a `take` 96.
///
/// Critical sections are those of the crate [`critical_section`]. The program chooses their implementation, on most
/// chips with a feature of the chip's crate (`cortex-m/critical-section-single-core`). A line that belongs to a mailbox
/// must not be set or cleared by other code, nor given to another mailbox.
pub struct Mailbox<T: 'static, const N: usize> {
    source: Source,
    /// `None` if there is no such line. No thread can wait for it then: the poller reports an error.
    line: Option<&'static AtomicBool>,
    buffer: &'static Buffer<T, N>,
}

/// The memory for the `N` values of a [`Mailbox`].
pub struct Buffer<T, const N: usize> {
    values: Mutex<RefCell<Deque<T, N>>>,
}

impl<T, const N: usize> Mailbox<T, N> {
    /// Creates a mailbox for up to `N` values. Neither its line nor its buffer may belong to another mailbox.
    pub const fn new<const L: usize>(
        lines: &'static Lines<L>,
        source: Source,
        buffer: &'static Buffer<T, N>,
    ) -> Self {
        Self { source, line: lines.line(source), buffer }
    }

    /// Returns the source that the read thread waits for.
    pub const fn source(&self) -> Source {
        self.source
    }

    /// Appends a value, and sets the line.
    ///
    /// # Errors
    /// Returns the value if the mailbox has `N` values already.
    pub fn post(&self, value: T) -> Result<(), T> {
        critical_section::with(|section| {
            // Within a critical section, nothing else borrows it.
            let Ok(mut values) = self.buffer.values.borrow(section).try_borrow_mut() else {
                return Err(value);
            };
            values.push_back(value)?;
            self.set_line(true);
            Ok(())
        })
    }

    /// Removes and returns the oldest value, if there is one. Clears the line when no value is left.
    pub fn take(&self) -> Option<T> {
        critical_section::with(|section| {
            let mut values = self.buffer.values.borrow(section).try_borrow_mut().ok()?;
            let value = values.pop_front();
            if values.is_empty() {
                self.set_line(false);
            }
            value
        })
    }

    fn set_line(&self, is_set: bool) {
        if let Some(line) = self.line {
            line.store(is_set, Ordering::Release);
        }
    }
}

impl<T, const N: usize> Buffer<T, N> {
    /// Creates an empty buffer. All zero bytes.
    pub const fn new() -> Self {
        Self { values: Mutex::new(RefCell::new(Deque::new())) }
    }
}

impl<T, const N: usize> Default for Buffer<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> fmt::Debug for Mailbox<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("source", &self.source).finish_non_exhaustive()
    }
}

impl<T, const N: usize> fmt::Debug for Buffer<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").finish_non_exhaustive()
    }
}
