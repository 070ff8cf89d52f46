//! Simulated signals: those that a test sends to the application.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use super::net::{File, Handle};
use super::{Sim, world};
use crate::{Signal, sys};

/// The signals that a `Signals` waits for. Signal n is bit n - 1.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    wanted: u64,
    came: Cell<u64>,
    pub is_set: Cell<bool>,
    /// They are those of the application, and not those of a task or another peer.
    is_tried: bool,
}

/// What [`Signals`](crate::Signals) has in a simulation.
#[derive(Debug)]
pub struct SimSignals(Handle);

impl SimSignals {
    /// Waits for signals in the current simulation; `None` if there is none.
    pub fn open(signals: &[Signal]) -> Option<io::Result<Self>> {
        world::current().map(|sim| {
            signals.iter().try_for_each(|signal| sys::check_signal(signal.number()))?;
            let wanted = signals.iter().fold(0, |all, &signal| all | bit(signal));
            let is_tried = sim.world().is_application();
            let mut net = sim.world().net.borrow_mut();
            net.handled |= if is_tried { wanted } else { 0 };
            let waiting = Waiting { wanted, is_tried, ..Waiting::default() };
            net.open(File::Signals(Rc::new(waiting))).map(Self)
        })
    }

    /// Takes the lowest signal that has come. The source stays readable until this returns `None`.
    pub fn take(&self) -> Option<Signal> {
        let taken = self.0.with(|sim, _, file| {
            let File::Signals(waiting) = file else { return None };
            let came = waiting.came.get();
            if came == 0 {
                waiting.is_set.set(false);
                return None;
            }
            waiting.came.set(came & (came - 1));
            let signal = Signal::new(came.trailing_zeros() as i32 + 1);
            sim.run().mix_number(came);
            sim.note(|| format!("takes {signal}"));
            Some(signal)
        });
        taken.ok().flatten()
    }
}

impl AsFd for SimSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Signals.
impl Sim {
    /// Sends a signal to the application: each of its [`Signals`](crate::Signals) that waits for it has it at once. To send
    /// one later, use an action: `sim.after(delay, |sim| sim.signal(Signal::TERM))`, or `client.call(|sim| sim.signal(..))`.
    ///
    /// A signal that the application has not waited for so far has its default effect: the run fails if that would have
    /// ended the process. Simulated tasks do not get the signal.
    pub fn signal(&self, signal: Signal) {
        let net = self.world().net.borrow();
        for waiting in net.waiting().filter(|it| it.is_tried && it.wanted & bit(signal) != 0) {
            waiting.came.set(waiting.came.get() | bit(signal));
            waiting.is_set.set(true);
        }
        let has_effect = bit(signal) & !net.handled != 0 && is_end(signal);
        drop(net);
        self.note(|| format!("the application gets {signal}"));
        if has_effect {
            self.fail(
                "a signal ends the application",
                format_args!("{signal}, which it does not wait for"),
            );
        }
    }
}

fn bit(signal: Signal) -> u64 {
    u32::try_from(signal.number())
        .map_or(0, |number| 1_u64.checked_shl(number.wrapping_sub(1)).unwrap_or(0))
}

/// Returns whether the default action of the signal ends a process.
fn is_end(signal: Signal) -> bool {
    !matches!(
        signal.number(),
        libc::SIGCHLD
            | libc::SIGCONT
            | libc::SIGURG
            | libc::SIGWINCH
            | libc::SIGSTOP
            | libc::SIGTSTP
            | libc::SIGTTIN
            | libc::SIGTTOU
    )
}
