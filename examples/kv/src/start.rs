//! From the command line to a server that has its threads. All that is read here is on the tape, if there is one.

use std::error::Error;
use std::io::{self, Write};
use std::process::{self, ExitCode};
use std::time::Duration;

use kpt_std::{Listener, Signals, Spawner, source};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::accept;
use crate::config::Config;
use crate::logging::LogFile;
use crate::outside::Outside;
use crate::saves::Saves;
use crate::server::{Parts, Server, ServerThreads};
use crate::signals;
use crate::snapshot_file::{self, Clocks};

/// The threads that are neither of clients nor of keys: accept, signals, periodic save, a save and its limit.
const OTHER_THREADS: usize = 6;
/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;
/// The descriptors that are not of clients.
const OTHER_DESCRIPTORS: usize = 32;

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    AsConfigured,
    ToStandardError,
}

/// Parses the command line and starts the log. If that fails, prints why, and returns the exit code of the program.
pub fn set_up(args: &[String], log: Log) -> Result<(Config, LogFile), ExitCode> {
    let taped = Outside::Args
        .bytes(|| Ok(args.iter().flat_map(|arg| [arg, "\0"]).collect::<String>().into()));
    let taped = taped.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let config = taped
        .map_err(|error| error.to_string())
        .and_then(|args| Config::parse(args.split_terminator('\0').map(str::to_owned)));
    let config = config.map_err(|error| {
        eprintln!("error: {error}; --help says more");
        ExitCode::from(2)
    })?;
    let path = config.logfile.clone().filter(|_| log == Log::AsConfigured);
    let log_file = LogFile::start(path, config.loglevel).map_err(|error| {
        eprintln!("error: the log can't be opened: {error}");
        ExitCode::FAILURE
    })?;
    Ok((config, log_file))
}

/// Raises the limit of open files to what the clients need, or else reduces the number of clients. Called before the loop is
/// made, which can watch as many descriptors as the limit is then.
pub fn limit_clients(config: &mut Config) -> io::Result<()> {
    let wanted = (config.maxclients + OTHER_DESCRIPTORS) as u64;
    let limit = Outside::OpenFiles.attempt(|| {
        let mut limit = getrlimit(Resource::Nofile);
        if limit.current.is_some_and(|now| now < wanted) {
            limit.current = limit.maximum.map_or(Some(wanted), |most| Some(most.min(wanted)));
            setrlimit(Resource::Nofile, limit)?;
        }
        Ok(limit.current.unwrap_or(u64::MAX))
    })?;
    if limit < wanted {
        config.maxclients = (limit as usize).saturating_sub(OTHER_DESCRIPTORS).max(1);
        log::warn!("at most {} clients, as the limit of open files is {limit}", config.maxclients);
    }
    Ok(())
}

/// Returns how many threads the loop needs room for.
pub fn most_threads(config: &Config) -> usize {
    config.maxclients * accept::THREADS_PER_CLIENT + config.limits.expiring_keys + OTHER_THREADS
}

/// Listens, reads the keys, and adds the first threads.
pub fn start(
    mut config: Config,
    log_file: LogFile,
    spawner: Spawner,
    mut threads: ServerThreads,
) -> Result<Server, Box<dyn Error>> {
    let listener = Listener::bind((config.bind, config.port))?;
    listener.set_backlog(BACKLOG)?;
    let address = listener.local();
    config.port = address.ip().map_or(config.port, |address| address.port());
    let signals = Signals::new(signals::SIGNALS)?;

    let path = config.snapshot();
    snapshot_file::remove_temporaries(&path)?;
    let store = snapshot_file::load(&path, Clocks::at(threads.now()))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    log::info!("{} keys from {}", store.len(), path.display());

    let saves = Saves::new(spawner);
    let parts = Parts { config, store, saves, log_file, listener, signals };
    let mut server = Server::new(parts, threads.now());
    server.timers.follow(&mut server.store, threads.reborrow());
    threads.add("accept", server.listener.when(), Server::on_connection, 0)?;
    threads.add_read("signals", source(&server.signals), Server::on_signal, 0)?;
    if server.config.save > Duration::ZERO {
        threads.add_timer("save", server.config.save, Server::on_save_time, 0)?;
    }

    log::info!("process {}, listening on {address}", process::id());
    // For a program that starts the server with port 0, and waits until it is ready. It may have ended.
    let _ = writeln!(io::stdout(), "listening on {address}");
    Ok(server)
}
