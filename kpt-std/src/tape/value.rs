//! What an application receives otherwise than through the loop and its sockets.

use std::io;
use std::os::fd::AsFd;

use kpt_core::Source;
use kpt_core::tape::{Call, Called};

use super::here;
use super::socket::{code, outcome, record, replay};
use crate::source;

/// The result of a value that is bytes, and of any other one 0.
pub(super) const BYTES: u32 = 1;

/// Returns a value that does not come from the loop or its sockets, such as a random number or the time of day: that of
/// `get`, or in a replay that on the tape, and `get` is not called. `name` says which value it is, so that a replay that
/// asks for another one is noticed.
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

/// The same for bytes, and for an action that may fail: a file that is read, the output of a program. In a replay, neither
/// is there, and `get` is not called; so this is for what an application does to the world, too, whose outcome it looks at.
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

/// Notes that the application has opened a file that threads wait for, other than kpt's own sockets: in a replay, what
/// the tape says of that file is said of this one, which is to be opened there, too. What is read from it is up to the
/// application: see [`bytes`].
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

/// Opens something of kpt's that is not a socket. In a replay that is what `stand_in` opens, if it was opened on the tape.
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

/// Takes a number from something of kpt's that is not a socket: in a replay from the tape, and 0 when that is at its end.
#[inline]
pub(crate) fn taking(call: Taken, from: &impl AsFd, take: impl FnOnce() -> u32) -> u32 {
    let call = match call {
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
    Signal,
    WakeUp,
}
