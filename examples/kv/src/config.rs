//! The command line. Options have the names and units of Redis, where it has them.

use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

use crate::commands::Limits;
use crate::outside::Outside;

pub const HELP: &str = "
A server of keys and values in memory, for clients of Redis (RESP2).

Usage: kv [--tape FILE] [options]
       kv --replay FILE [--small-loop]
    --tape FILE          records the run, with all that clients send
    --replay FILE        runs it once more, without clients and files, and says
                         how far this program does the same
    --small-loop         in kpt's small loop, which has room for 256 threads
    --bind ADDRESS       where to listen (127.0.0.1)
    --port N             the port; 0 takes a free one (6379)
    --maxclients N       how many clients may be connected (10000)
    --timeout SECONDS    disconnects clients that are idle for this long; 0: never (0)
    --maxmemory BYTES    commands that need more are refused; 0: no limit (0)
    --client-output-buffer-limit BYTES
                         a client with more bytes of unsent replies is
                         dropped (64mb)
    --client-query-buffer-limit BYTES
                         so is one whose request is longer (1gb)
    --proto-max-bulk-len BYTES
                         the longest argument and the longest value (512mb)
    --max-expiring-keys N
                         how many keys may have a deadline at the same time:
                         each takes a timer (4000000)
    --dir PATH           where the snapshot is (.)
    --dbfilename NAME    its name (dump.kv)
    --save SECONDS       the period of snapshots in the background, if something
                         has changed; 0: when asked, and at the end (3600)
    --save-timeout SECONDS
                         one that takes longer is given up (600)
    --spin MICROSECONDS  looks for requests for this long before it sleeps: more
                         requests a second, for a little CPU time (6)
    --logfile PATH       where to log to; SIGHUP opens it anew (standard error)
    --loglevel LEVEL     debug, verbose, notice or warning (notice)

SIGTERM and SIGINT save and end; if the snapshot can't be written, the server
goes on. BYTES may end with kb, mb or gb (1024) and k, m or g (1000).";

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Config {
    pub bind: IpAddr,
    pub port: u16,
    pub maxclients: usize,
    pub timeout: Duration,
    pub maxmemory: usize,
    pub output_limit: usize,
    pub query_limit: usize,
    pub limits: Limits,
    pub dir: PathBuf,
    pub dbfilename: String,
    pub save: Duration,
    pub save_timeout: Duration,
    pub spin: Duration,
    pub logfile: Option<PathBuf>,
    pub loglevel: LevelFilter,
    /// Each option as it was given, or as it is without, for CONFIG GET.
    pub given: Vec<(&'static str, String)>,
}

/// The options and what they are if they are not given. Those of `save` and `appendonly` are what `redis-benchmark` asks
/// for.
const DEFAULTS: [(&str, &str); 17] = [
    ("bind", "127.0.0.1"),
    ("port", "6379"),
    ("maxclients", "10000"),
    ("timeout", "0"),
    ("maxmemory", "0"),
    ("client-output-buffer-limit", "64mb"),
    ("client-query-buffer-limit", "1gb"),
    ("proto-max-bulk-len", "512mb"),
    ("max-expiring-keys", "4000000"),
    ("dir", "."),
    ("dbfilename", "dump.kv"),
    ("save", "3600"),
    ("save-timeout", "600"),
    ("spin", "6"),
    ("logfile", ""),
    ("loglevel", "notice"),
    ("appendonly", "no"),
];

impl Config {
    /// Parses the arguments, without the program's name.
    ///
    /// # Errors
    /// Returns what is wrong with them.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut given: Vec<_> = DEFAULTS.map(|(name, value)| (name, value.to_owned())).into();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (arg, None),
            };
            let option = given.iter_mut().find(|(known, _)| name.strip_prefix("--") == Some(known));
            let (known, place) = option.ok_or(format!("unknown argument '{name}'"))?;
            if *known == "appendonly" {
                return Err("there is no append-only file".into());
            }
            *place = value.or_else(|| args.next()).ok_or(format!("{name} needs a value"))?;
        }
        let options = Options(&given);
        let dir: PathBuf = options.text("dir").into();
        let config = Self {
            bind: options.parsed("bind", "an address")?,
            port: options.parsed("port", "a number up to 65535")?,
            maxclients: options.number("maxclients", 1, 1_000_000)?,
            timeout: Duration::from_secs(options.number("timeout", 0, 1 << 30)? as u64),
            maxmemory: options.bytes("maxmemory")?,
            output_limit: options.bytes("client-output-buffer-limit")?.max(1024),
            query_limit: options.bytes("client-query-buffer-limit")?.max(64 * 1024),
            limits: Limits {
                longest_value: options.bytes("proto-max-bulk-len")?.min(u32::MAX as usize),
                expiring_keys: options.number("max-expiring-keys", 0, 13_000_000)?,
            },
            dir: whole_name(&dir).map_err(|error| format!("--dir {}: {error}", dir.display()))?,
            dbfilename: options.text("dbfilename").to_owned(),
            save: Duration::from_secs(options.number("save", 0, 1 << 30)? as u64),
            spin: Duration::from_micros(options.number("spin", 0, 1_000_000)? as u64),
            save_timeout: Duration::from_secs(options.number("save-timeout", 1, 1 << 30)? as u64),
            logfile: Some(options.text("logfile")).filter(|name| !name.is_empty()).map(Into::into),
            loglevel: match options.text("loglevel") {
                "debug" => LevelFilter::Trace,
                "verbose" => LevelFilter::Debug,
                "notice" => LevelFilter::Info,
                "warning" => LevelFilter::Warn,
                other => return Err(format!("--loglevel is no '{other}'")),
            },
            given: Vec::new(),
        };
        if config.dbfilename.is_empty() || config.dbfilename.contains('/') {
            return Err("--dbfilename is a name in --dir".into());
        }
        Ok(Self { given, ..config })
    }

    /// Returns where the snapshot is.
    pub fn snapshot(&self) -> PathBuf {
        self.dir.join(&self.dbfilename)
    }
}

