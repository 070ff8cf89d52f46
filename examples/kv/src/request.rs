//! Requests of RESP2, parsed where they lie: an array of bulk strings (`*1\r\n$4\r\nPING\r\n`), or a line (`PING\r\n`).
//!
//! Nothing is copied but the words of a line, which may be quoted. A request that has not come whole yet is gone on with
//! where its last byte ended, so that one which comes byte by byte costs no more than one which comes at once.

use std::fmt;
use std::ops::{Index, Range};

/// The most arguments of a request.
const MOST_ARGS: i64 = 1024 * 1024;
/// The longest line.
const LONGEST_LINE: usize = 64 * 1024;
/// The longest line that holds a number: a sign and 19 digits, with room for zeros in front.
const LONGEST_NUMBER: usize = 32;

/// Why a request is no valid one. The client is told, and the connection ends, as it is not known where the next request
/// begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbled {
    ArgCount,
    ArgLength,
    ArgCountTooLong,
    ArgLengthTooLong,
    NoArg(u8),
    Line,
    Quotes,
}

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            Self::ArgCount => f.write_str("invalid multibulk length"),
            Self::ArgLength => f.write_str("invalid bulk length"),
            Self::ArgCountTooLong => f.write_str("too big mbulk count string"),
            Self::ArgLengthTooLong => f.write_str("too big bulk count string"),
            Self::NoArg(found) => write!(f, "expected '$', got '{}'", found.escape_ascii()),
            Self::Line => f.write_str("too big inline request"),
            Self::Quotes => f.write_str("unbalanced quotes in request"),
        }
    }
}

/// What is known of the request that is being received.
#[derive(Debug, Default)]
pub struct Parser {
    /// Where the arguments lie, from the first byte of the request; for a line, in `words`.
    spans: Vec<Range<usize>>,
    /// How many arguments are missing, once their count is known.
    missing: usize,
    /// Up to here, all has been understood.
    at: usize,
    is_line: bool,
    words: Vec<u8>,
}

impl Parser {
    /// Goes on with the request that `bytes` begin with, until they end. Returns the request's length when it is complete,
    /// and its arguments are those of [`args`](Self::args). It may have none: an empty line, or an empty array.
    ///
    /// # Errors
    /// Returns what is not as the protocol says. An argument of more than `longest_arg` bytes is refused before any of
    /// it has come.
    pub fn parse(&mut self, bytes: &[u8], longest_arg: usize) -> Result<Option<usize>, Garbled> {
        if self.missing == 0 {
            match bytes.first() {
                None => return Ok(None),
                Some(b'*') => {}
                Some(_) => return self.parse_line(bytes),
            }
            self.restart(false);
            let Some((count, end)) = number_line(bytes, 1, Garbled::ArgCount)? else {
                return Ok(None);
            };
            if count > MOST_ARGS {
                return Err(Garbled::ArgCount);
            }
            if count <= 0 {
                return Ok(Some(end));
            }
            (self.missing, self.at) = (count as usize, end);
        }
        self.parse_args(bytes, longest_arg)
    }

    fn parse_args(&mut self, bytes: &[u8], longest_arg: usize) -> Result<Option<usize>, Garbled> {
        while self.missing > 0 {
            match bytes.get(self.at) {
                None => return Ok(None),
                Some(b'$') => {}
                Some(&found) => return Err(Garbled::NoArg(found)),
            }
            let Some((length, start)) = number_line(bytes, self.at + 1, Garbled::ArgLength)? else {
                return Ok(None);
            };
            let length = usize::try_from(length).map_err(|_| Garbled::ArgLength)?;
            if length > longest_arg {
                return Err(Garbled::ArgLength);
            }
            let end = start + length;
            if bytes.len() < end + 2 {
                return Ok(None);
            }
            self.spans.push(start..end);
            self.missing -= 1;
            self.at = end + 2; // Redis does not look at the two bytes either.
        }
        Ok(Some(self.at))
    }

    fn parse_line(&mut self, bytes: &[u8]) -> Result<Option<usize>, Garbled> {
        // What has been looked at before, and is no end, is not looked at again.
        let seen = if self.is_line { self.at.min(bytes.len()) } else { 0 };
        let Some(length) = bytes[seen..].iter().position(|&byte| byte == b'\n') else {
            self.restart(true);
            self.at = bytes.len();
            return if bytes.len() > LONGEST_LINE { Err(Garbled::Line) } else { Ok(None) };
        };
        let end = seen + length;
        if end > LONGEST_LINE {
            return Err(Garbled::Line);
        }
        self.restart(true);
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        split_words(line, &mut self.words, &mut self.spans)?;
        Ok(Some(end + 1))
    }

