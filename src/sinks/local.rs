//! Sinks of this host: standard output, the syslog socket, the journal; and a syslog daemon elsewhere, by UDP. Each entry is one datagram.

use std::io::{self, Write as _};
use std::net::{ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::encode::{Fields, Weight};
use super::{Failure, Way, encode, host_name};
use crate::policy::{SinkFormat, SyslogAt};

/// Where the journal listens; of the managed plugin, behind the folder it is given.
const JOURNAL: [&str; 2] = ["/run/systemd/journal/socket", "/host-run/systemd/journal/socket"];
/// Where a syslog daemon listens, or the journal in its place.
const SYSLOG: [&str; 3] = ["/dev/log", "/run/systemd/journal/dev-log", "/host-run/systemd/journal/dev-log"];
/// How long a full socket is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Facility `authpriv`: what goes where only administrators read.
const FACILITY: u8 = 10;
/// What entries are told apart by.
const TAG: &str = "img-authz";

impl Weight {
    /// As syslog and the journal count it.
    const fn severity(self) -> u8 {
        match self {
            Self::Info => 6,
            Self::Notice => 5,
            Self::Warning => 4,
        }
    }
}

/// Standard output, a line for each.
pub(super) struct Stdout(pub(super) SinkFormat);

impl Way for Stdout {
    fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure> {
        // Locked for a line at a time: the gate's own log goes there too.
        for line in lines {
            let text = [&*encode(self.0, line), b"\n"].concat();
            io::stdout().write_all(&text).map_err(Failure::away)?;
        }
        io::stdout().flush().map_err(Failure::away)?;
        Ok(lines.len() as u64)
    }
}

/// Where datagrams go.
enum To {
    /// The first of these sockets that somebody listens at.
    Sockets(Vec<PathBuf>),
    /// A host's port.
    Udp(String),
}

enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl To {
    fn connect(&self) -> io::Result<Socket> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        match self {
            Self::Sockets(paths) => {
                for path in paths {
                    let socket = UnixDatagram::unbound()?;
                    socket.set_write_timeout(Some(PATIENCE))?;
                    match socket.connect(path) {
                        Ok(()) => return Ok(Socket::Unix(socket)),
                        Err(error) => last = io::Error::new(error.kind(), format!("`{}`: {error}", path.display())),
                    }
                }
            }
            Self::Udp(host) => {
                for address in host.to_socket_addrs()? {
                    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    match UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket)) {
                        Ok(socket) => {
                            socket.set_write_timeout(Some(PATIENCE))?;
                            return Ok(Socket::Udp(socket));
                        }
                        Err(error) => last = error,
                    }
                }
            }
        }
        Err(last)
    }
}

impl Socket {
    fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.send(datagram),
            Self::Udp(socket) => socket.send(datagram),
        }
    }
}

/// A socket of datagrams that may come and go, connected when it is needed.
struct Datagrams {
    to: To,
    socket: Option<Socket>,
    /// Of the entries that are being sent, those that have been, and those of them that have arrived.
    done: usize,
    arrived: u64,
}

impl Datagrams {
    const fn new(to: To) -> Self {
        Self { to, socket: None, done: 0, arrived: 0 }
    }

    /// What has been sent before a failure is not sent twice.
    fn send(&mut self, lines: &[Arc<[u8]>], datagram: impl Fn(&[u8]) -> Vec<u8>) -> Result<u64, Failure> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.to.connect().map_err(Failure::away)?,
        };
        for line in lines.iter().skip(self.done) {
            match socket.send(&datagram(line)) {
                Ok(_) => self.arrived = self.arrived.saturating_add(1),
                // Longer than the socket takes: this one is lost, and the rest need not wait.
                Err(error) if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => {}
                // The daemon stopped, or was started again: its socket is another.
                Err(error) => return Err(Failure::away(error)),
            }
            self.done = self.done.saturating_add(1);
        }
        self.socket = Some(socket);
        self.done = 0;
        Ok(std::mem::take(&mut self.arrived))
    }
}

/// The journal, by its own protocol: the entry is the message, and what one searches by are fields.
pub(super) struct Journald {
    to: Datagrams,
    format: SinkFormat,
}

impl Journald {
    pub(super) fn here(format: SinkFormat) -> Self {
        Self::at(JOURNAL.map(PathBuf::from).to_vec(), format)
    }

    pub(super) fn at(paths: Vec<PathBuf>, format: SinkFormat) -> Self {
        Self { to: Datagrams::new(To::Sockets(paths)), format }
    }
}

impl Way for Journald {
    fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure> {
        let format = self.format;
        self.to.send(lines, |line| {
            let entry = Fields::of(line);
            let mut out = Vec::with_capacity(line.len() + 512);
            // Values of JSON fields are escaped by the gate, so that none has a line's end; one that has is left out.
            let mut field = |name: &str, value: &[u8]| {
                if !value.is_empty() && !value.contains(&b'\n') {
                    out.extend_from_slice(&[name.as_bytes(), b"=", value, b"\n"].concat());
                }
            };
            field("MESSAGE", &encode(format, line));
            field("PRIORITY", entry.weight().severity().to_string().as_bytes());
            field("SYSLOG_FACILITY", FACILITY.to_string().as_bytes());
            field("SYSLOG_IDENTIFIER", TAG.as_bytes());
            for (name, key) in [
                ("IMG_AUTHZ_EVENT", "event"),
                ("IMG_AUTHZ_CODE", "code"),
                ("IMG_AUTHZ_IMAGE", "image"),
                ("IMG_AUTHZ_USER", "user"),
                ("IMG_AUTHZ_CHAIN", "chain"),
            ] {
                field(name, entry.text(key).as_bytes());
            }
            out
        })
    }
}

/// A syslog daemon.
pub(super) struct Syslog {
    to: Datagrams,
    /// What this host calls itself, where that is said: elsewhere, by RFC 5424. Listeners of the socket here read what the C library writes.
    host: Option<String>,
    format: SinkFormat,
}

impl Syslog {
    pub(super) fn new(at: &SyslogAt, format: SinkFormat) -> Self {
        let (to, host) = match at {
            SyslogAt::Here => (To::Sockets(SYSLOG.map(PathBuf::from).to_vec()), None),
            SyslogAt::Socket(path) => (To::Sockets(vec![path.clone()]), None),
            SyslogAt::Udp(to) => (To::Udp(to.clone()), Some(host_name().replace(|c: char| !c.is_ascii_graphic(), "-"))),
        };
        Self { to: Datagrams::new(to), host, format }
    }
}

impl Way for Syslog {
    fn send(&mut self, lines: &[Arc<[u8]>]) -> Result<u64, Failure> {
        let (format, host) = (self.format, &self.host);
        self.to.send(lines, |line| {
            let entry = Fields::of(line);
            let (priority, process) = (FACILITY * 8 + entry.weight().severity(), std::process::id());
            let time = |format| entry.time().map(|time| time.strftime(format).to_string());
            let head = match host {
                None => format!("<{priority}>{}{TAG}[{process}]: ", time("%b %e %H:%M:%S ").unwrap_or_default()),
                Some(host) => {
                    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
                    let time = or_none(&time("%Y-%m-%dT%H:%M:%S.%6fZ").unwrap_or_default());
                    format!("<{priority}>1 {time} {} {TAG} {process} {} - ", or_none(host), or_none(entry.text("event")))
                }
            };
            [head.as_bytes(), &encode(format, line)].concat()
        })
    }
}
