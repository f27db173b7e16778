//! `POST /networks/create`: a driver that is a plugin, and the ways to the host that a network opens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::host_access::Found;
use super::json::{Json, Members, Shape, field, fields};
use super::{Asked, Intent, Unreadable, other};

/// Network and address drivers that are part of every engine.
const OWN_DRIVERS: [&str; 8] = ["default", "bridge", "host", "null", "none", "overlay", "macvlan", "ipvlan"];

/// What counts of a network.
const NETWORK: Shape = Shape::Struct(&[&fields(&[
    field("Driver", Shape::Scalar),
    field("Options", Shape::Map),
    field(
        "IPAM",
        Shape::Struct(&[&fields(&[
            field("Driver", Shape::Scalar),
            field(
                "Config",
                Shape::List(&Shape::Struct(&[&fields(&[field("Subnet", Shape::Scalar), field("IPRange", Shape::Scalar)])])),
            ),
        ])]),
    ),
])]);

/// Options that attach a network to an interface of the host, under any driver: a network that only holds a configuration
/// passes them on to the one that takes it over.
const ATTACHING: [(&str, &str); 2] = [("parent", "network-parent"), ("com.docker.network.bridge.name", "network-bridge")];

/// Most subnets of one network. Nobody has so many; more count as host access.
const MAX_SUBNETS: usize = 64;

/// A subnet of the client's choice, for which the engine makes a route on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    bits: u8,
}

impl Subnet {
    /// Reads `address/bits`, as Go does.
    fn read(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        if bits.is_empty() || !bits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let subnet = Self { address: address.parse().ok()?, bits: bits.parse().ok()? };
        (subnet.bits <= if subnet.address.is_ipv4() { 32 } else { 128 }).then_some(subnet)
    }

