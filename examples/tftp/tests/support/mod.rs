//! A server in an OS thread of its own, folders that go away, and a network that loses packets.

#![allow(dead_code)] // Each test file uses a part of it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use kpt_std::{Datagram, EventLoop};
use kpt_tftp::client::Client;
use kpt_tftp::content::{Content, Outgoing};
use kpt_tftp::folder::{Folder, Store, Writing};
use kpt_tftp::options::Options;
use kpt_tftp::packet::{Mode, Request};
use kpt_tftp::server::{Config, Ended, Server, THREADS_PER_SESSION, World};
use kpt_tftp::transfer::{End, Timing};

/// Short, so that what is lost costs little time, but patient on a busy machine.
pub const TIMING: Timing = Timing { first: Duration::from_millis(20), repeats: 8 };
pub const LONGEST: u64 = 1 << 20;

/// A folder that is removed in the end.
pub struct Temporary(pub PathBuf);

impl Temporary {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kpt-tftp-{}-{number}", process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes a file of so many bytes, and returns them.
    pub fn file(&self, name: &str, length: usize) -> Vec<u8> {
        let bytes: Vec<u8> = (0..length).map(|at| (at * 31 / 7) as u8).collect();
        fs::write(self.path(name), &bytes).expect("a file");
        bytes
    }

    /// The names in it.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a folder").flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that runs until the test ends.
pub struct Running {
    pub address: SocketAddr,
    pub ended: Receiver<Ended>,
}

impl Running {
    pub fn start(folder: &Path, writing: Writing, config: Config) -> Self {
        let folder = folder.to_owned();
        let (tell, address) = mpsc::channel();
        let (report, ended) = mpsc::channel();
        thread::spawn(move || {
            let socket = Datagram::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let store = Folder::open(folder, writing, LONGEST).expect("the folder");
            let world = World {
                socket,
                open: Box::new(|| Datagram::bind((Ipv4Addr::LOCALHOST, 0))),
                store: Box::new(store),
                report: Box::new(move |ended| drop(report.send(ended))),
            };
            let mut server = Server::new(world, config);
            let room = 1 + config.most_sessions * THREADS_PER_SESSION;
            let mut kpt = EventLoop::with_capacity(room).expect("a loop");
            server.add_threads(kpt.threads()).expect("room");
            tell.send(server.address().ip().expect("an address")).expect("the test waits");
            kpt.run(&mut server).expect("it runs");
        });
        Self { address: address.recv().expect("it starts"), ended }
    }

    pub fn ended(&self) -> Ended {
        self.ended.recv_timeout(Duration::from_secs(20)).expect("a transfer ends")
    }
}

/// The configuration of servers in tests.
pub fn config() -> Config {
    Config { timing: TIMING, ..Config::default() }
}

/// The configuration of a server that gives up soon.
pub fn impatient() -> Config {
    Config { timing: Timing { repeats: 3, ..TIMING }, ..config() }
}

/// A socket for packets by hand, whose reads don't wait for ever.
pub fn by_hand() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    socket
}

/// The next packet, and who has sent it.
pub fn next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (count, from) = socket.recv_from(&mut buffer).expect("an answer");
    (buffer[..count].to_vec(), from)
}

/// Asks for a file in blocks of this size. Returns how it ended, and the file.
pub fn get(server: SocketAddr, name: &str, block_size: Option<u16>, mode: Mode) -> (End, Vec<u8>) {
    let folder = Temporary::new();
    let mut local = Folder::open(&folder.0, Writing::Any, u64::MAX).expect("the folder");
    let content = local.write(b"local", mode, None).expect("a file");
    let end = run(server, false, name, block_size, mode, content);
    (end, fs::read(folder.path("local")).unwrap_or_default())
}

/// Sends a file.
pub fn put(server: SocketAddr, name: &str, block_size: Option<u16>, bytes: &[u8]) -> End {
    let content = Outgoing::new(std::io::Cursor::new(bytes.to_vec()), Mode::Octet);
    run(server, true, name, block_size, Mode::Octet, Box::new(content))
}

