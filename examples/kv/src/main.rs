//! A Redis-compatible server, in one OS thread: an event loop of kpt, whose pseudo threads are the clients, a timer for
//! each key with a deadline, signals, and a task that saves.
//!
//! The files, from the bottom up: `request`, `reply` and `glob` are the protocol; `store` the keys; `outside` what is put on
//! a tape besides sockets; `snapshot` and `snapshot_file` what is on the disk; `client` a connection; `commands` what clients
//! can ask for; `server`, `accept`, `expiry`, `saver`, `saves` and `signals` the hooks; `start` makes a server, and `taped`
//! one whose run is on a tape. The first four know nothing of kpt but its time.

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
mod outside;
mod planted;
mod reply;
mod request;
mod saver;
mod saves;
mod server;
mod signals;
mod snapshot;
mod snapshot_file;
mod start;
mod store;
mod taped;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use kpt_std::{Builder, EpollPoller};

use config::{Config, HELP};
use logging::LogFile;
use server::Server;
use start::Log;
use taped::Mode;

fn main() -> ExitCode {
    let mut args: Vec<String> =
        env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{}", HELP.trim());
        return ExitCode::SUCCESS;
    }
    match Mode::take(&mut args) {
        Ok(Mode::Serve) => serve(&args, |_| {}),
        Ok(Mode::Record(path)) => taped::record(&path, |at_end| serve(&args, at_end)),
        Ok(Mode::Replay(path, tables)) => taped::replay(&path, tables),
        Err(error) => {
            eprintln!("error: {error}; --help says more");
            ExitCode::from(2)
        }
    }
}

fn serve(args: &[String], at_end: fn(&Server)) -> ExitCode {
    let (config, log_file) = match start::set_up(args, Log::AsConfigured) {
        Ok(parts) => parts,
        Err(code) => return code,
    };
    match run(config, log_file, at_end) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut config: Config, log_file: LogFile, at_end: fn(&Server)) -> Result<(), Box<dyn Error>> {
    start::limit_clients(&mut config)?;
    let poller = EpollPoller::new()?.spin_before_sleep(config.spin);
    let mut kpt = Builder::new().threads(start::most_threads(&config)).build_on(poller)?;
    let spawner = kpt.spawner();
    let mut server = start::start(config, log_file, spawner, kpt.threads())?;
    kpt.run(&mut server)?;
    at_end(&server);
    log::info!("has ended");
    Ok(())
}