fn whole_name(dir: &Path) -> io::Result<PathBuf> {
    let name = Outside::Dir.bytes(|| Ok(dir.canonicalize()?.into_os_string().into_vec()))?;
    Ok(OsString::from_vec(name).into())
}

/// The options by their names.
struct Options<'g>(&'g [(&'static str, String)]);

impl Options<'_> {
    fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<T, String> {
        let value = self.text(name);
        value.parse().map_err(|_| format!("--{name} takes {what}, not '{value}'"))
    }

    fn number(&self, name: &str, least: usize, most: usize) -> Result<usize, String> {
        let what = format!("a number from {least} to {most}");
        let number = self.parsed(name, &what)?;
        let is_allowed = (least..=most).contains(&number);
        is_allowed.then_some(number).ok_or(format!("--{name} takes {what}, not '{number}'"))
    }

    fn bytes(&self, name: &str) -> Result<usize, String> {
        let value = self.text(name);
        bytes(value).ok_or(format!("--{name} takes a number of bytes, not '{value}'"))
    }
}

/// Returns the number of bytes in a text as `100`, `64mb` or `1g`.
fn bytes(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Config, String> {
        Config::parse(args.iter().map(|&arg| arg.to_owned()))
    }

    #[test]
    fn options_are_understood_or_refused() {
        let config = parse(&["--port", "7", "--maxmemory=2mb", "--timeout", "3"]).expect("right");
        assert_eq!((config.port, config.maxmemory), (7, 2 << 20));
        assert_eq!(config.timeout, Duration::from_secs(3));
        for args in [
            &["--port"][..],
            &["--port", "66000"],
            &["--maxmemory", "2tb"],
            &["--maxclients", "0"],
            &["--dir", "/there is no such directory"],
            &["--dbfilename", "../x"],
            &["--loglevel", "loud"],
            &["--appendonly", "yes"],
            &["--nonsense", "1"],
            &["port", "1"],
        ] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn sizes_have_the_units_of_redis() {
        for (text, expected) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("1k", Some(1000)),
            ("1KB", Some(1024)),
            ("3gb", Some(3 << 30)),
            ("", None),
            ("mb", None),
            ("1.5mb", None),
            ("-1", None),
            ("99999999999gb", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }
}
