//! Streams and datagrams on real sockets, with the clients that a daemon meets.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

use kpt_std::{
    Address, BufferedStream, Datagram, Exit, Interest, Listener, Stream, Thread, When, source,
};
use kpt_tests::loops::{BoxedLoop, real_loop};
use kpt_tests::real::Real;
use kpt_tests::time::millis;

/// A server that sends back what it receives: how often its hook was called, and how its clients ended.
#[derive(Default)]
struct Echo {
    calls: u32,
    most_unsent: usize,
    timers: u32,
    ended: Vec<Option<ErrorKind>>,
}

type EchoLoop<'p> = BoxedLoop<'p, Echo, Option<BufferedStream>, Error>;

/// Of the server's buffers.
const MOST: usize = 10_000;

impl Echo {
    fn on_client(&mut self, mut thread: Thread<Self, Option<BufferedStream>>) {
        self.calls += 1;
        let client = thread.arg.as_mut().unwrap();
        let result = serve(client);
        self.most_unsent = self.most_unsent.max(client.unsent());
        match result {
            Ok(true) => {
                let when = when(client);
                thread.again_when(when).unwrap();
            }
            Ok(false) => self.ended.push(None),
            Err(error) => self.ended.push(Some(error.kind())),
        }
    }

    fn on_timer(&mut self, _: Thread<Self, Option<BufferedStream>>) {
        self.timers += 1;
    }
}

fn serve(client: &mut BufferedStream) -> Result<bool, Error> {
    client.fill()?;
    loop {
        let (input, output) = client.input_and_output();
        let count = input.len().min(output.room());
        output.queue(&input[..count]).unwrap();
        client.consume(count);
        if !client.flush()? || count == 0 {
            return Ok(!client.wants().is_none());
        }
    }
}

fn when(client: &BufferedStream) -> When {
    When::Ready(source(client), client.wants())
}

/// Both ends of a connection of each kind.
fn connections() -> Vec<(Stream, Stream)> {
    let (here, there) = UnixStream::pair().unwrap();
    let unix = (here.try_into().unwrap(), there.try_into().unwrap());
    let mut listener = Listener::bind(([127, 0, 0, 1], 0)).unwrap();
    let client = Stream::connect(listener.local().ip().unwrap()).unwrap();
    let server = accept(&mut listener);
    vec![unix, (server, client)]
}

fn accept(listener: &mut Listener) -> Stream {
    for _ in 0..1_000 {
        if let Some(stream) = listener.accept().unwrap() {
            return stream;
        }
        std::thread::sleep(millis(1));
    }
    panic!("nobody connects");
}

/// A loop with one client, for each kind of loop, poller and connection.
fn each(test: impl Fn(&mut EchoLoop, &mut Echo, Stream)) {
    for real in Real::all() {
        for (server, client) in connections() {
            println!("with {}", server.peer());
            let mut kpt = real_loop(4, real);
            let server = BufferedStream::new(server, MOST, MOST);
            kpt.threads().add("client", when(&server), Echo::on_client, Some(server)).unwrap();
            test(&mut kpt, &mut Echo::default(), client);
        }
    }
}

/// Runs turns without sleeping, until nothing has happened for some time.
fn settle(kpt: &mut EchoLoop, echo: &mut Echo) {
    let mut quiet = 0;
    while quiet < 20 {
        let before = echo.calls;
        kpt.poll(echo).unwrap();
        quiet = if echo.calls == before { quiet + 1 } else { 0 };
        std::thread::sleep(Duration::from_micros(if quiet > 0 { 100 } else { 0 }));
    }
}

/// How often the hook is called while 50 ms pass.
fn calls_in_50_ms(kpt: &mut EchoLoop, echo: &mut Echo) -> u32 {
    let before = (echo.calls, echo.timers);
    kpt.threads().add_timer("timer", millis(50), Echo::on_timer, None).unwrap();
    kpt.turn_until(echo, &mut |echo| echo.timers > before.1);
    echo.calls - before.0
}

/// All that is there.
fn read_all(client: &mut Stream, into: &mut Vec<u8>) {
    let error = client.read_to_end(into).err();
    assert!(error.is_none_or(|error| error.kind() == ErrorKind::WouldBlock));
}

