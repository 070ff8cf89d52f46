//! The commands: their table, and how one is found and refused.

mod admin;
mod client;
mod connection;
mod keys;
mod strings;

use std::fmt;

use kpt_std::Instant;

use crate::reply::Reply;
use crate::request::Args;
use crate::server::{Server, ServerThreads};
use crate::store::Store;

/// A command.
#[derive(Debug)]
pub struct Command {
    pub name: &'static str,
    /// The name, for comparing.
    word: u128,
    /// How many arguments it takes, the name among them; if negative, at least that many.
    pub arity: i32,
    /// Whether it may need more memory, and is refused when there is none.
    pub grows: bool,
    pub run: Run,
}

/// What a command works on.
#[derive(Debug)]
pub enum Run {
    /// The keys alone.
    Keys(fn(&mut Call) -> Result<(), Refusal>),
    /// The server, its clients and the loop.
    Server(fn(&mut Server, &mut Asked) -> Result<(), Refusal>),
}

/// A call of a command that works on the keys.
#[derive(Debug)]
pub struct Call<'c> {
    pub args: Args<'c>,
    pub store: &'c mut Store,
    pub now: Instant,
    pub reply: &'c mut Reply,
    pub limits: &'c Limits,
}

/// A call of a command that works on the server.
#[derive(Debug)]
pub struct Asked<'c, 't> {
    pub args: Args<'c>,
    /// Who asks.
    pub client: u32,
    pub now: Instant,
    pub reply: &'c mut Reply,
    pub threads: ServerThreads<'t>,
}

/// What a command may not go beyond.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest argument, and the longest value, in bytes.
    pub longest_value: usize,
    /// The most keys with a deadline: each has a timer.
    pub expiring_keys: usize,
}

/// Why a command is refused, in the words of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    UnknownCommand(String),
    UnknownSubcommand(&'static str, String),
    /// The command, in lower case, has another number of arguments.
    Arity(String),
    Syntax,
    NotAnInteger,
    Overflow,
    DecrementOverflow,
    /// Of the command, in lower case.
    ExpireTime(&'static str),
    ValueTooLong,
    OutOfMemory,
    TooManyExpiring,
    InvalidCursor,
    DbIndex,
    /// It does not fit into 32 bits.
    TooLarge,
    Protocol,
    Other(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCommand(what) => write!(f, "ERR unknown command {what}"),
            Self::UnknownSubcommand(command, found) => {
                write!(f, "ERR unknown subcommand '{found}'. Try {command} HELP.")
            }
            Self::Arity(command) => {
                write!(f, "ERR wrong number of arguments for '{command}' command")
            }
            Self::Syntax => f.write_str("ERR syntax error"),
            Self::NotAnInteger => f.write_str("ERR value is not an integer or out of range"),
            Self::Overflow => f.write_str("ERR increment or decrement would overflow"),
            Self::DecrementOverflow => f.write_str("ERR decrement would overflow"),
            Self::ExpireTime(command) => {
                write!(f, "ERR invalid expire time in '{command}' command")
            }
            Self::ValueTooLong => {
                f.write_str("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
            }
            Self::OutOfMemory => {
                f.write_str("OOM command not allowed when used memory > 'maxmemory'.")
            }
            Self::TooManyExpiring => {
                f.write_str("ERR max number of keys with an expire time reached")
            }
            Self::InvalidCursor => f.write_str("ERR invalid cursor"),
            Self::DbIndex => f.write_str("ERR DB index is out of range"),
            Self::TooLarge => write!(
                f,
                "ERR value is out of range, value must between {} and {}",
                i32::MIN,
                i32::MAX
            ),
            Self::Protocol => f.write_str("NOPROTO unsupported protocol version"),
            Self::Other(text) => write!(f, "ERR {text}"),
        }
    }
}

/// Returns the command of that name, whatever its case.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let word = word(name)?;
    let at = COMMANDS.binary_search_by_key(&word, |command| command.word).ok()?;
    COMMANDS.get(at)
}

/// Returns the refusal of a request that names no command.
pub fn unknown(args: Args) -> Refusal {
    const LONGEST: usize = 128;
    let cut =
        |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]).into_owned();
    let mut text = format!("'{}', with args beginning with: ", cut(&args[0]));
    for arg in args.iter_from(1) {
        if text.len() >= LONGEST {
            break;
        }
        text += &format!("'{}' ", cut(arg));
    }
    Refusal::UnknownCommand(text)
}

