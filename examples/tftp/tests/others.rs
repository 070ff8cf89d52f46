//! The server beside programs that others have written: `tftp` of tftp-hpa, and curl. Where one is missing, the test
//! says so.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use support::Temporary;

/// The server as a program.
struct Program {
    child: Child,
    port: u16,
}

impl Program {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tftp"))
            .args(["serve", "--address", "127.0.0.1:0", "--write", "new"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let port = line.trim_end().rsplit(':').next().and_then(|port| port.parse().ok());
        Self { child, port: port.unwrap_or_else(|| panic!("no port in {line:?}")) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_there(program: &str, argument: &str) -> bool {
    let found = Command::new(program).arg(argument).stdin(Stdio::null()).output().is_ok();
    if !found {
        eprintln!("NOT TESTED: there is no {program} here");
    }
    found
}

fn output(command: &mut Command) -> Output {
    // What waits for an answer in vain should not hold up the tests.
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

#[test]
fn curl_reads_and_writes() {
    if !is_there("curl", "--version") {
        return;
    }
    let (folder, local) = (Temporary::new(), Temporary::new());
    let server = Program::start(&folder.0);
    let url = format!("tftp://127.0.0.1:{}", server.port);
    for (name, length) in [("empty", 0), ("small", 511), ("full", 512), ("large", 2_000_000)] {
        let bytes = folder.file(name, length);
        for options in [&[][..], &["--tftp-blksize", "1428"], &["--tftp-no-options"]] {
            let got = local.path("got");
            let command = &mut Command::new("curl");
            output(
                command
                    .args(["-sS", "-m", "20"])
                    .args(options)
                    .arg("-o")
                    .arg(&got)
                    .arg(format!("{url}/{name}")),
            );
            assert!(fs::read(&got).unwrap_or_default() == bytes, "{name} {options:?}");
        }
        // curl sends no file of no bytes.
        if length > 0 {
            let command = &mut Command::new("curl");
            let from = folder.path(name);
            output(
                command.args(["-sS", "-m", "20", "-T"]).arg(from).arg(format!("{url}/sent-{name}")),
            );
            assert!(
                fs::read(folder.path(&format!("sent-{name}"))).expect("it is there") == bytes,
                "{name}"
            );
        }
    }
    let refused =
        Command::new("curl").args(["-sS", "-m", "20", &format!("{url}/missing")]).output();
    assert_eq!(refused.expect("it starts").status.code(), Some(68), "a file that is not there");
}

#[test]
fn tftp_hpa_reads_and_writes() {
    if !is_there("tftp", "-V") {
        return;
    }
    let (folder, local) = (Temporary::new(), Temporary::new());
    let server = Program::start(&folder.0);
    let port = server.port.to_string();
    let tftp = |mode: &str, words: &[&str]| {
        let mut command = Command::new("timeout");
        command.args(["20", "tftp", "-m", mode, "127.0.0.1", &port, "-c"]);
        output(command.args(words))
    };
    for (name, length) in [("empty", 0), ("full", 512), ("large", 300_000)] {
        let bytes = folder.file(name, length);
        let got = local.path(name).to_string_lossy().into_owned();
        tftp("octet", &["get", name, &got]);
        assert!(fs::read(&got).expect("it is there") == bytes, "{name}");
        let sent = format!("sent-{name}");
        tftp("octet", &["put", &got, &sent]);
        assert!(fs::read(folder.path(&sent)).expect("it is there") == bytes, "{name}");
    }
    let text = "one\ntwo\r\n".repeat(100);
    fs::write(folder.path("text"), &text).expect("a file");
    let got = local.path("text").to_string_lossy().into_owned();
    tftp("netascii", &["get", "text", &got]);
    assert_eq!(fs::read_to_string(&got).expect("it is there"), text);
    tftp("netascii", &["put", &got, "sent-text"]);
    assert_eq!(fs::read_to_string(folder.path("sent-text")).expect("it is there"), text);
}

/// The client of this package, as a program.
#[test]
fn the_client_reads_and_writes() {
    let (folder, local) = (Temporary::new(), Temporary::new());
    let server = Program::start(&folder.0);
    let bytes = folder.file("file", 100_000);
    let host = format!("127.0.0.1:{}", server.port);
    let tftp = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tftp"));
        command.current_dir(&local.0);
        command
    };
    output(tftp().args(["get", &host, "file", "--block", "8192"]));
    assert!(fs::read(local.path("file")).expect("it is there") == bytes);
    output(tftp().args(["put", &host, "file", "copy", "--timeout", "2"]));
    assert!(fs::read(folder.path("copy")).expect("it is there") == bytes);
    let refused = tftp().args(["get", &host, "missing"]).output().expect("it starts");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("error 1, no such file"), "{text}");
    assert_eq!(local.names(), ["file"]);
}
