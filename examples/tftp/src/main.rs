//! TFTP by the command line: a server, and a client.

#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use kpt_std::{Datagram, EventLoop};
use kpt_tftp::client::Client;
use kpt_tftp::content::{Content, Outgoing};
use kpt_tftp::folder::{Folder, Store, Writing};
use kpt_tftp::options::Options;
use kpt_tftp::packet::{Mode, Request};
use kpt_tftp::server::{Config, Ended, Server, THREADS_PER_SESSION, World};
use kpt_tftp::transfer::{End, Timing};

const HELP: &str = "
A TFTP server and client.

Usage: tftp serve FOLDER [options]   offers the files of a folder
           --address IP:PORT   where it listens (127.0.0.1:6969)
           --write WHICH       'new': clients may send files that are not there;
                               'any': they may replace others, too
           --largest MB        the largest file that a client may send (1024)
           --block N           the largest block that it agrees on (65464)
       tftp get HOST:PORT NAME [FILE] [options]
       tftp put HOST:PORT FILE [NAME] [options]
           --block N           the size of blocks (1428)
           --timeout S         seconds before a packet is sent again (1)
           --text              as netascii: lines end as the system wants it";

fn main() -> ExitCode {
    let mut words = Words(env::args().skip(1).collect());
    match run(&mut words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tftp: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &mut Words) -> Result<(), Box<dyn Error>> {
    if words.flag("--help") || words.0.is_empty() {
        println!("{}", HELP.trim());
        return Ok(());
    }
    match words.next()?.as_str() {
        "serve" => serve(words),
        "get" => transfer(words, false),
        "put" => transfer(words, true),
        word => Err(format!("{word:?} is none of serve, get and put; --help says more").into()),
    }
}

fn serve(words: &mut Words) -> Result<(), Box<dyn Error>> {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 6969));
    let address = words.option("--address")?.unwrap_or(default);
    let writing = match words.option::<String>("--write")?.as_deref() {
        None => Writing::Nothing,
        Some("new") => Writing::New,
        Some("any") => Writing::Any,
        Some(word) => return Err(format!("--write is 'new' or 'any', not {word:?}").into()),
    };
    let longest = words.option::<u32>("--largest")?.unwrap_or(1024);
    let mut config = Config::default();
    config.largest_block = words.option("--block")?.unwrap_or(config.largest_block);
    let folder = Folder::open(words.next()?, writing, u64::from(longest) << 20)?;
    words.end()?;

    let socket = Datagram::bind(address)?;
    let of_transfers = SocketAddr::new(address.ip(), 0);
    let open = Box::new(move || Datagram::bind(of_transfers));
    let world = World { socket, open, store: Box::new(folder), report: Box::new(report) };
    let mut server = Server::new(world, config);
    let mut kpt = EventLoop::with_capacity(1 + config.most_sessions * THREADS_PER_SESSION)?;
    server.add_threads(kpt.threads())?;
    // For those who start it with port 0, and wait until it is ready. They may have gone.
    let _ = writeln!(io::stdout(), "listening on {}", server.address());
    kpt.run(&mut server)?;
    Ok(())
}

fn report(ended: Ended) {
    let Ended { client, name, is_write, bytes, end, .. } = ended;
    let way = if is_write { "from" } else { "to" };
    println!("{name} {way} {client}: {}, {bytes} bytes", Shown(&end));
}

/// Reads a file from a server, or sends it one.
fn transfer(words: &mut Words, is_write: bool) -> Result<(), Box<dyn Error>> {
    let mode = if words.flag("--text") { Mode::Netascii } else { Mode::Octet };
    let block_size = words.option("--block")?.unwrap_or(1428);
    let timeout = words.option("--timeout")?;
    let server = words.next()?;
    let server = server.to_socket_addrs()?.next().ok_or("the host has no address")?;
    let first = words.next()?;
    let second = words.next().unwrap_or_else(|_| last_part(&first));
    words.end()?;

    let (name, content): (_, Box<dyn Content>) = if is_write {
        (second, Box::new(Outgoing::new(File::open(&first)?, mode)))
    } else {
        (first, receive_into(Path::new(&second), mode)?)
    };
    let options = Options { block_size: Some(block_size), timeout, ..Options::NONE };
    let request = Request { is_write, name: name.as_bytes(), mode, options };
    let timing = match timeout {
        Some(seconds) => Timing { first: Duration::from_secs(seconds.into()), ..Timing::default() },
        None => Timing::default(),
    };
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = Datagram::bind((any, 0))?;
    let mut client = Client::new(socket, server, &request, content, timing);
    let mut kpt = EventLoop::with_capacity(kpt_tftp::client::THREADS)?;
    client.add_threads(kpt.threads())?;
    kpt.run(&mut client)?;
    match client.end() {
        Some(End::Complete) => {
            println!("{name}: {} bytes", client.transfer().bytes());
            Ok(())
        }
        Some(end) => Err(format!("{name}: {}", Shown(end)).into()),
        None => Err("stopped".into()),
    }
}

/// Opens a local file for writing. It is there when it is complete.
fn receive_into(path: &Path, mode: Mode) -> Result<Box<dyn Content>, Box<dyn Error>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let name = path.file_name().ok_or("the file has no name")?;
    let mut folder = Folder::open(folder.unwrap_or(Path::new(".")), Writing::Any, u64::MAX)?;
    let opened = folder.write(name.as_encoded_bytes(), mode, None);
    opened.map_err(|(_, text)| format!("{}: {text}", path.display()).into())
}

fn last_part(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// How a transfer has ended, for people.
struct Shown<'e>(&'e End);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            End::Complete => f.write_str("complete"),
            End::TimedOut => f.write_str("given up, there is no answer"),
            End::Refused(code, text) => {
                write!(f, "refused by the other side: error {code}, {}", text.escape_debug())
            }
            End::Failed(_, text) => write!(f, "failed: {text}"),
        }
    }
}

/// The words of the command line that have not been used.
struct Words(Vec<String>);

impl Words {
    fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|word| word == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    fn option<T: FromStr<Err: Error>>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(at) = self.0.iter().position(|word| word == name) else { return Ok(None) };
        self.0.remove(at);
        if at == self.0.len() {
            return Err(format!("{name} needs a value"));
        }
        let value = self.0.remove(at);
        value.parse().map(Some).map_err(|error| format!("{name} {value}: {error}"))
    }

    fn next(&mut self) -> Result<String, &'static str> {
        if self.0.is_empty() {
            return Err("a word is missing; --help says more");
        }
        Ok(self.0.remove(0))
    }

    fn end(&self) -> Result<(), String> {
        self.0.first().map_or(Ok(()), |word| Err(format!("{word:?} is not understood; see --help")))
    }
}