    fn restart(&mut self, is_line: bool) {
        self.spans.clear();
        self.words.clear();
        (self.missing, self.at, self.is_line) = (0, 0, is_line);
    }

    /// Returns the arguments of the request that is complete, and which `bytes` begin with.
    pub fn args<'a>(&'a self, bytes: &'a [u8]) -> Args<'a> {
        Args { bytes: if self.is_line { &self.words } else { bytes }, spans: &self.spans }
    }

    /// Lets the next call of `parse` begin a new request.
    pub fn finish(&mut self) {
        self.restart(false);
        // One request of a million arguments does not cost its memory for ever.
        if self.spans.capacity() > 1024 {
            self.spans = Vec::new();
        }
    }

    /// Returns the memory that it uses, in bytes.
    pub fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<Range<usize>>() + self.words.capacity()
    }
}

/// The arguments of a request, the first of which names the command.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Range<usize>],
}

impl<'a> Args<'a> {
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn get(&self, at: usize) -> Option<&'a [u8]> {
        self.spans.get(at).map(|span| &self.bytes[span.clone()])
    }

    /// Returns those from the `from`th on.
    pub fn iter_from(self, from: usize) -> impl Iterator<Item = &'a [u8]> {
        self.spans.iter().skip(from).map(move |span| &self.bytes[span.clone()])
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    fn index(&self, at: usize) -> &[u8] {
        &self.bytes[self.spans[at].clone()]
    }
}

/// Returns the number that begins at `from`, and where the line behind it ends; `None` if that has not come yet.
fn number_line(
    bytes: &[u8],
    from: usize,
    garbled: Garbled,
) -> Result<Option<(i64, usize)>, Garbled> {
    let rest = &bytes[from.min(bytes.len())..];
    let digits = rest.strip_prefix(b"-").unwrap_or(rest);
    let sign = rest.len() - digits.len();
    let mut number = 0_i64;
    for (count, &byte) in digits.iter().take(LONGEST_NUMBER).enumerate() {
        match byte {
            b'0'..=b'9' => {
                let digit = i64::from(byte - b'0');
                number = number
                    .checked_mul(10)
                    .and_then(|number| number.checked_add(digit))
                    .ok_or(garbled)?;
            }
            b'\r' if count > 0 => {
                return match digits.get(count + 1) {
                    None => Ok(None),
                    Some(b'\n') => {
                        let number = if sign == 1 { -number } else { number };
                        Ok(Some((number, from + sign + count + 2)))
                    }
                    Some(_) => Err(garbled),
                };
            }
            _ => return Err(garbled),
        }
    }
    if digits.len() < LONGEST_NUMBER {
        return Ok(None);
    }
    Err(match garbled {
        Garbled::ArgCount => Garbled::ArgCountTooLong,
        _ => Garbled::ArgLengthTooLong,
    })
}

/// Appends the words of a line to `words`, without quotes, and where they lie there to `spans`. In double quotes, `\n`,
/// `\r`, `\t`, `\b`, `\a` and `\xff` stand for a byte; in single ones, only `\'` does.
fn split_words(
    mut line: &[u8],
    words: &mut Vec<u8>,
    spans: &mut Vec<Range<usize>>,
) -> Result<(), Garbled> {
    loop {
        line = line.trim_ascii_start();
        if line.is_empty() {
            return Ok(());
        }
        let start = words.len();
        while let [first, rest @ ..] = line {
            line = rest;
            match first {
                b' ' | b'\n' | b'\r' | b'\t' | 0 => break,
                b'"' => line = unquote(line, b'"', words)?,
                b'\'' => line = unquote(line, b'\'', words)?,
                &byte => words.push(byte),
            }
        }
        spans.push(start..words.len());
    }
}

/// Appends what is up to the closing quote, and returns what is behind it: nothing, or a space.
fn unquote<'l>(mut line: &'l [u8], quote: u8, words: &mut Vec<u8>) -> Result<&'l [u8], Garbled> {
    loop {
        let (byte, rest) = match line {
            [b'\\', b'x', high, low, rest @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) << 4 | hex(*low), rest)
            }
            [b'\\', byte, rest @ ..] if quote == b'"' => (unescaped(*byte), rest),
            [b'\\', b'\'', rest @ ..] if quote == b'\'' => (b'\'', rest),
            [byte, rest @ ..] if *byte == quote => {
                let is_closed = rest.first().is_none_or(|byte| byte.is_ascii_whitespace());
                return if is_closed { Ok(rest) } else { Err(Garbled::Quotes) };
            }
            [byte, rest @ ..] => (*byte, rest),
            [] => return Err(Garbled::Quotes),
        };
        words.push(byte);
        line = rest;
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

fn hex(digit: u8) -> u8 {
    (digit as char).to_digit(16).unwrap_or(0) as u8
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
