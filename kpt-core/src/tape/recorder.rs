//! A poller that records what another one returns.

use core::cell::RefCell;

use super::entry::{Called, Entry};
use crate::poller::{Filtered, HookCall, Poller, Ready, Unwatchable};
use crate::source::{Interest, Source};
use crate::time::Instant;

/// What a [`Recorder`] writes to.
pub trait Tape {
    /// Records an entry other than the call of a hook.
    fn put(&mut self, entry: &Entry<'_>);

    /// Records that a hook is about to be called.
    fn hook(&mut self, call: &HookCall);

    /// Records that the hook has returned or panicked.
    fn hook_ended(&mut self) {}

    /// Records a number that does not come from the loop, such as that of a sensor, and returns it. `name` is the same in
    /// each run and identifies the number, so that a replay that asks for another one diverges.
    fn value(&mut self, name: u32, value: u64) -> u64 {
        let bytes = value.to_le_bytes();
        let length = (64_u32.saturating_sub(value.leading_zeros())).div_ceil(8) as usize;
        let bytes = bytes.get(..length).unwrap_or(&bytes);
        self.put(&Entry::Called(Called::value(name, bytes)));
        value
    }
}

/// A tape that the application shares with the recorder, for values of its own. Entries that are put on it while it is
/// borrowed are lost.
impl<T: Tape> Tape for &RefCell<T> {
    #[inline]
    fn put(&mut self, entry: &Entry<'_>) {
        if let Ok(mut tape) = self.try_borrow_mut() {
            tape.put(entry);
        }
    }

    #[inline]
    fn hook(&mut self, call: &HookCall) {
        if let Ok(mut tape) = self.try_borrow_mut() {
            tape.hook(call);
        }
    }

    #[inline]
    fn hook_ended(&mut self) {
        if let Ok(mut tape) = self.try_borrow_mut() {
            tape.hook_ended();
        }
    }
}

/// A poller around a poller, which records what enters the loop: times, what is found in a wait, which hooks are called.
///
/// It changes nothing, but reads the clock once more after each wait and after each hook, to record how long hooks take. The
/// tape is a [`Ring`](super::Ring), or one that the application shares, for values of its own:
///
/// ```
/// use core::cell::RefCell;
/// use core::sync::atomic::AtomicU32;
/// use kpt_core::tape::{Recorder, Ring, Tape};
/// # use kpt_core::{FixedLoop, sim::{SimPoller, World}};
///
/// const SENSOR: u32 = 1;
///
/// struct App<'t> {
///     tape: &'t RefCell<Ring<&'t [AtomicU32]>>,
/// }
///
/// # let world = World::<4>::new();
/// # let memory = [const { AtomicU32::new(0) }; 100];
/// let tape = RefCell::new(Ring::new(&memory[..]));
/// let poller = Recorder::new(SimPoller::new(&world), &tape);
/// let mut kpt = FixedLoop::<_, App, 4>::new(poller);
/// let hook = |app: &mut App, _: kpt_core::Thread<App>| {
///     let degrees = app.tape.value(SENSOR, 21); // In place of 21, what the sensor says.
///     assert_eq!(degrees, 21);
/// };
/// kpt.threads().add_execute("sample", hook, ()).unwrap();
/// kpt.run(&mut App { tape: &tape }).unwrap();
/// # let dump: Vec<u8> = memory.iter().flat_map(|word| word.load(core::sync::atomic::Ordering::Relaxed).to_le_bytes()).collect();
/// # let has_value = kpt_core::tape::Records::new(&dump)?.any(|record| record.to_string().contains("value on 1"));
/// # assert!(has_value);
/// # Ok::<(), kpt_core::tape::NoTape>(())
/// ```
#[derive(Debug)]
pub struct Recorder<P, T> {
    inner: P,
    tape: T,
}

impl<P: Poller, T: Tape> Recorder<P, T> {
    /// Creates a poller that records what `inner` returns.
    pub fn new(inner: P, mut tape: T) -> Self {
        tape.put(&Entry::Starts { look_after_hooks: P::LOOK_AFTER_HOOKS });
        Self { inner, tape }
    }

    /// Returns the poller inside.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    /// Returns the tape.
    pub fn tape(&self) -> &T {
        &self.tape
    }
}

impl<P: Poller, T: Tape> Poller for Recorder<P, T> {
    type Error = P::Error;

    const LOOK_AFTER_HOOKS: u32 = P::LOOK_AFTER_HOOKS;

    fn now(&mut self) -> Instant {
        let now = self.inner.now();
        self.tape.put(&Entry::Now(now));
        now
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        let result = self.inner.modify(source, interest);
        if result.is_err() {
            self.tape.put(&Entry::Refused(source));
        }
        result
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, P::Error> {
        let Self { inner, tape } = self;
        tape.put(&Entry::Sleeps(until));
        let mut found = Filtered::new(ready, |source, readiness| {
            tape.put(&Entry::Ready(source, readiness));
            readiness
        });
        let result = inner.wait(until, &mut Ready::new(&mut found));
        match result {
            Ok(now) => tape.put(&Entry::Woke(now)),
            Err(_) => tape.put(&Entry::Failed),
        }
        tape.put(&Entry::Awake(inner.now()));
        result
    }

    fn prepare(&mut self, until: Instant) -> Result<Instant, P::Error> {
        let result = self.inner.prepare(until);
        match result {
            Ok(due) => self.tape.put(&Entry::Prepared(due)),
            Err(_) => self.tape.put(&Entry::Failed),
        }
        result
    }

    fn before_hook(&mut self, call: HookCall) {
        self.inner.before_hook(call);
        self.tape.hook(&call);
    }

    fn after_hook(&mut self) {
        self.inner.after_hook();
        self.tape.hook_ended();
        self.tape.put(&Entry::Returned(self.inner.now()));
    }
}
