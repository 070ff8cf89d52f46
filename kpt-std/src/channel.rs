//! A channel from other OS threads to a hook: the standard library's bounded channel, and a waker.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{self, SyncSender, TryRecvError, TrySendError};

use crate::waker::{Waker, Wakeups, waker};

/// Creates a channel that holds up to `capacity` values, at least one, and returns its two ends. Allocates its memory
/// here, and uses one descriptor.
///
/// The [`Receiver`] is a source. It is readable when the channel has values, and when all senders have been dropped.
///
/// ```
/// use kpt_std::{EventLoop, Receiver, Thread, channel, source};
/// use std::sync::mpsc::TryRecvError;
///
/// struct App {
///     lines: Receiver<String>,
///     count: usize,
/// }
///
/// impl App {
///     fn on_lines(&mut self, thread: Thread<App>) {
///         loop {
///             match self.lines.try_recv() {
///                 Ok(line) => self.count += line.len(),
///                 Err(TryRecvError::Empty) => return thread.again(),
///                 Err(TryRecvError::Disconnected) => return, // This thread ends, too.
///             }
///         }
///     }
/// }
///
/// let (sender, lines) = channel(64)?;
/// let mut app = App { lines, count: 0 };
/// let mut kpt = EventLoop::new()?;
/// kpt.threads().add_read("lines", source(&app.lines), App::on_lines, ())?;
/// let other = std::thread::spawn(move || sender.try_send("hello".to_owned()));
/// kpt.run(&mut app)?; // Until the sender is dropped.
/// assert_eq!(app.count, 5);
/// # other.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Returns the system's error if no descriptor is available, and [`OutOfMemory`](io::ErrorKind::OutOfMemory) if there is no
/// memory for that many values.
pub fn channel<T>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    // A channel without capacity hands each value over directly, which needs a receiver that blocks.
    let capacity = capacity.max(1);
    // `sync_channel` panics where this fails. It has a number beside each value.
    Vec::<(usize, T)>::new().try_reserve_exact(capacity).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let (waker, wakeups) = waker()?;
    let (sender, receiver) = mpsc::sync_channel(capacity);
    Ok((Sender { sender, waker: WakesLast(waker) }, Receiver { receiver, wakeups }))
}

/// The sending end of a [`channel`], for any OS thread. Clones send to the same receiver.
#[derive(Debug)]
pub struct Sender<T> {
    sender: SyncSender<T>,
    /// Dropped after `sender`, so that the receiver that it wakes finds the sender disconnected.
    waker: WakesLast,
}

impl<T> Sender<T> {
    /// Sends a value. Never blocks. Costs a system call if the receiver has found the channel empty since the last
    /// send, and none otherwise.
    ///
    /// Values of one sender arrive in the order of sending.
    ///
    /// # Errors
    /// Returns the value if the channel is full, or if the receiver has been dropped. A sender is not notified when
    /// there is room again: drop the value, retry later, or sleep.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.sender.try_send(value)?;
        self.waker.0.wake();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: self.waker.clone() }
    }
}

#[derive(Clone, Debug)]
struct WakesLast(Waker);

impl Drop for WakesLast {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// The receiving end of a [`channel`], for a hook. It is a source.
#[derive(Debug)]
pub struct Receiver<T> {
    receiver: mpsc::Receiver<T>,
    wakeups: Wakeups,
}

impl<T> Receiver<T> {
    /// Receives a value. Never blocks.
    ///
    /// A hook may return before the channel is empty: the receiver stays readable. Only the call that returns `Empty`
    /// costs a system call.
    ///
    /// # Errors
    /// Returns `Empty` if the channel has no value now; the next value makes the receiver readable. Returns
    /// `Disconnected` if the channel has no value and all senders have been dropped.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let result = self.receiver.try_recv();
        if !is_empty(&result) {
            return result;
        }
        // The wake-up is taken before the second look: a value sent later wakes again, and a value sent before is
        // found.
        self.wakeups.take();
        let result = self.receiver.try_recv();
        if !is_empty(&result) {
            // There may be more values, whose wake-up has just been taken.
            self.wakeups.put_back();
        }
        result
    }
}

fn is_empty<T>(result: &Result<T, TryRecvError>) -> bool {
    matches!(result, Err(TryRecvError::Empty))
}

impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wakeups.as_fd()
    }
}
