//! Faults of listeners, by their numbers.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use kpt_std::{Listener, Stream, Thread, When, source};
use kpt_tests::loops::real_loop;
use kpt_tests::process::{all_in_own_process, command, in_own_process, is_own_process};
use kpt_tests::sys;
use kpt_tests::time::millis;

/// The state of a server that keeps its clients, and stops when there are enough.
struct Server {
    listener: Listener,
    enough: usize,
    clients: Vec<Stream>,
    errors: Vec<Error>,
    calls: u32,
    hoard: Vec<File>,
}

impl Server {
    fn new(enough: usize) -> Self {
        let listener = Listener::bind(([127, 0, 0, 1], 0)).unwrap();
        let (clients, errors, hoard) = (Vec::new(), Vec::new(), Vec::new());
        Self { listener, enough, clients, errors, calls: 0, hoard }
    }

    fn connect(&self, count: usize) -> Vec<Stream> {
        let address = self.listener.local().ip().unwrap();
        (0..count).map(|_| Stream::connect(address).unwrap()).collect()
    }

    fn on_connection(&mut self, thread: Thread<Self>) {
        self.calls += 1;
        loop {
            match self.listener.accept() {
                Ok(Some(stream)) => self.clients.push(stream),
                Ok(None) => break,
                Err(error) => self.errors.push(error),
            }
        }
        if self.clients.len() < self.enough {
            thread.again_when(self.listener.when()).unwrap();
        }
    }

    fn on_relief(&mut self, _: Thread<Self>) {
        self.hoard.clear();
    }
}

/// Of 100 clients, 20 are accepted; the others come when there are descriptors again. Each pause is a call.
#[test]
fn f17_no_descriptors_left_is_a_pause_and_no_spin() {
    all_in_own_process("f17_no_descriptors_left_is_a_pause_and_no_spin", |real| {
        let mut server = Server::new(100);
        let _clients = server.connect(100);
        let mut kpt = real_loop(4, real);
        kpt.threads().add("accept", server.listener.when(), Server::on_connection, ()).unwrap();
        kpt.threads().add_timer("relief", millis(450), Server::on_relief, ()).unwrap();
        sys::set_descriptor_limit(400).unwrap();
        while let Ok(file) = File::open("/dev/null") {
            server.hoard.push(file);
        }
        server.hoard.truncate(server.hoard.len() - 20);
        let mut turns = 0;
        while kpt.turn(&mut server).unwrap().is_none() {
            turns += 1;
        }
        assert_eq!(server.clients.len(), 100);
        let [error] = &server.errors[..] else { panic!("{:?}", server.errors) };
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        assert!(server.calls <= 10 && turns <= 15, "{} calls in {turns} turns", server.calls);
    });
}

/// Errors of a connection take the next one. Errors of the process are told once, and again after it has gone well.
#[test]
fn f17_each_error_of_accept_is_told_or_passed_over() {
    const NAME: &str = "f17_each_error_of_accept_is_told_or_passed_over";
    if !is_own_process(NAME) {
        let of_connection =
            ["EINTR", "ECONNABORTED", "ECONNRESET", "EPROTO", "ENETDOWN", "EHOSTUNREACH", "ENONET"];
        let of_process = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM", "EOPNOTSUPP", "EINVAL"];
        let of_connection = of_connection.map(|error| (error, "0"));
        let of_process = of_process.map(|error| (error, "1"));
        // musl takes EINVAL for an old kernel, and makes another call.
        let is_told = |&(error, _): &_| !cfg!(target_env = "musl") || error != "EINVAL";
        let all = of_connection.into_iter().chain(of_process).filter(is_told);
        return all.for_each(|(error, errors)| run_with(NAME, error, errors));
    }
    let errors: usize = std::env::var("KPT_TESTS_ERRORS").unwrap().parse().unwrap();
    let mut server = Server::new(2);
    let _clients = server.connect(2);
    let accept = |server: &mut Server| server.listener.accept().map(|stream| stream.is_some());
    let readable = When::Readable(source(&server.listener));
    if errors == 1 {
        assert!(accept(&mut server).is_err());
        for _ in 0..2 {
            assert!(!accept(&mut server).unwrap());
            assert!(matches!(server.listener.when(), When::After(pause) if pause >= millis(10)));
        }
    }
    assert!(accept(&mut server).unwrap());
    assert_eq!(server.listener.when(), readable);
    assert!(accept(&mut server).unwrap());
    assert!(!accept(&mut server).unwrap());
    assert_eq!(server.listener.when(), readable);
}

