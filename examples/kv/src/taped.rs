//! A run on a tape, and a run from a tape: `--tape FILE` and `--replay FILE`.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kpt_std::kpt_core::FixedLoop;
use kpt_std::tape::{Recording, Replay, ReplayEnd};
use kpt_std::{Builder, Exit, Spawner};

use crate::server::Server;
use crate::start::{self, Log};

/// How many threads the small loop of a replay has room for.
const SMALL: usize = 256;

/// What the program is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Mode {
    Serve,
    /// Serve, and put the run on a tape.
    Record(PathBuf),
    Replay(PathBuf, Tables),
}

/// The loop of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    Large,
    Small,
}

impl Mode {
    /// Takes the options `--tape` and `--replay` from the command line. The rest is that of the server; in a replay, that is
    /// on the tape.
    ///
    /// # Errors
    /// Returns what is wrong.
    pub fn take(args: &mut Vec<String>) -> Result<Self, String> {
        if let Some(tape) = take(args, "--tape")? {
            return Ok(Self::Record(tape));
        }
        let Some(tape) = take(args, "--replay")? else { return Ok(Self::Serve) };
        match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Ok(Self::Replay(tape, Tables::Large)),
            ["--small-loop"] => Ok(Self::Replay(tape, Tables::Small)),
            _ => Err("--replay takes no other option than --small-loop".into()),
        }
    }
}

fn take(args: &mut Vec<String>, name: &str) -> Result<Option<PathBuf>, String> {
    let Some(at) = args.iter().position(|arg| arg == name) else { return Ok(None) };
    if at + 1 == args.len() {
        return Err(format!("{name} needs a file"));
    }
    let tape = args.remove(at + 1);
    args.remove(at);
    Ok(Some(tape.into()))
}

/// Runs `serve`, and records it.
pub fn record(path: &Path, serve: impl FnOnce(fn(&Server)) -> ExitCode) -> ExitCode {
    let recording = match File::create(path).and_then(Recording::start) {
        Ok(recording) => recording,
        Err(error) => {
            eprintln!("error: {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    };
    let code = serve(|server| log::info!("digest of the keys: {:016x}", server.store.digest()));
    if let Err(error) = recording.stop() {
        log::error!("{}: the tape ends before the run: {error}", path.display());
    }
    code
}

/// Runs the server as it ran when the tape was recorded, and says how far that went.
pub fn replay(path: &Path, tables: Tables) -> ExitCode {
    let replayed = fs::read(path).map_err(Into::into).and_then(|tape| replay_tape(&tape, tables));
    match replayed {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn replay_tape(tape: &[u8], tables: Tables) -> Result<String, Box<dyn Error>> {
    let replay = Replay::start(tape)?;
    let run = run(&replay, tables);
    // All calls after a difference fail: that is what has to be reported.
    if let Some(divergence) = replay.divergence() {
        return Err(divergence.to_string().into());
    }
    let (server, end) = run?;
    let (hooks, calls, keys) = (replay.hooks(), replay.digest(), server.store.digest());
    let end = match end {
        Ok(exit) => format!("{exit}, {} entries left", replay.left()),
        Err(ReplayEnd::Tape) => "the tape is at its end".to_owned(),
        Err(error) => return Err(error.into()),
    };
    Ok(format!(
        "{hooks} hooks, digest of all calls: {calls:016x}, digest of the keys: {keys:016x}\n{end}"
    ))
}

type End = Result<Exit, ReplayEnd>;

fn run(replay: &Replay, tables: Tables) -> Result<(Server, End), Box<dyn Error>> {
    let (mut config, log_file) = start::set_up(&[], Log::ToStandardError)
        .map_err(|_| "the command line on the tape is refused")?;
    start::limit_clients(&mut config)?;
    // A replay starts no task, so that none has to be driven by a loop.
    let spawner = Spawner::new();
    match tables {
        Tables::Large => {
            let builder = Builder::new().threads(start::most_threads(&config));
            let mut kpt = builder.build_on(replay.poller()?)?;
            let mut server = start::start(config, log_file, spawner, kpt.threads())?;
            let end = kpt.run(&mut server);
            Ok((server, end))
        }
        Tables::Small => {
            let mut kpt = FixedLoop::<_, Server, SMALL, u32>::new(replay.poller()?);
            let mut server = start::start(config, log_file, spawner, kpt.threads())?;
            let end = kpt.run(&mut server);
            Ok((server, end))
        }
    }
}

#[cfg(test)]
#[path = "taped_tests.rs"]
mod tests;
