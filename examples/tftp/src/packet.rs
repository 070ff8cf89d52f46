//! Packets as bytes (RFC 1350), with the options of a request (RFC 2347).

use std::fmt;

use crate::options::Options;

/// The largest block that can be agreed on (RFC 2348).
pub const LARGEST_BLOCK: usize = 65_464;
/// The block size without options.
pub const DEFAULT_BLOCK: usize = 512;
/// The longest request (RFC 2347).
pub const LONGEST_REQUEST: usize = 512;

const READ: u16 = 1;
const WRITE: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OPTION_ACK: u16 = 6;

/// A packet. Its text and its data are those of the datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'p> {
    /// A request to read or to write a file.
    Request(Request<'p>),
    /// A block of a file. The last one is shorter than the others.
    Data {
        /// The number of the block, which begins anew after 65,535.
        block: u16,
        /// Its content.
        bytes: &'p [u8],
    },
    /// A block has been received; with 0, a request to write or its options.
    Ack {
        /// The number of the block.
        block: u16,
    },
    /// The transfer is over.
    Error {
        /// One of [`Code`], or any other number.
        code: u16,
        /// For people, as it came.
        text: &'p [u8],
    },
    /// The options that a server accepts.
    OptionAck(Options),
}

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'p> {
    /// Whether the client sends the file.
    pub is_write: bool,
    /// The name of the file, as it came.
    pub name: &'p [u8],
    /// How text is encoded.
    pub mode: Mode,
    /// What else it asks for.
    pub options: Options,
}

/// How a file is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it is.
    Octet,
    /// Lines end with CR LF, and CR is CR NUL.
    Netascii,
    /// One that is not supported.
    Other,
}

/// The codes of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// See the text.
    Other = 0,
    /// There is no such file.
    NotFound = 1,
    /// The file may not be read or written.
    Forbidden = 2,
    /// The disk is full, or the file too large.
    Full = 3,
    /// A packet that can't come now.
    Illegal = 4,
    /// A packet that belongs to no transfer.
    UnknownTransfer = 5,
    /// The file exists.
    Exists = 6,
    /// Options that were not asked for.
    Options = 8,
}

/// The bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'p> Packet<'p> {
    /// Takes a datagram apart.
    ///
    /// # Errors
    /// Returns [`Malformed`] if it is too short, of an unknown kind, or a text in it has no end.
    pub fn parse(datagram: &'p [u8]) -> Result<Self, Malformed> {
        let (kind, rest) = split_number(datagram)?;
        match kind {
            READ | WRITE => Request::parse(kind == WRITE, rest).map(Self::Request),
            DATA => split_number(rest).map(|(block, bytes)| Self::Data { block, bytes }),
            // Some clients append bytes to it.
            ACK => split_number(rest).map(|(block, _)| Self::Ack { block }),
            ERROR => {
                let (code, text) = split_number(rest)?;
                // Some leave out the end of the text.
                let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
                Ok(Self::Error { code, text })
            }
            OPTION_ACK => Options::parse(rest).map(Self::OptionAck),
            _ => Err(Malformed),
        }
    }

    /// Appends its bytes.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let mut number = |number: u16| to.extend_from_slice(&number.to_be_bytes());
        match self {
            Self::Request(request) => {
                number(if request.is_write { WRITE } else { READ });
                push_text(to, request.name);
                push_text(to, request.mode.name().as_bytes());
                request.options.encode(to);
            }
            Self::Data { block, bytes } => {
                number(DATA);
                number(*block);
                to.extend_from_slice(bytes);
            }
            Self::Ack { block } => {
                number(ACK);
                number(*block);
            }
            Self::Error { code, text } => {
                number(ERROR);
                number(*code);
                push_text(to, text);
            }
            Self::OptionAck(options) => {
                number(OPTION_ACK);
                options.encode(to);
            }
        }
    }

    /// Returns its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }

    /// Creates an error.
    pub fn error(code: Code, text: &'p str) -> Self {
        Self::Error { code: code as u16, text: text.as_bytes() }
    }
}

