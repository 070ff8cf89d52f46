//! Faults on purpose, which the explored tests must find. The program has none of them: only tests can plant one.

#[cfg(test)]
use std::cell::Cell;

/// A fault that a server may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A client with unsent replies waits for requests only.
    LostWakeUp,
    /// The number of a client whose connection breaks is given back twice.
    DoubleClose,
    /// The timer of a key that is removed goes on.
    TimerKept,
    /// Replies overtake those that are unsent.
    Reordered,
    /// A snapshot that takes too long is not given up.
    HungSave,
    /// A request whose reply has to wait does not put off the end of a client's idle time.
    IdleNotPutOff,
    /// A client may leave any number of replies.
    OutputUnbounded,
    /// No client is accepted after there was no descriptor for one.
    DescriptorsFatal,
    /// The timer of a client's idle time goes on when its connection has broken.
    StaleId,
    /// A client that sends no more does not get the rest of what was sent in part.
    HalfCloseIsEnd,
}

#[cfg(test)]
thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Returns whether the server has this fault.
#[cfg(test)]
pub fn has(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Returns whether the server has this fault: it has none.
#[cfg(not(test))]
pub const fn has(_: Fault) -> bool {
    false
}

/// Gives the servers of this OS thread a fault while `work` runs.
#[cfg(test)]
pub fn with<R>(fault: Option<Fault>, work: impl FnOnce() -> R) -> R {
    PLANTED.set(fault);
    let result = work();
    PLANTED.set(None);
    result
}