fn run(
    server: SocketAddr,
    is_write: bool,
    name: &str,
    block_size: Option<u16>,
    mode: Mode,
    content: Box<dyn Content>,
) -> End {
    let socket = Datagram::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let options = Options { block_size, ..Options::NONE };
    let request = Request { is_write, name: name.as_bytes(), mode, options };
    let mut client = Client::new(socket, server, &request, content, TIMING);
    let mut kpt = EventLoop::with_capacity(kpt_tftp::client::THREADS).expect("a loop");
    client.add_threads(kpt.threads()).expect("room");
    kpt.run(&mut client).expect("it runs");
    client.end().expect("the loop ends with it").clone()
}

/// A network between clients and a server, in which packets are lost, come twice, or late.
pub struct Lossy {
    pub address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Lossy {
    pub fn start(server: SocketAddr, seed: u32) -> Self {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        front.set_nonblocking(true).expect("a flag");
        let address = front.local_addr().expect("an address");
        let is_over = Arc::new(AtomicBool::new(false));
        let end = is_over.clone();
        thread::spawn(move || {
            let mut net = Net { server, front, links: Vec::new(), late: Vec::new(), dice: seed };
            while !end.load(Ordering::Relaxed) {
                net.step();
                thread::sleep(Duration::from_micros(200));
            }
        });
        Self { address, is_over }
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

struct Net {
    server: SocketAddr,
    front: UdpSocket,
    links: Vec<Link>,
    /// After so many steps: which link, which way, what.
    late: Vec<(u32, usize, bool, Vec<u8>)>,
    dice: u32,
}

/// A client, and one port of the server with which it talks. A port of the server is one of ours to the client.
struct Link {
    client: SocketAddr,
    of_server: SocketAddr,
    to_client: UdpSocket,
    to_server: UdpSocket,
}

impl Net {
    fn step(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok((count, client)) = self.front.recv_from(&mut buffer) {
            let port = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let is_it = |link: &Link| link.client == client;
            if !self.links.iter().any(is_it) {
                let link =
                    Link { client, of_server: self.server, to_client: port(), to_server: port() };
                link.to_client.set_nonblocking(true).expect("a flag");
                link.to_server.set_nonblocking(true).expect("a flag");
                self.links.push(link);
            }
            let at = self.links.iter().position(is_it).expect("it is there");
            // Requests go to the well-known port, all else to the other.
            let _ = self.links[at].to_server.send_to(&buffer[..count], self.server);
        }
        for at in 0..self.links.len() {
            while let Ok((count, from)) = self.links[at].to_server.recv_from(&mut buffer) {
                self.links[at].of_server = from;
                self.pass(at, true, &buffer[..count]);
            }
            while let Ok((count, _)) = self.links[at].to_client.recv_from(&mut buffer) {
                self.pass(at, false, &buffer[..count]);
            }
        }
        for late in &mut self.late {
            late.0 -= 1;
        }
        for (_, at, is_to_client, packet) in
            self.late.extract_if(.., |late| late.0 == 0).collect::<Vec<_>>()
        {
            self.send(at, is_to_client, &packet);
        }
    }

    fn pass(&mut self, at: usize, is_to_client: bool, packet: &[u8]) {
        self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match self.dice >> 24 {
            0..20 => {}
            20..36 => self.late.push((300, at, is_to_client, packet.to_vec())),
            36..52 => {
                self.send(at, is_to_client, packet);
                self.send(at, is_to_client, packet);
            }
            _ => self.send(at, is_to_client, packet),
        }
    }

    fn send(&self, at: usize, is_to_client: bool, packet: &[u8]) {
        let link = &self.links[at];
        let _ = if is_to_client {
            link.to_client.send_to(packet, link.client)
        } else {
            link.to_server.send_to(packet, link.of_server)
        };
    }
}
