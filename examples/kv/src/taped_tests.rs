//! A server that has changed since its run was recorded, and one that has not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, sleep};
use std::time::Duration;

use kpt_std::kpt_core::poller::Poller;
use kpt_std::{EventLoop, Listener, Signals};

use super::*;
use crate::config::Config;
use crate::logging::LogFile;
use crate::planted::{self, Fault};
use crate::saves::Saves;
use crate::server::Parts;
use crate::store::Store;

/// A server with what `start` makes of its arguments, but for signals and files.
fn run_on<P: Poller>(
    mut kpt: EventLoop<Server, u32, P>,
    listening: impl FnOnce(SocketAddr),
) -> Result<Exit, P::Error> {
    let args = ["--port", "0", "--save", "0"];
    let config = Config::parse(args.map(str::to_owned)).unwrap();
    let parts = Parts {
        listener: Listener::bind((config.bind, config.port)).unwrap(),
        config,
        store: Store::default(),
        saves: Saves::new(Spawner::new()),
        log_file: LogFile::none(),
        signals: Signals::new(&[]).unwrap(),
    };
    let mut threads = kpt.threads();
    let mut server = Server::new(parts, threads.now());
    threads.add("accept", server.listener.when(), Server::on_connection, 0).unwrap();
    listening(server.listener.local().ip().unwrap());
    kpt.run(&mut server)
}

/// A client with a key that is removed before its deadline.
fn talk(server: SocketAddr) {
    let mut client = TcpStream::connect(server).unwrap();
    let mut ask = |request: &[u8]| {
        client.write_all(request).unwrap();
        client.read(&mut [0; 100]).unwrap()
    };
    ask(b"SET a 1 PX 30\r\n");
    ask(b"DEL a\r\n");
    sleep(Duration::from_millis(100));
    ask(b"PING\r\n");
    ask(b"SHUTDOWN NOSAVE\r\n");
}

#[test]
fn a_changed_server_is_told_at_its_first_call_that_differs() {
    let path = std::env::temp_dir().join(format!("kv-tape-{}", std::process::id()));
    let recording = Recording::start(File::create(&path).unwrap()).unwrap();
    let mut client = None;
    let start = |address| client = Some(thread::spawn(move || talk(address)));
    assert_eq!(run_on(EventLoop::with_capacity(64).unwrap(), start).unwrap(), Exit::Stopped);
    recording.stop().unwrap();
    client.unwrap().join().unwrap();
    let tape = fs::read(&path).unwrap();
    fs::remove_file(path).unwrap();

    let replay = |fault| {
        let replay = Replay::start(&tape).unwrap();
        let kpt = Builder::new().threads(64).build_on(replay.poller().unwrap()).unwrap();
        let end = planted::with(fault, || run_on(kpt, |_| {}));
        match end {
            Ok(exit) => {
                assert_eq!((exit, replay.left()), (Exit::Stopped, 0));
                None
            }
            Err(ReplayEnd::Diverged(divergence)) => Some(divergence),
            Err(end) => panic!("{end}"),
        }
    };
    assert!(replay(None).is_none());
    let Some(divergence) = replay(Some(Fault::TimerKept)) else { panic!("the same") };
    assert!(divergence.called.starts_with("hook expire"), "{divergence}");
}
