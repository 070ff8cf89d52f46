//! A file server whose worker may open nothing: its parent, the broker, passes it the listening socket, and each file that
//! a client asks for, in messages with descriptors.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kpt_examples::Args;
use kpt_std::{
    BufferedStream, Child, EventLoop, Limit, Listener, Message, Parent, Passed, Signal, Signals,
    TaskConfig, TaskEvent, TaskHandle, Thread, Threads, When, source,
};

const HELP: &str = "
Serves the files of the working directory over TCP: a client sends a name and
a line feed, and gets the file. A worker process talks to the clients. It can
open nothing itself: if root starts the broker, it is another user in an empty
root directory. Try: echo Cargo.toml | nc 127.0.0.1 PORT
Ends on SIGINT and SIGTERM.

Usage: broker [options]
    --port N     the port on 127.0.0.1 to listen on; 0 takes a free one (0)";

/// How many clients there may be at once. Each of them waits for at most one file.
const CLIENTS: usize = 16;
/// The user and the group of the worker.
const NOBODY: u32 = 65_534;
const LONGEST_NAME: usize = 255;
const CHUNK_BYTES: usize = 16 * 1024;
/// The time that the worker has to end by itself.
const GRACE: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new(HELP);
    let port = args.number("--port", 0, 0..=u16::MAX);
    args.finish();

    let signals = Signals::new(&[Signal::INT, Signal::TERM])?;
    let mut kpt = EventLoop::new()?;
    let folder = EmptyFolder::new()?;
    let worker = kpt.spawner().start(confined(&folder.0)?, Worker::new)?;
    println!("the worker is process {}", worker.id());

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    println!("listening on {}", listener.local_addr()?);
    worker.send_with(&join(LISTENER, ""), listener)?;

    let mut threads = kpt.threads();
    threads.add_read("worker", worker.source(), Broker::on_worker, ())?;
    threads.add_read("signal", source(&signals), Broker::on_signal, ())?;
    kpt.run(&mut Broker { worker })?;
    Ok(())
}

/// The configuration of a task that has nothing but what it is sent.
fn confined(empty: &Path) -> io::Result<TaskConfig> {
    let config = TaskConfig::new("worker")
        .accept_descriptors(CLIENTS)
        .threads(CLIENTS + 1)
        .limits([Limit::Processes(0), Limit::OpenFiles(64), Limit::CoreFile(0)])
        .keep_only::<File>([])
        .no_new_privs();
    let is_root = fs::metadata("/proc/self")?.uid() == 0;
    Ok(if is_root { config.user(NOBODY, NOBODY, []).root(empty) } else { config })
}

/// A message is a number, in four bytes, and a text. The worker sends the number of a client and the name of a file; the
/// broker answers with the number and the file, or with the number and a reason.
fn join(number: u32, text: &str) -> Vec<u8> {
    [&number.to_le_bytes(), text.as_bytes()].concat()
}

fn split(message: &[u8]) -> Option<(u32, &str)> {
    let (number, text) = message.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), std::str::from_utf8(text).ok()?))
}

/// The number with which the listening socket comes.
const LISTENER: u32 = 0;

/// The parent, which has the rights, and decides.
struct Broker {
    worker: TaskHandle,
}

impl Broker {
    fn on_worker(&mut self, mut thread: Thread<Self>) {
        match self.worker.receive() {
            Some(TaskEvent::Message(message)) => {
                if let Err(error) = self.answer(&message) {
                    eprintln!("the worker gets no answer: {error}");
                }
            }
            Some(TaskEvent::Exit(exit)) => {
                println!("the worker has ended: {exit}");
                return thread.threads().stop();
            }
            Some(TaskEvent::Ready) | None => {}
        }
        thread.again();
    }

    /// There is always room for the answer, unless the worker asks for more than it said it would.
    fn answer(&self, message: &[u8]) -> Result<(), Box<dyn Error>> {
        let (number, name) = split(message).ok_or("its message is not a request")?;
        match open(name) {
            Ok(file) => self.worker.send_with(&join(number, ""), file)?,
            Err(reason) => self.worker.send(&join(number, &format!("{name:?}: {reason}\n")))?,
        }
        Ok(())
    }

    fn on_signal(&mut self, _: Thread<Self>) {
        self.worker.stop(GRACE);
    }
}

/// Opens a file of the working directory. The name comes from a client, by way of a worker that it may have taken over.
fn open(name: &str) -> Result<File, Box<dyn Error>> {
    if name.contains('/') || name.starts_with('.') || !fs::symlink_metadata(name)?.is_file() {
        return Err("not a file of this directory".into());
    }
    Ok(File::open(name)?)
}