/// Runs the test of that name in a process whose first three calls of accept return the error.
fn run_with(name: &str, error: &str, errors: &str) {
    let test = command(name);
    let strace = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4"])
        .args(["-e", &format!("inject=accept4:error={error}:when=1..3")])
        .arg(test.get_program())
        .args(test.get_args())
        .envs(test.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("KPT_TESTS_ERRORS", errors)
        .stdin(Stdio::null())
        .output();
    let Ok(output) = strace else { return println!("SKIPPED: there is no strace") };
    let (out, err) = (&output.stdout, &output.stderr);
    let text = format!("{} {}", String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    assert!(output.status.success(), "{error}: {text}");
}

/// All clients come back at the same time. Those for whom there is no room in the backlog would try again after a second.
#[test]
fn f19_nine_hundred_connections_at_once_are_not_dropped() {
    in_own_process("f19_nine_hundred_connections_at_once_are_not_dropped", || {
        sys::raise_descriptor_limit().unwrap();
        let mut server = Server::new(900);
        let clients = server.connect(900);
        let is_connected = |client: &Stream| client.is_connected().unwrap();
        std::thread::sleep(millis(100));
        assert_eq!(clients.iter().filter(|client| is_connected(client)).count(), 900);

        // Others have their turns in between.
        let mut turns = 0;
        while server.clients.len() < 900 {
            let before = server.clients.len();
            while let Some(stream) = server.listener.accept().unwrap() {
                server.clients.push(stream);
            }
            assert!(server.clients.len() - before <= 64);
            turns += 1;
        }
        assert!((15..=16).contains(&turns), "{turns}");
    });
}

/// With a backlog of the application's choice, which may be set at any time.
#[test]
fn a_backlog_may_be_set_for_a_listener_of_the_standard_library() {
    let listener = Listener::try_from(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    listener.set_backlog(1).unwrap();
    let address = listener.local().ip().unwrap();
    let clients: Vec<_> = (0..10).map(|_| Stream::connect(address).unwrap()).collect();
    std::thread::sleep(millis(50));
    let connected = clients.iter().filter(|client| client.is_connected().unwrap()).count();
    assert!((1..=2).contains(&connected), "{connected}");
}

/// An application that has no room for more takes none until later, though they are there.
#[test]
fn a_pause_holds_connections_back() {
    let mut server = Server::new(3);
    let _clients = server.connect(3);
    assert!(server.listener.accept().unwrap().is_some());
    server.listener.pause();
    assert_eq!(server.listener.when(), When::After(Duration::from_millis(100)));
    assert!(server.listener.accept().unwrap().is_some());
    assert_eq!(server.listener.when(), When::Readable(source(&server.listener)));
}

/// What is accepted does not block, and no other program gets it.
#[test]
fn what_is_accepted_does_not_block_and_closes_on_exec() {
    let mut server = Server::new(1);
    let clients = server.connect(1);
    let mut stream = server.listener.accept().unwrap().unwrap();
    let error = std::io::Read::read(&mut stream, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    for number in [source(&server.listener), source(&stream), source(&clients[0])] {
        let path = format!("/proc/self/fdinfo/{}", number.number());
        let text = std::fs::read_to_string(path).unwrap();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
        assert_eq!(flags & libc::O_CLOEXEC, libc::O_CLOEXEC, "{text}");
        assert_eq!(flags & libc::O_NONBLOCK, libc::O_NONBLOCK, "{text}");
    }
}
