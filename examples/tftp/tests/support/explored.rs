//! A transfer in a simulated world: server and client as they are, and a network in which packets are lost, come twice or
//! late, as the schedule says.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use kpt_std::sim::{End, Sim, TestResult};
use kpt_std::{Builder, Datagram, EventLoop};
use kpt_tftp::client::Client;
use kpt_tftp::content::Content;
use kpt_tftp::folder::{Refusal, Store};
use kpt_tftp::options::Options;
use kpt_tftp::packet::{Code, Mode, Request};
use kpt_tftp::server::{Config, Ended, Server, THREADS_PER_SESSION, World};
use kpt_tftp::transfer::{self, Rules, Timing};

/// The well-known port, and that of the client.
const SERVER: u16 = 69;
const CLIENT: u16 = 2000;
const SESSIONS: usize = 8;

const BLOCK: usize = 512;
/// A packet takes this long, or so much longer if it is late: longer than anybody waits for it.
const LATENCY: Duration = Duration::from_millis(10);
const LATE: Duration = Duration::from_millis(140);
const TIMING: Timing = Timing { first: Duration::from_millis(100), repeats: 5 };

/// What is transferred, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// Whether the client sends the file, or the server.
    pub is_write: bool,
    /// How many blocks the file has.
    pub blocks: usize,
    /// Whether there are options to agree on.
    pub has_options: bool,
    /// Those of today, or those with the fault.
    pub rules: Rules,
    /// How many packets may go wrong in a schedule, if that is known.
    pub faults: usize,
}

/// A file in memory, which server and client share with the test.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<File>>);

#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    read: usize,
    is_finished: bool,
}

impl Memory {
    fn new(bytes: &[u8]) -> Self {
        Self(Rc::new(RefCell::new(File { bytes: bytes.to_vec(), ..File::default() })))
    }

    /// Another one that reads the same from the start.
    fn reader(&self) -> Self {
        Self::new(&self.0.borrow().bytes)
    }
}

impl Content for Memory {
    fn read(&mut self, size: usize, to: &mut Vec<u8>) -> io::Result<()> {
        let mut file = self.0.borrow_mut();
        let end = file.bytes.len().min(file.read + size);
        to.extend_from_slice(&file.bytes[file.read..end]);
        file.read = end;
        Ok(())
    }

    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().bytes.extend_from_slice(block);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.borrow_mut().is_finished = true;
        Ok(())
    }
}

/// One file that can be read, and what is written: the last that is complete counts.
struct OneFile {
    file: Memory,
    written: Rc<RefCell<Vec<Memory>>>,
}

impl Store for OneFile {
    fn read(&mut self, name: &[u8], _: Mode) -> Result<(Box<dyn Content>, Option<u64>), Refusal> {
        if name != b"file" {
            return Err((Code::NotFound, "no such file"));
        }
        let size = self.file.0.borrow().bytes.len() as u64;
        Ok((Box::new(self.file.reader()), Some(size)))
    }

    fn write(&mut self, _: &[u8], _: Mode, _: Option<u64>) -> Result<Box<dyn Content>, Refusal> {
        let file = Memory::default();
        self.written.borrow_mut().push(file.clone());
        Ok(Box::new(file))
    }
}

/// Transfers a file, and says what must hold: the file is whole, nothing is left over, and each packet that goes wrong
/// costs a few blocks and no more, however long the file is.
pub fn transfer(sim: &Sim, story: Story) -> TestResult {
    sim.latency(LATENCY, LATE);
    let Story { is_write, blocks, has_options, rules, faults } = story;
    let bytes: Vec<u8> = (0..BLOCK * blocks - 100).map(|at| (at / 7) as u8).collect();
    let (written, ended) = (Rc::new(RefCell::default()), Rc::new(RefCell::new(Vec::new())));

    let store = OneFile { file: Memory::new(&bytes), written: Rc::clone(&written) };
    let free_port = sim.address(0);
    let reports = Rc::clone(&ended);
    let world = World {
        socket: Datagram::bind(sim.address(SERVER))?,
        open: Box::new(move || Datagram::bind(free_port)),
        store: Box::new(store),
        report: Box::new(move |ended: Ended| reports.borrow_mut().push(ended)),
    };
    let config = Config { timing: TIMING, rules, most_sessions: SESSIONS, ..Config::default() };
    let mut server = Server::new(world, config);
    let threads = 1 + SESSIONS * THREADS_PER_SESSION;
    let mut kpt: EventLoop<_, _, _> = Builder::new().threads(threads).build_on(sim.poller())?;
    server.add_threads(kpt.threads())?;

    let options = if has_options {
        Options { block_size: Some(BLOCK as u16), size: Some(0), ..Options::NONE }
    } else {
        Options::NONE
    };
    let request = Request { is_write, name: b"file", mode: Mode::Octet, options };
    let local = if is_write { Memory::new(&bytes) } else { Memory::default() };
    let socket = Datagram::bind(sim.address(CLIENT))?;
    let content = Box::new(local.clone());
    let client = Client::new(socket, sim.address(SERVER), &request, content, TIMING);
    sim.add_loop(kpt_tftp::client::THREADS, client, |client, threads| {
        client.add_threads(threads).expect("room");
    });

    match kpt.run(&mut server) {
        Err(End::Idle) => {}
        other => return Err(format!("the server has ended: {other:?}").into()),
    }
    let is_complete = |file: &Memory| file.0.borrow().is_finished;
    let mut received = written.take();
    received.extend((!is_write).then_some(local));
    let is_whole = |file: &Memory| !is_complete(file) || file.0.borrow().bytes == bytes;
    sim.always("what is complete is whole", received.iter().all(is_whole));
    // With more faults than a packet is sent, both sides may give up.
    let is_bad = faults > TIMING.repeats as usize;
    let has_arrived = received.iter().any(is_complete) || is_bad;
    sim.always("the file has arrived", has_arrived);
    sim.always("no transfer is left", server.sessions() == 0);
    let sent: u64 = ended.borrow().iter().map(|ended: &Ended| ended.blocks_sent).sum();
    let most = blocks.saturating_add(faults.saturating_mul(2)) as u64;
    if sent > most {
        sim.fail("too many blocks", format_args!("{sent} were sent, of a file of {blocks}"));
    }
    sim.sometimes("a block is sent again", is_write || sent > blocks as u64);
    let is_given_up = |ended: &Ended| ended.end == transfer::End::TimedOut;
    let has_given_up = ended.borrow().iter().any(is_given_up);
    sim.sometimes("a transfer is given up", has_given_up || !is_bad);
    Ok(())
}
