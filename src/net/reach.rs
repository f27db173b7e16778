//! How near an address is. A server that names another place, a redirect or a token service, must not choose one that is nearer to this
//! host than itself: what listens there trusts whoever is near.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use std::time::Duration;

use rustix::io::Errno;

use super::Url;
use crate::names::{Crowded, Names};

/// Longest wait for a name that a proxy looks up as well.
const LOOKUP: Duration = Duration::from_secs(2);
/// Names that no public zone has: those of this host or its network.
const WITHIN: [&str; 3] = ["internal", "local", "localhost"];

/// From where an address can be reached, farthest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// From everywhere.
    Public,
    /// From networks that are nobody else's business (RFC 1918, RFC 4193, and what carriers and proxies use within).
    Private,
    /// From this host: loopback, and its own addresses.
    Own,
}

/// An address that is not connected to, because a server that is farther away has named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its address is nearer to this host than the server that names it")]
pub(super) struct Barred;

/// Metadata services of clouds at addresses that are otherwise like any: Alibaba, Azure, and Amazon over IPv6.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

impl Reach {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Public, Self::Private, Self::Own];

    /// That of an address; `None`: nobody is sent there (link-local, with the metadata of clouds; groups; what stands for no host; and where it
    /// cannot be found out whether it is this host's own).
    #[must_use]
    pub fn of(address: IpAddr) -> Option<Self> {
        let reach = by_number(address)?;
        Some(if reach == Self::Own || is_own(address).ok()? { Self::Own } else { reach })
    }

    /// Whether a server that is this near may send to that address.
    #[must_use]
    pub fn covers(self, address: IpAddr) -> bool {
        Self::of(address).is_some_and(|reach| reach <= self)
    }
}

fn by_number(address: IpAddr) -> Option<Reach> {
    if METADATA.contains(&address) {
        return None;
    }
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            // Linux takes 0.0.0.0 for this host.
            [0 | 224..=255, ..] | [169, 254, ..] | [192, 0, 0, _] => None,
            [127, ..] => Some(Reach::Own),
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] | [198, 18 | 19, ..] => Some(Reach::Private),
            // Those of documents are nobody's, and so in use within.
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some(Reach::Private),
            _ => Some(Reach::Public),
        },
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Some(Reach::Own),
            // Other ways to write an IPv4 address: mapped, compatible, NAT64, 6to4.
            [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                by_number(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
            }
            // Teredo, which hides one.
            [0x2001, 0, ..] => None,
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] | [0x2001, 0xdb8, ..] => Some(Reach::Private),
            [0x2000..=0x3fff, ..] => Some(Reach::Public),
            _ => None,
        },
    }
}

/// Whether this host has the address: then the system would speak to it from the same, or from loopback. Nothing is sent.
fn is_own(address: IpAddr) -> io::Result<bool> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = UdpSocket::bind(SocketAddr::new(any, 0)).and_then(|socket| {
        socket.connect(SocketAddr::new(address, 9))?;
        Ok(socket.local_addr()?.ip())
    });
    match from {
        Ok(from) => Ok(from == address || from.is_loopback()),
        // No way leads there, so it is not here.
        Err(error) if is_nowhere(&error) => Ok(false),
        // No free descriptor or port, or what else it may be.
        Err(error) => Err(error),
    }
}

fn is_nowhere(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
}

/// The address that stands in a URL in the place of a name, in whatever spelling: the URL's parser has made one of all.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

