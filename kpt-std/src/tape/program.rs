//! Programs that are started: their start and their end are recorded, and a replay starts none.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use kpt_core::Source;
use kpt_core::tape::Call;

use super::here;
use super::socket::{dev_null, outcome, record, replay};
use crate::{ChildProcess, source};

/// Starts a program. A replay returns the one on the tape, and starts nothing.
pub fn starting_program(
    command: &mut Command,
    start: impl FnOnce(&mut Command) -> io::Result<ChildProcess>,
) -> io::Result<ChildProcess> {
    if here::is_replaying() {
        return replayed(command);
    }
    let result = start(command);
    if here::is_recording() {
        let numbers = result.as_ref().map(numbers).unwrap_or_default();
        let bytes = numbers.map(u32::to_le_bytes);
        let number = outcome(&result, |child| source(child).number());
        record(Call::Start, Source::new(0), &[&words(command)], number, bytes.as_flattened());
    }
    result
}

fn replayed(command: &Command) -> io::Result<ChildProcess> {
    let (end_number, bytes) = replay(Call::Start, None, &[&words(command)])?;
    let mut numbers = bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
    let id = numbers.next().unwrap_or(0);
    let open = |number: u32| -> io::Result<OwnedFd> {
        let file = dev_null()?;
        here::with_player(|player| player.is_here(Source::new(number), source(&file)));
        Ok(file.into())
    };
    let mut pipe = || match numbers.next().unwrap_or(NONE) {
        NONE => Ok(None),
        number => open(number).map(Some),
    };
    let pipes = [pipe()?, pipe()?, pipe()?];
    Ok(ChildProcess::replayed(id, open(end_number)?, pipes))
}

/// Stands for a missing descriptor.
const NONE: u32 = u32::MAX;

/// Returns the process ID, and the numbers of the pipes.
fn numbers(child: &ChildProcess) -> [u32; 4] {
    fn number<F: AsFd>(pipe: &Option<F>) -> u32 {
        pipe.as_ref().map_or(NONE, |pipe| source(pipe).number())
    }
    [child.id(), number(&child.stdin), number(&child.stdout), number(&child.stderr)]
}

/// Returns the program and its arguments, each with a zero byte after it.
fn words(command: &Command) -> Vec<u8> {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.flat_map(|word| [word.as_bytes(), b"\0"]).collect::<Vec<_>>().concat()
}

/// Asks whether a program has ended.
pub fn asking_for_end(
    end: &impl AsFd,
    ask: impl FnOnce() -> io::Result<Option<ExitStatus>>,
) -> io::Result<Option<ExitStatus>> {
    if here::is_replaying() {
        let (number, _) = replay(Call::State, Some(source(end)), &[])?;
        return Ok(number.checked_sub(1).map(|status| ExitStatus::from_raw(status as i32)));
    }
    let result = ask();
    if here::is_recording() {
        let number = |status: &Option<ExitStatus>| {
            status.map_or(0, |status| (status.into_raw() as u32).saturating_add(1))
        };
        record(Call::State, source(end), &[], outcome(&result, number), &[]);
    }
    result
}

/// Kills a program.
pub fn killing(end: &impl AsFd, kill: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if here::is_replaying() {
        return replay(Call::Set, Some(source(end)), &[KILL]).map(drop);
    }
    let result = kill();
    if here::is_recording() {
        record(Call::Set, source(end), &[KILL], outcome(&result, |()| 0), &[]);
    }
    result
}

const KILL: &[u8] = b"kill";
