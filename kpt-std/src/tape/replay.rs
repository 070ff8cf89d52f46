//! A run without the system: its poller finds, and its streams receive, what is on a tape.

use std::fmt;
use std::marker::PhantomData;

use kpt_core::poller::{HookCall, Poller, Ready, Unwatchable};
use kpt_core::{Instant, Interest, Source};

use super::here::{self, Here};
use super::player::{Divergence, Player, ReplayError, Waits};
use crate::EpollPoller;

/// A replay on this OS thread, until this is dropped. Until then, streams, listeners and datagrams that are bound, connected
/// or accepted on this OS thread come from the tape, and nothing reaches the system.
///
/// The loop may be of another kind than that of the recording, such as a [`FixedLoop`](kpt_core::FixedLoop), and the
/// program may have changed: its calls are compared with the tape, up to the first one that differs.
///
/// ```
/// use kpt_std::kpt_core::FixedLoop;
/// use kpt_std::tape::{Recording, Replay};
/// use kpt_std::{EventLoop, Thread};
/// use std::time::Duration;
///
/// fn on_tick(ticks: &mut u32, thread: Thread<u32>) {
///     *ticks += 1;
///     if *ticks < 3 {
///         thread.again();
///     }
/// }
///
/// # let path = std::env::temp_dir().join(format!("kpt-doc-replay-{}", std::process::id()));
/// let recording = Recording::start(std::fs::File::create(&path)?)?;
/// let mut kpt = EventLoop::new()?;
/// kpt.threads().add_timer("tick", Duration::from_millis(1), on_tick, ())?;
/// kpt.run(&mut 0)?;
/// recording.stop()?;
///
/// let replay = Replay::start(&std::fs::read(&path)?)?;
/// let mut kpt = FixedLoop::<_, u32, 4>::new(replay.poller()?);
/// kpt.threads().add_timer("tick", Duration::from_millis(1), on_tick, ())?;
/// kpt.run(&mut 0)?;
/// assert_eq!(replay.hooks(), 3);
/// assert_eq!(replay.left(), 0);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the replay ends when this is dropped"]
pub struct Replay {
    own: PhantomData<*const ()>,
}

impl Replay {
    /// Starts to replay a tape, or a ring that has the beginning of its run, on this OS thread.
    ///
    /// # Errors
    /// Returns an error if the bytes are not such a tape, or if this OS thread records or replays already.
    pub fn start(tape: &[u8]) -> Result<Self, ReplayError> {
        let player = Player::new(tape)?;
        here::start(Here::Replays(Box::new(player))).map_err(|_| ReplayError::Busy)?;
        Ok(Self { own: PhantomData })
    }

    /// Sets the mask of the recording, so that what is sent has the same digest.
    pub fn set_mask(&self, mask: impl FnMut(Source, &mut [u8]) + 'static) {
        here::with_player(|player| player.mask = Some(Box::new(mask)));
    }

    /// Returns a poller that finds what is on the tape, for a recording of an [`EpollPoller`].
    ///
    /// # Errors
    /// Returns [`ReplayError::LooksAfter`] if the poller of the recording was one with another number.
    pub fn poller(&self) -> Result<ReplayPoller, ReplayError> {
        self.poller_that_looks_after()
    }

    /// Returns a poller that finds what is on the tape. `LOOK` is
    /// [`LOOK_AFTER_HOOKS`](Poller::LOOK_AFTER_HOOKS) of the poller that was recorded.
    ///
    /// # Errors
    /// Returns [`ReplayError::LooksAfter`] if that is another number.
    pub fn poller_that_looks_after<const LOOK: u32>(
        &self,
    ) -> Result<ReplayPoller<LOOK>, ReplayError> {
        let taped = here::with_player(|player| player.look_after_hooks).unwrap_or(LOOK);
        if taped != LOOK {
            return Err(ReplayError::LooksAfter(taped));
        }
        Ok(ReplayPoller { own: PhantomData })
    }

    /// Returns the first call that differed from the tape. After it, all calls return errors.
    pub fn divergence(&self) -> Option<Divergence> {
        here::with_player(|player| player.divergence.as_deref().cloned()).flatten()
    }

    /// Returns how many hooks have been called.
    pub fn hooks(&self) -> u64 {
        here::with_player(|player| player.hooks).unwrap_or(0)
    }

    /// Returns a hash of what this run has called so far, and of what came back: the same for each replay that came as far.
    /// Ids and the numbers of descriptors are not in it.
    pub fn digest(&self) -> u64 {
        here::with_player(|player| player.digest).unwrap_or(0)
    }

    /// Returns how many entries of the tape are left.
    pub fn left(&self) -> usize {
        here::with_player(|player| player.left()).unwrap_or(0)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        here::stop();
    }
}

/// A poller that finds what is on the tape of a [`Replay`].
#[derive(Debug)]
pub struct ReplayPoller<const LOOK: u32 = { <EpollPoller as Poller>::LOOK_AFTER_HOOKS }> {
    own: PhantomData<*const ()>,
}

/// Why a replayed wait returns an error.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReplayEnd {
    /// The tape is at its end.
    Tape,
    /// A call differed from the tape.
    Diverged(Box<Divergence>),
    /// The wait has failed in the recording. The replay can go on.
    WaitFailed,
}

impl fmt::Display for ReplayEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tape => f.write_str("the tape is at its end"),
            Self::Diverged(divergence) => divergence.fmt(f),
            Self::WaitFailed => f.write_str("this wait failed in the recording"),
        }
    }
}

impl std::error::Error for ReplayEnd {}

/// Returns why the tape has nothing for this call.
fn end() -> ReplayEnd {
    let divergence = here::with_player(|player| player.divergence.clone()).flatten();
    divergence.map_or(ReplayEnd::Tape, ReplayEnd::Diverged)
}

impl<const LOOK: u32> Poller for ReplayPoller<LOOK> {
    type Error = ReplayEnd;

    const LOOK_AFTER_HOOKS: u32 = LOOK;

    fn now(&mut self) -> Instant {
        here::with_player(|player| player.now()).unwrap_or_default()
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        let is_refused = || here::with_player(|player| player.is_refused(source));
        if !interest.is_none() && is_refused() == Some(true) { Err(Unwatchable) } else { Ok(()) }
    }

    fn wait(&mut self, _: Instant, ready: &mut Ready<'_>) -> Result<Instant, ReplayEnd> {
        loop {
            match here::with_player(|player| player.waits()).flatten().ok_or_else(end)? {
                Waits::Finds(source, readiness) => ready.push(source, readiness),
                Waits::Returns(now) => return Ok(now),
                Waits::Fails => return Err(ReplayEnd::WaitFailed),
            }
        }
    }

    fn prepare(&mut self, _: Instant) -> Result<Instant, ReplayEnd> {
        let prepared = here::with_player(|player| player.prepares()).flatten().ok_or_else(end)?;
        prepared.ok_or(ReplayEnd::WaitFailed)
    }

    fn before_hook(&mut self, call: HookCall) {
        here::with_player(|player| player.hook(&call));
    }
}