    /// Whether a packet for `address` would go there.
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or_default();
                u32::from(own) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or_default();
                u128::from(own) & mask == u128::from(other) & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether it is one that the host has no business with: inside the private networks of IPv4 (RFC 1918), or of IPv6's unique local
    /// ones (RFC 4193) no wider than one site.
    fn is_ordinary(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => PRIVATE.iter().any(|(net, least)| {
                self.bits >= *least && Self { address: IpAddr::V4(*net), bits: *least }.covers(IpAddr::V4(address))
            }),
            IpAddr::V6(address) => self.bits >= UNIQUE_LOCAL_BITS && is_unique_local(address),
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// What the call would make.
pub(super) fn create(asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    let Some(config) = other::body(asked.call, &NETWORK)? else { return Ok(Intent::Harmless) };
    let addresses = config.object("IPAM")?;
    let of_addresses = addresses.map(|addresses| addresses.text("Driver")).transpose()?.flatten();
    for driver in [config.text("Driver")?, of_addresses].into_iter().flatten() {
        if !OWN_DRIVERS.contains(&driver) {
            return Ok(Intent::NetworkPlugin { driver: driver.chars().take(256).collect() });
        }
    }
    let mut found = Found::default();
    attached(&config, &mut found)?;
    let subnets = match addresses {
        Some(addresses) => routed(addresses, of_addresses, &mut found)?,
        None => Vec::new(),
    };
    let is_harmless = found.host_access.is_empty() && subnets.is_empty();
    Ok(if is_harmless { Intent::Harmless } else { Intent::Network { host_access: found.host_access, subnets } })
}

/// Notes interfaces of the host.
fn attached(config: &Members<'_>, found: &mut Found) -> Result<(), Unreadable> {
    for (key, value) in config.map("Options")? {
        let Some((_, id)) = ATTACHING.iter().find(|(option, _)| option == key) else { continue };
        match value {
            Json::Text(name) => found.access(id, name),
            Json::Null | Json::Bool(_) | Json::List(_) | Json::Struct(_) | Json::Map(_) | Json::Number(_) | Json::Other => {
                found.access(id, "");
            }
        }
    }
    Ok(())
}

/// Notes addresses of the client's choice for which the engine would make routes on the host; returns those that are private.
fn routed(addresses: &Members<'_>, driver: Option<&str>, found: &mut Found) -> Result<Vec<Subnet>, Unreadable> {
    let mut subnets = Vec::new();
    // This address driver's only subnet is the whole of IPv4.
    if matches!(driver, Some("null" | "none")) {
        found.access("network-subnet", "0.0.0.0/0");
    }
    for pool in addresses.objects("Config")? {
        let pool = pool?;
        for member in ["Subnet", "IPRange"] {
            let Some(written) = pool.text(member)? else { continue };
            match Subnet::read(written).filter(Subnet::is_ordinary) {
                Some(subnet) if subnets.len() < MAX_SUBNETS => subnets.push(subnet),
                // What cannot be read is no ordinary one.
                Some(_) | None => found.access("network-subnet", written),
            }
        }
    }
    Ok(subnets)
}

/// Private networks of IPv4, and how many bits of each are fixed: none is wider than /8.
const PRIVATE: [(Ipv4Addr, u8); 3] =
    [(Ipv4Addr::new(10, 0, 0, 0), 8), (Ipv4Addr::new(172, 16, 0, 0), 12), (Ipv4Addr::new(192, 168, 0, 0), 16)];

/// A site's prefix.
const UNIQUE_LOCAL_BITS: u8 = 48;

const fn is_unique_local(address: Ipv6Addr) -> bool {
    let [first, ..] = address.octets();
    first & 0xfe == 0xfc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::HostAccess;
    use crate::request::tests::json;

    fn of(body: &str) -> Intent {
        Intent::of(&json("/networks/create", body))
    }

    #[test]
    fn a_network_of_another_driver_is_a_plugin() {
        for (body, driver) in [
            (r#"{"Name":"n"}"#, None),
            (r#"{"Name":"n","Driver":"overlay","IPAM":{"Driver":"default"}}"#, None),
            (r#"{"Name":"n","Driver":"weave"}"#, Some("weave")),
            (r#"{"Name":"n","Driver":"bridge","IPAM":{"Driver":"x"}}"#, Some("x")),
            (r#"{"Name":"n","Driver":"weave","Options":{"parent":"eth0"}}"#, Some("weave")),
        ] {
            let intent = driver.map_or(Intent::Harmless, |driver| Intent::NetworkPlugin { driver: driver.into() });
            assert_eq!(of(body), intent, "{body}");
        }
    }

    #[test]
    fn a_subnet_that_is_not_private_is_a_way_to_the_host() {
        for (subnet, ordinary) in [
            ("10.0.0.0/8", true),
            ("10.1.2.0/24", true),
            ("10.1.2.3/24", true),
            ("172.16.0.0/12", true),
            ("172.31.255.0/24", true),
            ("192.168.0.0/16", true),
            ("fd00:1:2::/48", true),
            ("fc00::/64", true),
            ("0.0.0.0/0", false),
            ("0.0.0.0/1", false),
            ("128.0.0.0/1", false),
            ("10.0.0.0/7", false),
            ("8.0.0.0/7", false),
            ("11.0.0.0/8", false),
            ("172.16.0.0/11", false),
            ("172.32.0.0/16", false),
            ("192.168.0.0/15", false),
            ("192.169.0.0/24", false),
            ("100.64.0.0/10", false),
            ("127.0.0.0/8", false),
            ("169.254.169.254/32", false),
            ("203.0.113.7/32", false),
            ("fd00::/47", false),
            ("fe80::/64", false),
            ("2001:db8::/64", false),
            ("::/0", false),
            ("::ffff:10.0.0.0/104", false),
            ("10.0.0.0", false),
            ("10.0.0.0/", false),
            ("10.0.0.0/+8", false),
            ("10.0.0.0/33", false),
            ("010.0.0.0/8", false),
            (" 10.0.0.0/8", false),
            ("10.0.0.0/8/1", false),
        ] {
            let body = format!(
                r#"{{"Name":"n","IPAM":{{"Config":[{{"Subnet":"10.9.0.0/16"}},{{"subnet":"{subnet}","Gateway":"x"}}]}}}}"#
            );
            let host_access = if ordinary { vec![] } else { vec![HostAccess { id: "network-subnet", what: subnet.into() }] };
            let first = Subnet::read("10.9.0.0/16").unwrap();
            let subnets = [first].into_iter().chain(Subnet::read(subnet).filter(|_| ordinary)).collect();
            assert_eq!(of(&body), Intent::Network { host_access, subnets }, "{subnet}");
        }
        let host_access = vec![HostAccess { id: "network-subnet", what: "0.0.0.0/0".into() }];
        assert_eq!(of(r#"{"IPAM":{"Driver":"null"}}"#), Intent::Network { host_access, subnets: vec![] });
    }

    #[test]
    fn a_subnet_covers_what_its_route_takes() {
        for (subnet, address, covers) in [
            ("10.1.2.0/24", "10.1.2.9", true),
            ("10.1.2.200/24", "10.1.2.9", true),
            ("10.1.2.0/24", "10.1.3.9", false),
            ("10.0.0.0/8", "::ffff:10.1.2.9", true),
            ("10.1.2.9/32", "10.1.2.9", true),
            ("fd00:1:2::/48", "fd00:1:2:3::1", true),
            ("fd00:1:2::/48", "fd00:1:3::1", false),
            ("fd00:1:2::/48", "10.1.2.9", false),
        ] {
            assert_eq!(Subnet::read(subnet).unwrap().covers(address.parse().unwrap()), covers, "{subnet} {address}");
        }
    }

    #[test]
    fn an_interface_of_the_host_is_a_way_to_it() {
        for (body, id, what) in [
            (r#"{"Driver":"macvlan","Options":{"parent":"eth0"}}"#, "network-parent", "eth0"),
            (r#"{"Driver":"ipvlan","options":{"parent":"eth0.10"}}"#, "network-parent", "eth0.10"),
            (r#"{"ConfigOnly":true,"Options":{"parent":"eth0"}}"#, "network-parent", "eth0"),
            (r#"{"Options":{"com.docker.network.bridge.name":"br0"}}"#, "network-bridge", "br0"),
            (r#"{"Options":{"com.docker.network.bridge.name":null}}"#, "network-bridge", ""),
        ] {
            assert_eq!(
                of(body),
                Intent::Network { host_access: vec![HostAccess { id, what: what.into() }], subnets: vec![] },
                "{body}"
            );
            assert!(HostAccess::IDS.contains(&id));
        }
        for body in [
            r#"{"Driver":"macvlan"}"#,
            r#"{"Options":{"com.docker.network.driver.mtu":"1400","Parent":"x"}}"#,
            r#"{"Options":null,"IPAM":{"Config":null}}"#,
        ] {
            assert_eq!(of(body), Intent::Harmless, "{body}");
        }
        for body in [r#"{"Options":{},"options":{"parent":"x"}}"#, r#"{"IPAM":{"Config":[null]}}"#, r#"{"IPAM":{"Config":{}}}"#] {
            assert!(matches!(of(body), Intent::Unreadable(_)), "{body}");
        }
    }
}
