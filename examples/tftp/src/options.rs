//! Options of a transfer (RFC 2347 to 2349), and what is agreed on.

use crate::packet::{LARGEST_BLOCK, Malformed, push_text, split_text};

/// The smallest block that can be agreed on (RFC 2348).
const SMALLEST_BLOCK: u16 = 8;

/// The options of a request, or those that a server accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `blksize`: the bytes of a block, from 8 to 65,464.
    pub block_size: Option<u16>,
    /// `timeout`: the seconds before a packet is sent again, from 1 to 255.
    pub timeout: Option<u8>,
    /// `tsize`: the bytes of the file; 0 asks for them.
    pub size: Option<u64>,
    /// Whether there are others, or values that can't be. A server leaves them out, and a client does not accept them.
    pub has_others: bool,
}

impl Options {
    /// No options.
    pub const NONE: Self = Self { block_size: None, timeout: None, size: None, has_others: false };

    /// Takes names and values apart. Of an option that comes twice, the first counts.
    ///
    /// # Errors
    /// Returns [`Malformed`] if a name has no value, or a text has no end.
    pub fn parse(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let mut options = Self::NONE;
        while !bytes.is_empty() {
            let (name, rest) = split_text(bytes)?;
            let (value, rest) = split_text(rest)?;
            bytes = rest;
            if options.set(name, value).is_none() {
                options.has_others = true;
            }
        }
        Ok(options)
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let number = number(value)?;
        if name.eq_ignore_ascii_case(b"blksize") && self.block_size.is_none() {
            let size = u16::try_from(number).ok()?;
            let is_allowed = (SMALLEST_BLOCK..=LARGEST_BLOCK as u16).contains(&size);
            self.block_size = Some(size).filter(|_| is_allowed);
            self.block_size.map(|_| ())
        } else if name.eq_ignore_ascii_case(b"timeout") && self.timeout.is_none() {
            self.timeout = u8::try_from(number).ok().filter(|&seconds| seconds > 0);
            self.timeout.map(|_| ())
        } else if name.eq_ignore_ascii_case(b"tsize") && self.size.is_none() {
            self.size = Some(number);
            Some(())
        } else {
            None
        }
    }

    /// Appends names and values.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let block_size = self.block_size.map(u64::from);
        let timeout = self.timeout.map(u64::from);
        for (name, value) in [("blksize", block_size), ("timeout", timeout), ("tsize", self.size)] {
            let Some(value) = value else { continue };
            push_text(to, name.as_bytes());
            push_text(to, value.to_string().as_bytes());
        }
    }

    /// Returns whether there is none that is known here.
    pub fn is_empty(&self) -> bool {
        self.block_size.is_none() && self.timeout.is_none() && self.size.is_none()
    }

    /// Returns whether a server may answer a request for `self` with `accepted`: nothing that was not asked for, no
    /// larger block, and the same timeout.
    pub fn allow(&self, accepted: &Self) -> bool {
        let is_block_allowed = match (self.block_size, accepted.block_size) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(most), Some(size)) => size <= most,
        };
        let is_timeout_allowed = accepted.timeout.is_none() || accepted.timeout == self.timeout;
        let is_size_allowed = accepted.size.is_none() || self.size.is_some();
        is_block_allowed && is_timeout_allowed && is_size_allowed && !accepted.has_others
    }
}

/// Returns the value of decimal digits.
fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> Options {
        Options::parse(text).expect("pairs")
    }

    #[test]
    fn values_have_limits() {
        for (text, block_size) in [
            (&b"blksize\x008\0"[..], Some(8)),
            (b"BlkSize\x0065464\0", Some(65_464)),
            (b"blksize\x007\0", None),
            (b"blksize\x0065465\0", None),
            (b"blksize\x00+9\0", None),
            (b"blksize\x00-1\0", None),
            (b"blksize\0\0", None),
            (b"blksize\x0018446744073709551616\0", None),
        ] {
            let options = parsed(text);
            let has_others = block_size.is_none();
            assert_eq!(options, Options { block_size, has_others, ..Options::NONE });
        }
        assert_eq!(parsed(b"timeout\x000\0").timeout, None);
        assert_eq!(parsed(b"timeout\x00256\0").timeout, None);
        assert_eq!(parsed(b"timeout\x00255\0").timeout, Some(255));
        assert_eq!(parsed(b"tsize\x0018446744073709551615\0").size, Some(u64::MAX));
    }

    #[test]
    fn of_two_the_first_counts_and_unknown_ones_are_left_out() {
        let options = parsed(b"multicast\0x\0timeout\x003\0timeout\x004\0");
        assert_eq!(options, Options { timeout: Some(3), has_others: true, ..Options::NONE });
        let mut bytes = Vec::new();
        options.encode(&mut bytes);
        assert_eq!(bytes, b"timeout\x003\0");
    }

    #[test]
    fn a_server_accepts_what_was_asked_for() {
        let asked = parsed(b"blksize\x00100\0timeout\x003\0");
        for (answer, is_allowed) in [
            (&b""[..], true),
            (b"blksize\x00100\0timeout\x003\0", true),
            (b"blksize\x0099\0", true),
            (b"blksize\x00101\0", false),
            (b"timeout\x002\0", false),
            (b"tsize\x005\0", false),
            (b"windowsize\x004\0", false),
        ] {
            assert_eq!(asked.allow(&parsed(answer)), is_allowed, "{}", answer.escape_ascii());
        }
        assert!(!Options::NONE.allow(&asked));
    }
}
