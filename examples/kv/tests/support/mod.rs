//! The server as a process in a directory of its own, and a connection to it.

#![allow(dead_code)] // Each test uses some of it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory that is removed with what is in it.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kv-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory for temporary files");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn snapshot(&self) -> PathBuf {
        self.0.join("dump.kv")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.0.join("log")).unwrap_or_default()
    }

    /// Returns the names of all files.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the directory");
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that runs, and is killed if the test forgets it.
pub struct Server {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Server {
    /// Starts one on a free port, and waits until it listens.
    pub fn start(dir: &Dir, args: &[&str]) -> Self {
        Self::try_start(dir, args).expect("it listens")
    }

    /// The same; the status is that of one that ends before it listens. What it says is in the log.
    pub fn try_start(dir: &Dir, args: &[&str]) -> Result<Self, ExitStatus> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kv"))
            .args(["--port", "0", "--dir", dir.path().to_str().unwrap(), "--logfile"])
            .arg(dir.path().join("log"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server has been built");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("text");
        match line.trim().strip_prefix("listening on ") {
            Some(address) => {
                Ok(Self { child, _stdout: stdout, address: address.parse().expect("an address") })
            }
            None => Err(child.wait().expect("a child")),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn connect(&self) -> Connection {
        Connection::new(self.address)
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(status.expect("kill").success(), "kill -{name} {process}");
}

/// Waits until `is_so`.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(5));
    }
}

/// A connection, as a client has it.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("the server takes them");
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.get_mut().write(bytes)
    }

    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends a request, and returns its reply as text.
    pub fn ask(&mut self, words: &[impl AsRef<[u8]>]) -> String {
        self.send(request(words));
        self.reply()
    }

    /// The same for a request in one line.
    pub fn line(&mut self, line: &str) -> String {
        self.ask(&line.split(' ').collect::<Vec<_>>())
    }

    /// Returns the next reply: `+OK`, `-ERR ..`, `:1`, `nil`, a string in quotes, or an array in brackets. "closed" if
    /// there is none.
    pub fn reply(&mut self) -> String {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => return "closed".into(),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return "closed".into();
            }
            Err(error) => panic!("no reply: {error}"),
        }
        let line = String::from_utf8(line).expect("text");
        let line = line.strip_suffix("\r\n").expect("a whole line");
        let number = || line[1..].parse::<i64>().expect("a number");
        match line.as_bytes()[0] {
            b'$' if number() < 0 => "nil".into(),
            b'$' => {
                let mut bytes = vec![0; number() as usize + 2];
                self.stream.read_exact(&mut bytes).expect("all of it");
                bytes.truncate(bytes.len() - 2);
                format!("\"{}\"", bytes.escape_ascii())
            }
            b'*' => {
                let elements: Vec<_> = (0..number()).map(|_| self.reply()).collect();
                format!("[{}]", elements.join(" "))
            }
            b'+' | b'-' | b':' => line.to_owned(),
            other => panic!("no reply begins with {:?}", other as char),
        }
    }

    /// Returns a field of INFO.
    pub fn info(&mut self, field: &str) -> String {
        let text = self.ask(&["INFO"]).replace("\\r\\n", "\n");
        let prefix = format!("{field}:");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
    }
}

/// Returns a request as clients write it.
pub fn request(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// Returns whether a program is there. Says so loudly if it is not.
pub fn has_program(name: &str) -> bool {
    let has = Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !has {
        eprintln!(
            "\n*** NOT TESTED, since {name} is missing: apt-get install redis-tools redis-server ***\n"
        );
    }
    has
}
