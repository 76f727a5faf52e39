//! Which addresses a name may lead to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// This host, this link, many hosts, or a cloud's metadata service: no policy opens it.
    Never,
    /// An address of some private or special-purpose network (RFC 6890).
    Private,
    Public,
}

/// A prefix, `10.0.0.0/8`; a lone address is a prefix of its full length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    /// At most 32 or 128.
    prefix: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NetworkError {
    #[error("expected an IP address or a prefix such as 10.0.0.0/8")]
    Syntax,
    #[error("bits are set after the prefix length")]
    HostBits,
    #[error(
        "loopback, link-local, unspecified and multicast addresses are never reached by a name: use `resolve` in the \
         configuration for one that is meant"
    )]
    Never,
}

impl Network {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()) & mask_v4(self.prefix) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()) & mask_v6(self.prefix) == 0
            }
            _ => false,
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(NetworkError::Syntax);
        };
        let full = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => full,
            Some(digits) => match digits.parse() {
                Ok(prefix) if prefix <= full && digits.bytes().all(|b| b.is_ascii_digit()) => {
                    prefix
                }
                _ => return Err(NetworkError::Syntax),
            },
        };
        let clean = match address {
            IpAddr::V4(address) => address.to_bits() & !mask_v4(prefix) == 0,
            IpAddr::V6(address) => address.to_bits() & !mask_v6(prefix) == 0,
        };
        if !clean {
            return Err(NetworkError::HostBits);
        }
        let network = Self { address, prefix };
        if NEVER.iter().any(|never| network.overlaps(never)) {
            return Err(NetworkError::Never);
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Where packets to an address end up: an address that carries an IPv4 address (v4-mapped, NAT64, 6to4) means that one.
pub(super) fn destination(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => embedded(v6).map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Judges a [`destination`].
pub(super) fn reach(destination: IpAddr) -> Reach {
    let inside = |list: &[Network]| list.iter().any(|network| network.contains(destination));
    if inside(NEVER) || inside(METADATA) {
        Reach::Never
    } else if inside(PRIVATE) {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// The IPv4 address inside NAT64 (RFC 6052 §2.1) and 6to4 (RFC 3056 §2) addresses.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

const fn mask_v4(prefix: u8) -> u32 {
    match u32::MAX.checked_shl(32 - prefix as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

const fn mask_v6(prefix: u8) -> u128 {
    match u128::MAX.checked_shl(128 - prefix as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Network {
    Network {
        address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        prefix,
    }
}

const fn v6(first: u16, second: u16, seventh: u16, last: u16, prefix: u8) -> Network {
    Network {
        address: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, seventh, last)),
        prefix,
    }
}

/// Local NAT64, `64:ff9b:1::/48`, RFC 8215.
const LOCAL_NAT64: Network = Network {
    address: IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0)),
    prefix: 48,
};

const NEVER: &[Network] = &[
    v4(0, 0, 0, 0, 8),   // "this network", RFC 791 §3.2; Linux takes 0.0.0.0 for itself
    v4(127, 0, 0, 0, 8), // loopback, RFC 1122 §3.2.1.3
    v4(169, 254, 0, 0, 16), // link-local, RFC 3927; metadata services of most clouds
    v4(224, 0, 0, 0, 4), // multicast, RFC 5771
    v4(255, 255, 255, 255, 32), // broadcast, RFC 919
    v6(0, 0, 0, 0, 96),  // unspecified, loopback (RFC 4291 §2.5) and the old v4-compatible form
    v6(0xfe80, 0, 0, 0, 10), // link-local, RFC 4291 §2.5.6
    v6(0xff00, 0, 0, 0, 8), // multicast, RFC 4291 §2.7
];

/// Metadata services outside 169.254.0.0/16. Apart from [`NEVER`], because a private prefix may hold one without being
/// wrong.
const METADATA: &[Network] = &[
    v4(100, 100, 100, 200, 32),            // Alibaba Cloud
    v4(168, 63, 129, 16, 32),              // Azure WireServer
    v4(192, 0, 0, 192, 32),                // Oracle Cloud, classic
    v6(0xfd00, 0xec2, 0, 0x254, 128),      // Amazon EC2
    v6(0xfd20, 0xce, 0, 0x254, 128),       // Google Cloud
    v6(0xfd00, 0xc1, 0xa9fe, 0xa9fe, 128), // Oracle Cloud
];

const PRIVATE: &[Network] = &[
    LOCAL_NAT64,
    v4(10, 0, 0, 0, 8),          // RFC 1918
    v4(172, 16, 0, 0, 12),       // RFC 1918
    v4(192, 168, 0, 0, 16),      // RFC 1918
    v4(100, 64, 0, 0, 10),       // carrier-grade NAT, RFC 6598
    v4(192, 0, 0, 0, 24),        // IETF protocol assignments, RFC 6890
    v4(192, 0, 2, 0, 24),        // documentation, RFC 5737
    v4(198, 51, 100, 0, 24),     // documentation, RFC 5737
    v4(203, 0, 113, 0, 24),      // documentation, RFC 5737
    v4(198, 18, 0, 0, 15),       // benchmarks, RFC 2544
    v4(240, 0, 0, 0, 4),         // reserved, RFC 1112 §4
    v6(0xfc00, 0, 0, 0, 7),      // unique local, RFC 4193
    v6(0xfec0, 0, 0, 0, 10),     // site-local, RFC 3879
    v6(0x100, 0, 0, 0, 64),      // discard, RFC 6666
    v6(0x2001, 0, 0, 0, 23),     // IETF protocol assignments with Teredo, RFC 2928
    v6(0x2001, 0xdb8, 0, 0, 32), // documentation, RFC 3849
    v6(0x5f00, 0, 0, 0, 16),     // segment routing, RFC 9602
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged_by_where_packets_end_up() {
        for (text, expected) in [
            ("1.1.1.1", Reach::Public),
            ("172.32.0.1", Reach::Public),
            ("2606:4700::1", Reach::Public),
            ("64:ff9b::101:101", Reach::Public),
            ("10.1.2.3", Reach::Private),
            ("172.31.255.255", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("fd00::1", Reach::Private),
            ("::ffff:192.168.1.1", Reach::Private),
            ("64:ff9b::a00:1", Reach::Private),
            ("2002:a00:1::", Reach::Private),
            ("127.0.0.1", Reach::Never),
            ("::ffff:127.9.9.9", Reach::Never),
            ("::127.0.0.1", Reach::Never),
            ("64:ff9b::7f00:1", Reach::Never),
            ("2002:a9fe:a9fe::", Reach::Never),
            ("0.0.0.0", Reach::Never),
            ("0.1.2.3", Reach::Never),
            ("::", Reach::Never),
            ("::1", Reach::Never),
            ("169.254.169.254", Reach::Never),
            ("fe80::1", Reach::Never),
            ("224.0.0.1", Reach::Never),
            ("255.255.255.255", Reach::Never),
            ("ff02::1", Reach::Never),
            ("100.100.100.200", Reach::Never),
            ("168.63.129.16", Reach::Never),
            ("fd00:ec2::254", Reach::Never),
            ("fd00:c1::a9fe:a9fe", Reach::Never),
            ("64:ff9b:1::a00:1", Reach::Private),
        ] {
            assert_eq!(
                reach(destination(text.parse().unwrap())),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn prefixes_contain_their_addresses_and_no_others() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "10.0.0.1", false),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(
                parsed.contains(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn prefixes_are_read_strictly() {
        for (text, expected) in [
            ("", NetworkError::Syntax),
            ("10", NetworkError::Syntax),
            ("10.0.0.0/", NetworkError::Syntax),
            ("10.0.0.0/+8", NetworkError::Syntax),
            ("10.0.0.0/33", NetworkError::Syntax),
            ("::/129", NetworkError::Syntax),
            ("10.0.0.1/8", NetworkError::HostBits),
            ("0.0.0.0/0", NetworkError::Never),
            ("::/0", NetworkError::Never),
            ("127.0.0.1", NetworkError::Never),
            ("169.254.0.0/17", NetworkError::Never),
            ("::1", NetworkError::Never),
        ] {
            assert_eq!(text.parse::<Network>(), Err(expected), "{text:?}");
        }
    }
}