/// The state of the task.
struct Worker {
    parent: Parent,
    listener: Option<Listener>,
    /// The clients whose files have been asked for, by their numbers.
    waiting: BTreeMap<u32, BufferedStream>,
    last: u32,
}

/// The argument of a client's thread.
struct Client {
    stream: BufferedStream,
    file: Option<File>,
}

type WorkerThread<'t> = Thread<'t, Worker, Option<Client>>;
type WorkerThreads<'t> = Threads<'t, Worker, Option<Client>>;

impl Child for Worker {
    type Arg = Option<Client>;

    fn on_message_with(&mut self, message: Message, mut threads: WorkerThreads) {
        let Some((number, text)) = split(&message.bytes) else { return };
        if number == LISTENER {
            return self.listen(message.descriptor, threads);
        }
        let Some(mut stream) = self.waiting.remove(&number) else { return };
        let (file, text) = match message.descriptor {
            Passed::Descriptor(file) => (Some(File::from(file)), ""),
            Passed::Lost => (None, "too many files are open\n"),
            Passed::Nothing => (None, text),
        };
        let when = When::Writable(source(&stream));
        if stream.queue(text.as_bytes()).is_ok() {
            let client = Some(Client { stream, file });
            threads.add("send", when, Self::on_room, client).expect("a slot was kept for it");
        }
    }
}

impl Worker {
    fn new(parent: Parent) -> Self {
        match File::open("/etc/passwd") {
            Ok(_) => println!("the worker can open /etc/passwd, since root has not started it"),
            Err(error) => println!("the worker can't open /etc/passwd: {error}"),
        }
        Self { parent, listener: None, waiting: BTreeMap::new(), last: LISTENER }
    }

    fn listen(&mut self, passed: Passed, mut threads: WorkerThreads) {
        let Passed::Descriptor(socket) = passed else { panic!("no socket to listen on") };
        let listener = Listener::try_from(TcpListener::from(socket)).expect("it is one");
        let when = listener.when();
        self.listener = Some(listener);
        threads.add("accept", when, Self::on_connection, None).expect("there is no other yet");
    }

    fn on_connection(&mut self, mut thread: WorkerThread) {
        let Some(listener) = &mut self.listener else { return };
        let mut threads = thread.threads();
        loop {
            if threads.vacant() <= self.waiting.len() {
                break listener.pause(); // The remaining slots are for the clients that wait.
            }
            match listener.accept() {
                Ok(Some(stream)) => {
                    let stream = BufferedStream::new(stream, LONGEST_NAME + 1, CHUNK_BYTES);
                    let when = When::Readable(source(&stream));
                    let client = Some(Client { stream, file: None });
                    let _ = threads.add("name", when, Self::on_name, client); // There is a vacant slot.
                }
                Ok(None) => break,
                Err(error) => eprintln!("no more clients for now: {error}"),
            }
        }
        let when = listener.when();
        let _ = thread.again_when(when); // The system watches listening sockets.
    }

    /// Asks for the file when its name is there.
    fn on_name(&mut self, mut thread: WorkerThread) {
        let is_watched = !thread.readiness().is_error();
        let Some(Client { stream, .. }) = &mut thread.arg else { return };
        let is_there = stream.fill().is_ok() && is_watched;
        let name = stream.input().split_inclusive(|&byte| byte == b'\n').next();
        match name.and_then(|name| str::from_utf8(name).ok()?.strip_suffix('\n')) {
            Some(name) => {
                self.last = self.last.wrapping_add(1).max(LISTENER + 1);
                // This fails only if the broker has ended; then the worker is about to end.
                let _ = self.parent.send(&join(self.last, name));
                let (client, _) = thread.end();
                self.waiting.extend(client.map(|client| (self.last, client.stream)));
            }
            None if is_there && !stream.is_ended() && !stream.is_input_full() => thread.again(),
            None => {} // A client without a name.
        }
    }

    /// Sends a piece of the file.
    fn on_room(&mut self, mut thread: WorkerThread) {
        let Some(client) = &mut thread.arg else { return };
        if client.send().unwrap_or(false) {
            thread.again();
        }
    }
}

impl Client {
    /// Returns whether there is more to send.
    fn send(&mut self) -> io::Result<bool> {
        if !self.stream.flush()? {
            return Ok(true);
        }
        let Some(file) = &mut self.file else { return Ok(false) };
        let mut chunk = [0; CHUNK_BYTES];
        match file.read(&mut chunk)? {
            0 => self.file = None,
            count => self.stream.queue(&chunk[..count])?,
        }
        Ok(true)
    }
}

/// A folder with nothing in it, until it is dropped.
struct EmptyFolder(PathBuf);

impl EmptyFolder {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("kpt-broker-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for EmptyFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