/// Its memory is that of its buffers, and the server does not spin.
#[test]
fn f18_a_client_that_does_not_receive_is_not_read_from() {
    each(|kpt, echo, mut client| {
        let mut sent = Vec::new();
        loop {
            let piece: Vec<u8> =
                (sent.len()..sent.len() + 3_000).map(|at| (at / 7) as u8).collect();
            match client.write(&piece) {
                Ok(count) => sent.extend_from_slice(&piece[..count]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    let before = echo.calls;
                    settle(kpt, echo);
                    if echo.calls == before {
                        break;
                    }
                }
            }
            assert!(sent.len() < 100 << 20, "it takes everything");
        }
        assert!((1..=MOST).contains(&echo.most_unsent), "{}", echo.most_unsent);
        assert_eq!(calls_in_50_ms(kpt, echo), 0);
        let mut back = Vec::new();
        for _ in 0..100_000 {
            read_all(&mut client, &mut back);
            if back.len() == sent.len() {
                break;
            }
            kpt.poll(echo).unwrap();
        }
        assert!(back == sent, "{} of {} bytes, or others", back.len(), sent.len());
    });
}

/// It gets its answers, and then the end.
#[test]
fn a_client_that_ends_its_half_gets_its_answers() {
    each(|kpt, echo, mut client| {
        client.write_all(&[7; 5_000]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(kpt.run_verified(echo).unwrap(), Exit::Empty);
        assert_eq!(echo.ended, [None]);
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap(); // Up to the end, and no "would block".
        assert_eq!(back, [7; 5_000]);
    });
}

/// What it has not read makes a reset of its end.
#[test]
fn a_client_that_resets_ends_its_thread_alone() {
    each(|kpt, echo, mut client| {
        let (other, mut to_other) = UnixStream::pair().unwrap();
        let other = BufferedStream::new(other.try_into().unwrap(), MOST, MOST);
        kpt.threads().add("other", when(&other), Echo::on_client, Some(other)).unwrap();
        client.write_all(b"x").unwrap();
        settle(kpt, echo);
        drop(client);
        settle(kpt, echo);
        assert_eq!(echo.ended, [Some(ErrorKind::ConnectionReset)]);
        to_other.write_all(b"y").unwrap();
        settle(kpt, echo);
        to_other.read_exact(&mut [0]).unwrap();
        assert_eq!(calls_in_50_ms(kpt, echo), 0);
    });
}

/// The writer is told that there is nobody.
#[test]
fn a_client_that_goes_while_it_is_held_up_ends_its_thread() {
    each(|kpt, echo, mut client| {
        loop {
            if client.write(&[0; 3_000]).is_err() {
                let before = echo.calls;
                settle(kpt, echo);
                if echo.calls == before {
                    break;
                }
            }
        }
        drop(client);
        assert_eq!(kpt.run_verified(echo).unwrap(), Exit::Empty);
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(echo.ended[0].is_some_and(|kind| kinds.contains(&kind)), "{:?}", echo.ended);
    });
}

#[test]
fn one_byte_at_a_time_is_as_good_as_all_at_once() {
    each(|kpt, echo, mut client| {
        let mut back = Vec::new();
        for byte in 0..100 {
            client.write_all(&[byte]).unwrap();
            for _ in 0..10_000 {
                kpt.poll(echo).unwrap();
                read_all(&mut client, &mut back);
                if back.len() > byte.into() {
                    break;
                }
            }
        }
        assert!(back.iter().copied().eq(0..100), "{back:?}");
    });
}

/// A connection that is started becomes writable when it is made, and can be used before.
#[test]
fn connecting_does_not_wait() {
    for real in Real::all() {
        let mut listener = Listener::bind(([127, 0, 0, 1], 0)).unwrap();
        let address = listener.local().ip().unwrap();
        let stream = Stream::connect(address).unwrap();
        assert_eq!(stream.peer().ip(), Some(address));
        let mut early = BufferedStream::new(Stream::connect(address).unwrap(), MOST, MOST);
        early.queue(b"early").unwrap();
        early.fill().unwrap();
        assert_eq!(early.wants(), Interest::BOTH);

        let hook = |connected: &mut Vec<bool>, thread: Thread<Vec<bool>, Stream>| {
            connected.push(thread.arg.is_connected().unwrap());
        };
        let mut kpt = real_loop(4, real);
        kpt.threads().add_write("connect", source(&stream), hook, stream).unwrap();
        let mut connected = Vec::new();
        assert_eq!(kpt.run_verified(&mut connected).unwrap(), Exit::Empty);
        assert_eq!(connected, [true]);

        accept(&mut listener);
        let mut server = accept(&mut listener);
        while !early.flush().unwrap() {}
        let mut bytes = Vec::new();
        while bytes.is_empty() {
            read_all(&mut server, &mut bytes);
        }
        assert_eq!(bytes, b"early");
    }
}

/// It is told at once or to the writer, and the stream still knows whom it wanted.
#[test]
fn a_connection_that_is_refused_says_so() {
    for real in Real::all() {
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let hook = |seen: &mut Vec<(ErrorKind, String)>, thread: Thread<_, Stream>| {
            let error = thread.arg.is_connected().unwrap_err();
            seen.push((error.kind(), thread.arg.peer().to_string()));
        };
        let mut seen = Vec::new();
        match Stream::connect(address) {
            Ok(stream) => {
                let mut kpt = real_loop(4, real);
                kpt.threads().add_write("connect", source(&stream), hook, stream).unwrap();
                kpt.run_verified(&mut seen).unwrap();
            }
            Err(error) => seen.push((error.kind(), address.to_string())),
        }
        assert_eq!(seen, [(ErrorKind::ConnectionRefused, address.to_string())]);
    }
}

/// Where the standard library's would wait until somebody accepts.
#[test]
fn a_full_backlog_of_a_unix_socket_is_no_wait() {
    let folder = folder("backlog");
    let path = folder.join("socket");
    let mut listener = Listener::bind_unix(&path).unwrap();
    assert_eq!(listener.local().path(), Some(path.as_path()));
    listener.set_backlog(0).unwrap();
    let mut clients = vec![Stream::connect_unix(&path).unwrap()];
    assert!(clients[0].is_connected().unwrap());
    assert_eq!(clients[0].peer().to_string(), format!("unix:{}", path.display()));
    let error = loop {
        match Stream::connect_unix(&path) {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
        assert!(clients.len() < 10);
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    accept(&mut listener);
    Stream::connect_unix(&path).unwrap();
    assert_eq!(Stream::connect_unix(folder.join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    let long = folder.join("x".repeat(200));
    assert_eq!(Stream::connect_unix(long).unwrap_err().kind(), ErrorKind::InvalidInput);
    std::fs::remove_dir_all(folder).unwrap();
}

/// IPv6 is there on most machines only.
#[test]
fn the_addresses_of_both_ends_agree() {
    let Ok(mut listener) = Listener::bind((std::net::Ipv6Addr::LOCALHOST, 0)) else {
        println!("NOTE without IPv6");
        return;
    };
    let client = Stream::connect(listener.local().ip().unwrap()).unwrap();
    let server = accept(&mut listener);
    assert_eq!(client.peer().to_string(), listener.local().to_string());
    let client = std::net::TcpStream::from(std::os::fd::OwnedFd::from(client));
    assert_eq!(server.peer().ip(), Some(client.local_addr().unwrap()));
    assert_eq!(Stream::try_from(client).unwrap().peer().ip(), listener.local().ip());
    server.set_nodelay(true).unwrap();
}

/// Its name comes from others, who may have put anything into it.
#[test]
fn a_peer_without_a_name_has_one_for_logs() {
    let (here, there) = UnixStream::pair().unwrap();
    drop(there);
    let stream = Stream::try_from(here).unwrap();
    assert_eq!(stream.peer().to_string(), "unix");
    stream.set_nodelay(true).unwrap();
}

#[test]
fn datagrams_come_and_go_whole() {
    let folder = folder("datagrams");
    let udp = || Datagram::bind(([127, 0, 0, 1], 0)).unwrap();
    let unix = |name: &str| Datagram::bind_unix(folder.join(name)).unwrap();
    for (mut here, there) in [(udp(), udp()), (unix("a"), unix("b"))] {
        for real in Real::all() {
            there.send_to(b"hello", &here.local()).unwrap();
            let hook = |socket: &mut Datagram, _: Thread<Datagram>| {
                let mut buffer = [0; 100];
                let (count, from) = socket.recv_from(&mut buffer).unwrap();
                assert_eq!(&buffer[..count], b"hello");
                socket.send_to(from.to_string().as_bytes(), &from).unwrap();
                let error = socket.recv_from(&mut buffer).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
            };
            let mut kpt = real_loop(4, real);
            kpt.threads().add_read("datagrams", source(&here), hook, ()).unwrap();
            assert_eq!(kpt.run_verified(&mut here).unwrap(), Exit::Empty);
            let mut buffer = [0; 100];
            let (count, from) = there.recv_from(&mut buffer).unwrap();
            assert_eq!(from.to_string(), here.local().to_string());
            assert_eq!(&buffer[..count], there.local().to_string().as_bytes());
        }
    }
    let error = udp().send_to(b"x", &unix("c").local()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Nothing listens there, of which the network tells.
#[test]
fn a_pending_error_of_a_datagram_is_taken() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(closed).unwrap();
    let socket = Datagram::try_from(socket).unwrap();
    socket.send_to(b"x", &Address::from(closed)).unwrap();
    let error = (0..1_000).find_map(|_| {
        std::thread::sleep(millis(1));
        socket.take_error().unwrap()
    });
    assert_eq!(error.unwrap().kind(), ErrorKind::ConnectionRefused);
    assert!(socket.take_error().unwrap().is_none());
    assert_eq!(socket.recv_from(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn what_is_converted_does_not_block() {
    let (here, _there) = UnixStream::pair().unwrap();
    let mut stream = Stream::try_from(here).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let (here, _there) = UnixDatagram::pair().unwrap();
    let socket = Datagram::try_from(here).unwrap();
    assert_eq!(socket.recv_from(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let folder = folder("converted");
    let listener = UnixListener::bind(folder.join("socket")).unwrap();
    assert!(Listener::try_from(listener).unwrap().accept().unwrap().is_none());
    std::fs::remove_dir_all(folder).unwrap();
}

/// An empty folder of this test alone.
fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("kpt-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A server that refuses a client, which has sent what is never read, and takes the last words late.
struct Farewell {
    ended: Vec<bool>,
}

impl Farewell {
    fn on_client(&mut self, mut thread: Thread<Self, Option<BufferedStream>>) {
        let client = thread.arg.as_mut().unwrap();
        match client.finish() {
            Ok(false) => {
                let when = when(client);
                thread.again_when(when).unwrap();
            }
            Ok(true) => self.ended.push(true),
            Err(_) => self.ended.push(false),
        }
    }
}

#[test]
fn last_words_arrive_although_input_was_not_read() {
    const WORDS: &[u8] = b"too many clients\n";
    for real in Real::all() {
        let mut listener = Listener::bind(([127, 0, 0, 1], 0)).unwrap();
        let mut there = std::net::TcpStream::connect(listener.local().ip().unwrap()).unwrap();
        there.write_all(&[b'x'; 100_000]).unwrap();
        let stream = loop {
            if let Some(stream) = listener.accept().unwrap() {
                break stream;
            }
        };
        let mut client = BufferedStream::new(stream, 1_000, 1_000);
        client.queue(WORDS).unwrap();
        let mut kpt: BoxedLoop<'_, Farewell, Option<BufferedStream>, Error> = real_loop(4, real);
        kpt.threads().add("client", when(&client), Farewell::on_client, Some(client)).unwrap();
        let reader = std::thread::spawn(move || {
            let mut words = vec![0; WORDS.len()];
            there.read_exact(&mut words).unwrap();
            there.write_all(b"more").unwrap();
            assert_eq!(there.read(&mut [0]).unwrap(), 0, "the server has ended, and not reset");
            words
        });
        let mut state = Farewell { ended: Vec::new() };
        assert_eq!(kpt.run(&mut state).unwrap(), Exit::Empty);
        assert_eq!(state.ended, [true]);
        assert_eq!(reader.join().unwrap(), WORDS);
    }
}