impl Command {
    const fn new(name: &'static str, arity: i32, grows: bool, run: Run) -> Self {
        let Some(word) = word(name.as_bytes()) else { panic!("a name of up to 16 bytes") };
        Self { name, word, arity, grows, run }
    }

    /// Returns whether it takes `count` arguments, the name among them.
    pub fn takes(&self, count: usize) -> bool {
        let least = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { count >= least } else { count == least }
    }
}

/// Returns a name as a number, in the order of the alphabet; `None` if it is longer than any command's.
const fn word(name: &[u8]) -> Option<u128> {
    if name.len() > 16 {
        return None;
    }
    let (mut word, mut at) = (0, 0);
    while at < name.len() {
        word |= (name[at].to_ascii_uppercase() as u128) << (120 - 8 * at);
        at += 1;
    }
    Some(word)
}

const fn keys(
    name: &'static str,
    arity: i32,
    run: fn(&mut Call) -> Result<(), Refusal>,
) -> Command {
    Command::new(name, arity, false, Run::Keys(run))
}

const fn growing(
    name: &'static str,
    arity: i32,
    run: fn(&mut Call) -> Result<(), Refusal>,
) -> Command {
    Command::new(name, arity, true, Run::Keys(run))
}

const fn server(
    name: &'static str,
    arity: i32,
    run: fn(&mut Server, &mut Asked) -> Result<(), Refusal>,
) -> Command {
    Command::new(name, arity, false, Run::Server(run))
}

/// In the order of their names.
pub static COMMANDS: &[Command] = &[
    growing("APPEND", 3, strings::append),
    server("BGSAVE", -1, admin::bgsave),
    server("CLIENT", -2, client::client),
    server("COMMAND", -1, connection::command),
    server("CONFIG", -2, admin::config),
    keys("DBSIZE", 1, keys::dbsize),
    growing("DECR", 2, strings::decr),
    growing("DECRBY", 3, strings::decrby),
    keys("DEL", -2, keys::del),
    server("ECHO", 2, connection::echo),
    keys("EXISTS", -2, keys::exists),
    keys("EXPIRE", 3, keys::expire),
    keys("FLUSHALL", -1, keys::flushall),
    keys("FLUSHDB", -1, keys::flushall),
    keys("GET", 2, strings::get),
    keys("GETDEL", 2, strings::getdel),
    server("HELLO", -1, connection::hello),
    growing("INCR", 2, strings::incr),
    growing("INCRBY", 3, strings::incrby),
    server("INFO", -1, admin::info),
    keys("KEYS", 2, keys::keys),
    server("LASTSAVE", 1, admin::lastsave),
    keys("MGET", -2, strings::mget),
    growing("MSET", -3, strings::mset),
    keys("PERSIST", 2, keys::persist),
    keys("PEXPIRE", 3, keys::pexpire),
    server("PING", -1, connection::ping),
    keys("PTTL", 2, keys::pttl),
    server("QUIT", -1, connection::quit),
    server("SAVE", 1, admin::save),
    keys("SCAN", -2, keys::scan),
    server("SELECT", 2, connection::select),
    growing("SET", -3, strings::set),
    server("SHUTDOWN", -1, admin::shutdown),
    keys("STRLEN", 2, strings::strlen),
    keys("TTL", 2, keys::ttl),
    keys("TYPE", 2, keys::type_of),
];

/// Returns the number that all of `bytes` are, written as a number is: no sign but `-`, no zero in front.
pub fn integer(bytes: &[u8]) -> Result<i64, Refusal> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let is_plain = match digits {
        [b'0'] => digits.len() == bytes.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let text = std::str::from_utf8(bytes).ok().filter(|_| is_plain);
    text.and_then(|text| text.parse().ok()).ok_or(Refusal::NotAnInteger)
}

/// Returns whether an option is the one of that name, whatever its case.
fn is_option(arg: &[u8], name: &str) -> bool {
    arg.eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_found_in_any_case() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.word));
        for command in COMMANDS {
            let found = find(command.name.to_lowercase().as_bytes()).expect(command.name);
            assert_eq!(found.name, command.name);
        }
        for name in ["", "GE", "GETT", "a name that is longer than any command"] {
            assert!(find(name.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn integers_are_written_as_redis_writes_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1e3", None),
        ] {
            assert_eq!(integer(text.as_bytes()).ok(), expected, "{text:?}");
        }
    }
}
