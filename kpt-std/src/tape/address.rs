//! Addresses as bytes.

use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr as UnixAddress;

use crate::Address;

const UNKNOWN: u8 = 0;
const IP: u8 = 1;
const PATH: u8 = 2;
const NAME: u8 = 3;

/// An address as bytes: its kind, and text or a name.
pub fn encode(address: &Address) -> Vec<u8> {
    let (kind, bytes) = match (address.ip(), address.unix()) {
        (Some(ip), _) => (IP, ip.to_string().into_bytes()),
        (None, None) => (UNKNOWN, Vec::new()),
        (None, Some(unix)) => match unix.as_abstract_name() {
            Some(name) => (NAME, name.to_vec()),
            None => {
                let path = unix.as_pathname().map(|path| path.as_os_str().as_encoded_bytes());
                (PATH, path.unwrap_or_default().to_vec())
            }
        },
    };
    let mut all = vec![kind];
    all.extend(bytes);
    all
}

pub fn decode(bytes: &[u8]) -> Address {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let address = match bytes.split_first() {
        Some((&IP, rest)) => {
            text(rest).and_then(|text| text.parse::<SocketAddr>().ok()).map(Address::from)
        }
        Some((&PATH, rest)) => {
            use std::os::unix::ffi::OsStrExt;
            let path = std::ffi::OsStr::from_bytes(rest);
            UnixAddress::from_pathname(path).ok().map(Address::from)
        }
        Some((&NAME, rest)) => UnixAddress::from_abstract_name(rest).ok().map(Address::from),
        _ => None,
    };
    address.unwrap_or(Address::UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_they_were() {
        let unix = |path: &str| Address::from(UnixAddress::from_pathname(path).unwrap());
        let named = UnixAddress::from_abstract_name(b"a\xFFb").unwrap();
        let ip = |text: &str| Address::from(text.parse::<SocketAddr>().unwrap());
        let all = [
            ip("192.0.2.7:80"),
            ip("[2001:db8::1%3]:443"),
            unix("/run/app.sock"),
            unix(""),
            named.into(),
            Address::UNKNOWN,
        ];
        for address in all {
            assert_eq!(decode(&encode(&address)).to_string(), address.to_string());
        }
        assert_eq!(decode(b"\x01nonsense").to_string(), "unknown");
        assert_eq!(decode(b"").to_string(), "unknown");
    }
}
