//! Where the page is served (`WEB`): on this host alone, whatever else is written.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::text::fit;

/// The first port that needs no capability, of which the gate keeps none.
const FIRST_PORT: u16 = 1024;

/// Where the page is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebAddress {
    /// A socket.
    Socket(PathBuf),
    /// A port of 127.0.0.1.
    Port(u16),
}

/// What is not such a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not `off`, `unix:` with an absolute path, or `127.0.0.1:` with a port from {FIRST_PORT} to 65535; the page is for this host alone"
)]
pub struct WebAddressError(String);

impl FromStr for WebAddress {
    type Err = WebAddressError;

    fn from_str(written: &str) -> Result<Self, WebAddressError> {
        let port = |text: &str| text.parse().ok().filter(|port| *port >= FIRST_PORT && !text.starts_with(['0', '+']));
        let found = match (written.strip_prefix("unix:"), written.strip_prefix("127.0.0.1:")) {
            (Some(path), _) if path.starts_with('/') && !path.ends_with('/') => Some(Self::Socket(path.into())),
            (_, Some(text)) => port(text).map(Self::Port),
            (_, _) => None,
        };
        found.ok_or_else(|| WebAddressError(fit(written, 80)))
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
            Self::Port(port) => write!(f, "http://127.0.0.1:{port}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_for_this_host_alone() {
        for written in ["unix:/state/web.sock", "127.0.0.1:9180", "127.0.0.1:65535"] {
            assert!(written.parse::<WebAddress>().is_ok(), "{written}");
        }
        for written in [
            "0.0.0.0:9180",
            "192.0.2.1:9180",
            "localhost:9180",
            "[::1]:9180",
            ":9180",
            "9180",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:80",
            "127.0.0.1:65536",
            "127.0.0.1:+9180",
            "127.0.0.1:09180",
            "127.0.0.1:9180 ",
            "unix:",
            "unix:web.sock",
            "unix:/state/",
            "unix://",
            "http://127.0.0.1:9180",
            "on",
        ] {
            assert!(written.parse::<WebAddress>().is_err(), "{written}");
        }
    }
}