impl<'p> Request<'p> {
    fn parse(is_write: bool, rest: &'p [u8]) -> Result<Self, Malformed> {
        let (name, rest) = split_text(rest)?;
        let (mode, rest) = split_text(rest)?;
        let mode = match mode {
            _ if mode.eq_ignore_ascii_case(b"octet") => Mode::Octet,
            _ if mode.eq_ignore_ascii_case(b"netascii") => Mode::Netascii,
            _ => Mode::Other,
        };
        Ok(Self { is_write, name, mode, options: Options::parse(rest)? })
    }
}

impl Mode {
    /// Returns the word for it in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Octet => "octet",
            Self::Netascii => "netascii",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a packet")
    }
}

impl std::error::Error for Malformed {}

fn split_number(bytes: &[u8]) -> Result<(u16, &[u8]), Malformed> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    Ok((u16::from_be_bytes(*number), rest))
}

/// Splits off a text that ends with a zero byte.
pub(crate) fn split_text(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let end = bytes.iter().position(|&byte| byte == 0).ok_or(Malformed)?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

pub(crate) fn push_text(to: &mut Vec<u8>, text: &[u8]) {
    // A zero byte would end it.
    to.extend(text.iter().take_while(|&&byte| byte != 0));
    to.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_are_as_the_rfc_draws_them() {
        let options =
            Options { block_size: Some(1428), timeout: Some(2), size: Some(0), ..Options::NONE };
        let request = |is_write, mode, options| {
            Packet::Request(Request { is_write, name: b"a/b", mode, options })
        };
        for (packet, bytes) in [
            (request(false, Mode::Octet, Options::NONE), &b"\0\x01a/b\0octet\0"[..]),
            (
                request(true, Mode::Netascii, options.clone()),
                b"\0\x02a/b\0netascii\0blksize\x001428\0timeout\x002\0tsize\x000\0",
            ),
            (Packet::Data { block: 258, bytes: b"x" }, b"\0\x03\x01\x02x"),
            (Packet::Ack { block: 65_535 }, b"\0\x04\xFF\xFF"),
            (Packet::error(Code::NotFound, "no"), b"\0\x05\0\x01no\0"),
            (Packet::OptionAck(options), b"\0\x06blksize\x001428\0timeout\x002\0tsize\x000\0"),
        ] {
            assert_eq!(packet.to_bytes(), bytes);
            assert_eq!(Packet::parse(bytes), Ok(packet));
        }
    }

    #[test]
    fn what_is_cut_is_no_packet() {
        for bytes in [
            &b""[..],
            b"\0",
            b"\0\0",
            b"\0\x01",
            b"\0\x01f",
            b"\0\x01f\0",
            b"\0\x01f\0octet",
            b"\0\x03\0",
            b"\0\x04",
            b"\0\x05\0",
            b"\0\x06blksize",
            b"\0\x06blksize\0",
            b"\0\x06blksize\x008",
            b"\0\x07x\0",
            b"\x01\x01f\0octet\0",
            b"\0\x01f\0octet\0blksize\0",
        ] {
            assert_eq!(Packet::parse(bytes), Err(Malformed), "{}", bytes.escape_ascii());
        }
        // Those of others, as they are seen in the field.
        assert_eq!(Packet::parse(b"\0\x04\0\x01junk"), Ok(Packet::Ack { block: 1 }));
        assert_eq!(Packet::parse(b"\0\x05\0\x02no"), Ok(Packet::error(Code::Forbidden, "no")));
    }

    proptest! {
        #[test]
        fn no_datagram_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..600), kind in 0..9_u8) {
            let mut bytes = bytes;
            let _ = Packet::parse(&bytes);
            if let [high, low, ..] = &mut bytes[..] {
                (*high, *low) = (0, kind);
            }
            // What is understood of it is understood again.
            if let Ok(packet) = Packet::parse(&bytes) {
                let first = packet.to_bytes();
                let second = Packet::parse(&first).map(|packet| packet.to_bytes());
                prop_assert_eq!(second, Ok(first));
            }
        }
    }
}
