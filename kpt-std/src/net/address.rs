//! Where a socket is, or who is at its other end.

use std::fmt;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr as UnixAddress;
use std::path::Path;

/// The address of a socket: an IP address with a port, or the name of a Unix socket.
///
/// It prints as one short word for logs, such as `192.0.2.7:4711`, `unix:/run/app.sock`, or `unix` for a Unix socket
/// without a name. What comes from others in it is escaped, so that it stays on its line.
#[derive(Clone, Debug)]
pub struct Address(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Ip(SocketAddr),
    Unix(UnixAddress),
    /// One that the system does not tell, such as that of a peer before the connection is made.
    Unknown,
}

impl Address {
    pub(crate) const UNKNOWN: Self = Self(Kind::Unknown);

    /// Returns the IP address and port; `None` for a Unix socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        if let Kind::Ip(address) = self.0 { Some(address) } else { None }
    }

    /// Returns the path of a Unix socket; `None` if it has none.
    pub fn path(&self) -> Option<&Path> {
        self.unix()?.as_pathname()
    }

    /// The address of a Unix socket at a path.
    pub(super) fn of_path(path: &Path) -> Self {
        UnixAddress::from_pathname(path).map_or(Self::UNKNOWN, Self::from)
    }

    pub(crate) fn unix(&self) -> Option<&UnixAddress> {
        if let Kind::Unix(address) = &self.0 { Some(address) } else { None }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(Kind::Ip(address))
    }
}

impl From<UnixAddress> for Address {
    fn from(address: UnixAddress) -> Self {
        Self(Kind::Unix(address))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, name) = match &self.0 {
            Kind::Ip(address) => return address.fmt(f),
            Kind::Unknown => return f.pad("unknown"),
            Kind::Unix(address) => match (address.as_pathname(), address.as_abstract_name()) {
                (Some(path), _) => ("unix:", path.as_os_str().as_encoded_bytes()),
                (None, Some(name)) => ("unix:@", name),
                (None, None) => return f.pad("unix"),
            },
        };
        write!(f, "{before}{}", String::from_utf8_lossy(name).escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_one_line() {
        let shown = |address: Address| address.to_string();
        let unix = |path: &str| Address::from(UnixAddress::from_pathname(path).unwrap());
        let named = UnixAddress::from_abstract_name(b"a\xFFb").unwrap();
        assert_eq!(shown(SocketAddr::from(([192, 0, 2, 7], 80)).into()), "192.0.2.7:80");
        assert_eq!(shown(unix("/run/app.sock")), "unix:/run/app.sock");
        assert_eq!(shown(unix("/tmp/a\nfatal: b")), "unix:/tmp/a\\nfatal: b");
        assert_eq!(shown(named.into()), "unix:@a\u{FFFD}b");
        assert_eq!(shown(unix("")), "unix");
        assert_eq!(shown(Address::UNKNOWN), "unknown");
    }

    #[test]
    fn an_address_has_one_kind() {
        let ip = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!((Address::from(ip).ip(), Address::from(ip).path()), (Some(ip), None));
        let unix = Address::from(UnixAddress::from_pathname("/a").unwrap());
        assert_eq!((unix.ip(), unix.path()), (None, Some(Path::new("/a"))));
    }
}
