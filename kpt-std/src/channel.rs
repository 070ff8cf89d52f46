//! Values from other OS threads to a hook: the standard library's bounded channel, and a waker.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{self, SyncSender, TryRecvError, TrySendError};

use crate::waker::{Waker, Wakeups, waker};

/// Returns the two ends of a channel that holds `capacity` values, at least one. Its memory is allocated here.
///
/// The [`Receiver`] is a source: readable when there are values, and when all senders have gone.
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
/// kpt.run(&mut app)?; // Until the sender has gone.
/// assert_eq!(app.count, 5);
/// # other.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Returns the system's error: no descriptor is left.
pub fn channel<T>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    let (waker, wakeups) = waker()?;
    // Without room, a value would be passed from hand to hand, which needs a receiver that blocks.
    let (sender, receiver) = mpsc::sync_channel(capacity.max(1));
    Ok((Sender { sender, waker: WakesLast(waker) }, Receiver { receiver, wakeups }))
}

/// Sends values to a loop, from any OS thread: one end of a [`channel`]. Clones send to the same one.
#[derive(Debug)]
pub struct Sender<T> {
    sender: SyncSender<T>,
    /// Dropped after `sender`, so that the receiver that it wakes finds that one gone.
    waker: WakesLast,
}

impl<T> Sender<T> {
    /// Sends a value. Never blocks. Costs a system call if the receiver has found the channel empty since the last one.
    ///
    /// Values of one sender arrive in the order in which they were sent.
    ///
    /// # Errors
    /// Returns the value: the channel is full, or the receiver has gone. Nothing tells a sender when there is room again:
    /// drop the value, keep it for the next time, or sleep for a while.
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

/// Receives values in a hook: one end of a [`channel`], and a source.
#[derive(Debug)]
pub struct Receiver<T> {
    receiver: mpsc::Receiver<T>,
    wakeups: Wakeups,
}

impl<T> Receiver<T> {
    /// Receives a value. Never waits for one.
    ///
    /// A hook may stop before the channel is empty: it stays readable. The call that returns `Empty` costs a system call,
    /// and no other one does.
    ///
    /// # Errors
    /// `Empty`: there is none now; the next one makes this readable. `Disconnected`: there is none, and all senders have
    /// gone.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let result = self.receiver.try_recv();
        if !is_empty(&result) {
            return result;
        }
        // Taken before looking again: a value that is sent later wakes anew, and one that was sent before is found.
        self.wakeups.take();
        let result = self.receiver.try_recv();
        if !is_empty(&result) {
            // There may be more, whose wake-up has just been taken.
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
