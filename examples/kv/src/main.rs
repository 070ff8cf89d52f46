//! A Redis-compatible server, in one OS thread: an event loop of kpt, whose pseudo threads are the clients, a timer for
//! each key that ends some time, signals, and a task that saves.
//!
//! The files, from the bottom up: `request`, `reply` and `glob` are the protocol; `store` the keys; `snapshot` and
//! `snapshot_file` what is on the disk; `client` a connection; `commands` what clients can ask for; `server`, `accept`,
//! `expiry`, `saver`, `saves` and `signals` the hooks. The first five know nothing of kpt but its time.

#![forbid(unsafe_code)]

mod accept;
mod client;
mod commands;
mod config;
mod expiry;
#[cfg(test)]
mod explored_tests;
mod glob;
mod info;
mod logging;
mod planted;
mod reply;
mod request;
mod saver;
mod saves;
mod server;
mod signals;
mod snapshot;
mod snapshot_file;
mod store;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, process};

use kpt_std::{EventLoop, Listener, Signals, source};
use rustix::process::{Resource, getrlimit, setrlimit};

use config::{Config, HELP};
use logging::LogFile;
use saves::Saves;
use server::{Parts, Server};
use snapshot_file::Clocks;

/// The threads that are neither of clients nor of keys: accept, signals, periodic save, a save and its limit.
const OTHER_THREADS: usize = 6;
/// How many connections wait to be accepted.
const BACKLOG: u32 = 1024;
/// The descriptors that are not of clients.
const OTHER_DESCRIPTORS: usize = 32;

fn main() -> ExitCode {
    let args: Vec<String> =
        env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{}", HELP.trim());
        return ExitCode::SUCCESS;
    }
    let config = match Config::parse(args) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}; --help says more");
            return ExitCode::from(2);
        }
    };
    let log_file = match LogFile::start(config.logfile.clone(), config.loglevel) {
        Ok(log_file) => log_file,
        Err(error) => {
            eprintln!("error: the log can't be opened: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run(config, log_file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut config: Config, log_file: LogFile) -> Result<(), Box<dyn Error>> {
    limit_clients(&mut config)?;
    let listener = Listener::bind((config.bind, config.port))?;
    listener.set_backlog(BACKLOG)?;
    let address = listener.local();
    config.port = address.ip().map_or(config.port, |address| address.port());

    let most = config.maxclients * accept::THREADS_PER_CLIENT
        + config.limits.expiring_keys
        + OTHER_THREADS;
    let mut kpt = EventLoop::with_capacity(most)?;
    let saves = Saves::new(kpt.spawner());
    let signals = Signals::new(signals::SIGNALS)?;
    let mut threads = kpt.threads();

    let path = config.snapshot();
    snapshot_file::remove_temporaries(&path)?;
    let store = snapshot_file::load(&path, Clocks::at(threads.now()))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    log::info!("{} keys from {}", store.len(), path.display());

    let parts = Parts { config, store, saves, log_file, listener, signals };
    let mut server = Server::new(parts, threads.now());
    server.timers.follow(&mut server.store, threads.reborrow());
    threads.add("accept", server.listener.when(), Server::on_connection, 0)?;
    threads.add_read("signals", source(&server.signals), Server::on_signal, 0)?;
    if server.config.save > Duration::ZERO {
        threads.add_timer("save", server.config.save, Server::on_save_time, 0)?;
    }

    log::info!("process {}, listening on {address}", process::id());
    // For those who start it with port 0, and wait until it is ready. They may have gone.
    let _ = writeln!(io::stdout(), "listening on {address}");
    kpt.run(&mut server)?;
    log::info!("has ended");
    Ok(())
}

/// Has the process open as many files as its clients need, or else has fewer clients. The loop can watch as many as the
/// limit is when it is made.
fn limit_clients(config: &mut Config) -> Result<(), Box<dyn Error>> {
    let wanted = (config.maxclients + OTHER_DESCRIPTORS) as u64;
    let mut limit = getrlimit(Resource::Nofile);
    let is_enough = |now: Option<u64>| now.is_none_or(|now| now >= wanted);
    if is_enough(limit.current) {
        return Ok(());
    }
    limit.current = limit.maximum.map_or(Some(wanted), |most| Some(most.min(wanted)));
    setrlimit(Resource::Nofile, limit)?;
    if !is_enough(limit.current) {
        let has = limit.current.unwrap_or(wanted) as usize;
        config.maxclients = has.saturating_sub(OTHER_DESCRIPTORS).max(1);
        log::warn!("at most {} clients, as the limit of open files is {has}", config.maxclients);
    }
    Ok(())
}