/// Whether a name leads nearer than that by any of its addresses, as this host finds them; where it finds none, by how it is called.
pub(super) async fn leads_nearer(names: &Names, name: &str, reach: Reach) -> bool {
    match tokio::time::timeout(LOOKUP, names.addresses(name)).await {
        Ok(Ok(found)) if !found.is_empty() => found.iter().any(|address| !reach.covers(address.ip())),
        // Nothing was found out.
        Ok(Err(error)) if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Crowded>) => true,
        Ok(Ok(_) | Err(_)) | Err(_) => {
            let (_, last) = name.trim_end_matches('.').rsplit_once('.').unwrap_or(("", "local"));
            WITHIN.iter().any(|within| within.eq_ignore_ascii_case(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_as_near_in_every_spelling() {
        for (text, expected) in [
            ("1.1.1.1", Some(Reach::Public)),
            ("8.8.8.8", Some(Reach::Public)),
            ("172.32.0.1", Some(Reach::Public)),
            ("2606:4700::1111", Some(Reach::Public)),
            ("64:ff9b::101:101", Some(Reach::Public)),
            ("10.0.0.1", Some(Reach::Private)),
            ("172.16.0.1", Some(Reach::Private)),
            ("172.31.255.255", Some(Reach::Private)),
            ("192.168.1.1", Some(Reach::Private)),
            ("100.64.0.1", Some(Reach::Private)),
            ("198.18.0.1", Some(Reach::Private)),
            ("fd12::1", Some(Reach::Private)),
            ("fec0::1", Some(Reach::Private)),
            ("198.51.100.1", Some(Reach::Private)),
            ("2001:db8::1", Some(Reach::Private)),
            ("::ffff:10.0.0.1", Some(Reach::Private)),
            ("::10.0.0.1", Some(Reach::Private)),
            ("64:ff9b::a00:1", Some(Reach::Private)),
            ("2002:a00:1::", Some(Reach::Private)),
            ("127.0.0.1", Some(Reach::Own)),
            ("127.9.9.9", Some(Reach::Own)),
            ("::1", Some(Reach::Own)),
            ("::ffff:127.0.0.1", Some(Reach::Own)),
            ("64:ff9b::7f00:1", Some(Reach::Own)),
            ("2002:7f00:1::1", Some(Reach::Own)),
            ("0.0.0.0", None),
            ("::", None),
            ("169.254.169.254", None),
            ("::ffff:169.254.169.254", None),
            ("64:ff9b::a9fe:a9fe", None),
            ("2002:a9fe:a9fe::1", None),
            ("fe80::1", None),
            ("fd00:ec2::254", None),
            ("100.100.100.200", None),
            ("168.63.129.16", None),
            ("64:ff9b:1::a00:1", None),
            ("2001:0:1::1", None),
            ("224.0.0.1", None),
            ("255.255.255.255", None),
            ("ff02::1", None),
            ("192.0.0.192", None),
            ("100::1", None),
        ] {
            let found = by_number(text.parse().unwrap());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn nobody_is_sent_nearer_than_the_server_that_sends() {
        let covers = |reach: Reach, text: &str| reach.covers(text.parse().unwrap());
        assert!(covers(Reach::Public, "1.1.1.1") && covers(Reach::Private, "10.9.9.9") && covers(Reach::Own, "127.0.0.1"));
        assert!(covers(Reach::Own, "10.9.9.9") && covers(Reach::Private, "1.1.1.1"));
        assert!(!covers(Reach::Public, "10.9.9.9") && !covers(Reach::Private, "127.0.0.1"));
        for reach in Reach::ALL {
            assert!(!covers(reach, "169.254.169.254") && !covers(reach, "fe80::1"), "{reach:?}");
        }
    }

    /// The test itself, as another process, whose limits are its own.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test in a process of its own")]
    fn where_it_cannot_be_found_out_whether_an_address_is_this_hosts_nobody_is_sent_there() {
        const MARK: &str = "IMG_AUTHZ_TEST_OF_REACH";
        let [public, private] = ["1.1.1.1", "10.9.9.9"].map(|text| text.parse::<IpAddr>().unwrap());
        if std::env::var_os(MARK).is_none() {
            assert!(Reach::Public.covers(public) && Reach::Private.covers(private));
            let name = "net::reach::tests::where_it_cannot_be_found_out_whether_an_address_is_this_hosts_nobody_is_sent_there";
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            let ended = child.args(["--exact", name]).env(MARK, "1").output().unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
            return;
        }
        let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let none = rustix::process::Rlimit { current: Some(0), ..before };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, none).unwrap();
        let found = [Reach::of(public), Reach::of(private), Reach::of(Ipv4Addr::LOCALHOST.into())];
        rustix::process::setrlimit(rustix::process::Resource::Nofile, before).unwrap();
        assert_eq!(found, [None, None, Some(Reach::Own)]);
    }

    #[test]
    fn an_address_in_a_url_is_found_in_every_spelling() {
        for text in
            ["https://127.0.0.1/", "https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1:2376/", "https://127.1./"]
        {
            assert_eq!(literal(&text.parse().unwrap()), Some(Ipv4Addr::LOCALHOST.into()), "{text}");
        }
        assert_eq!(literal(&"https://[::ffff:7f00:1]/".parse().unwrap()).and_then(Reach::of), Some(Reach::Own));
        assert_eq!(literal(&"https://127.0.0.1.example/".parse().unwrap()), None);
    }
}
