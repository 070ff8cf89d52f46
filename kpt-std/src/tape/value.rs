//! What an application receives by other ways than the loop and its sockets.

use std::io;
use std::os::fd::AsFd;

use kpt_core::Source;
use kpt_core::tape::{Call, Called};

use super::here;
use super::socket::{code, outcome, record, replay};
use crate::source;

/// The result of a call that returned bytes as a value; it is 0 for a number.
pub(super) const BYTES: u32 = 1;

/// Returns a value that does not come from the loop or its sockets, such as a random number or the time of day: what `get`
/// returns, or in a replay what is on the tape; then `get` is not called. `name` is a number of your choice, the same in
/// each run, so that a replay that asks for another value diverges.
///
/// ```
/// let seed = kpt_std::tape::value(1, || std::process::id().into());
/// # assert_eq!(seed, u64::from(std::process::id()));
/// ```
///
/// What `get` does is not on the tape by itself. A replay that has diverged, or whose tape is at its end, returns 0.
pub fn value(name: u32, get: impl FnOnce() -> u64) -> u64 {
    if here::is_replaying() {
        return taped(name).map_or(0, |bytes| {
            let mut value = [0; 8];
            let length = bytes.len().min(value.len());
            value[..length].copy_from_slice(&bytes[..length]);
            u64::from_le_bytes(value)
        });
    }
    let value = here::unrecorded(get);
    if here::is_recording() {
        let length = (u64::BITS - value.leading_zeros()).div_ceil(8) as usize;
        put(&Called::value(name, &value.to_le_bytes()[..length]));
    }
    value
}

/// Returns bytes that do not come from the loop or its sockets, as [`value`] returns a number: the contents of a file, or the
/// output of a program. Also use it for an action whose result the application looks at, such as the removal of a file: a
/// replay returns the result, and does not call `get`.
///
/// ```
/// use kpt_std::tape;
///
/// const HOSTS: u32 = 1;
/// const REMOVE: u32 = 2;
/// # let path = "/no/such/file";
///
/// let hosts = tape::bytes(HOSTS, || std::fs::read("/etc/hosts"));
/// let removed = tape::bytes(REMOVE, || std::fs::remove_file(path).map(|()| Vec::new()));
/// # assert!(removed.is_err());
/// ```
///
/// What `get` does is not on the tape by itself.
///
/// # Errors
/// Returns the error of `get`; in a replay its number, or `EIO` if it had none. Returns an error also from a replay that
/// has diverged, or whose tape is at its end.
pub fn bytes(name: u32, get: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    if here::is_replaying() {
        return taped(name);
    }
    let result = here::unrecorded(get);
    if here::is_recording() {
        let bytes = result.as_deref().unwrap_or_default();
        let code = result.as_ref().map(|_| BYTES).map_err(code);
        put(&Called { result: code, ..Called::value(name, bytes) });
    }
    result
}

fn taped(name: u32) -> io::Result<Vec<u8>> {
    let back = here::with_player(|player| player.value(Source::new(name)));
    back.map_or_else(|| Err(io::Error::other("the replay is over")), |bytes| Ok(bytes?.to_vec()))
}

#[cold]
fn put(called: &Called<'_>) {
    here::with_writer(|writer| writer.called(called));
}

/// Notes that the application has opened a file for which threads wait, and which is not a socket of kpt. In a replay, the
/// application must open a file and call this, too: the readiness that the tape has for the one is found on the other. What
/// is read from it is not on the tape: see [`bytes`].
pub fn opened(file: &impl AsFd) {
    let here = source(file);
    if here::is_replaying() {
        if let Ok((number, _)) = replay(Call::Bind, None, &[]) {
            here::with_player(|player| player.is_here(Source::new(number), here));
        }
    } else if here::is_recording() {
        record(Call::Bind, Source::new(0), &[], Ok(here.number()), &[]);
    }
}

/// Opens something of kpt that is not a socket. In a replay, calls `stand_in` in place of `open`, unless `open` had failed.
pub(crate) fn opening_other<T: AsFd>(
    what: &str,
    open: impl FnOnce() -> io::Result<T>,
    stand_in: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    if here::is_replaying() {
        let (number, _) = replay(Call::Bind, None, &[what.as_bytes()])?;
        let opened = stand_in()?;
        here::with_player(|player| player.is_here(Source::new(number), source(&opened)));
        return Ok(opened);
    }
    let result = open();
    if here::is_recording() {
        let result = outcome(&result, |opened| source(opened).number());
        record(Call::Bind, Source::new(0), &[what.as_bytes()], result, &[]);
    }
    result
}

/// Takes a number from something of kpt that is not a socket; in a replay from the tape, and 0 at its end.
#[inline]
pub(crate) fn taking(call: Taken, from: &impl AsFd, take: impl FnOnce() -> u32) -> u32 {
    let call = match call {
        #[cfg(feature = "signals")]
        Taken::Signal => Call::Signal,
        Taken::WakeUp => Call::State,
    };
    if here::is_replaying() {
        return replay(call, Some(source(from)), &[]).map_or(0, |(number, _)| number);
    }
    let number = take();
    if here::is_recording() {
        record(call, source(from), &[], Ok(number), &[]);
    }
    number
}

/// What is taken.
#[derive(Clone, Copy)]
pub(crate) enum Taken {
    #[cfg(feature = "signals")]
    Signal,
    WakeUp,
}
