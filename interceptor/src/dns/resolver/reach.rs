//! Which addresses this host has a route to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Those of `addresses` that can be dialled, in the order in which to try them: IPv6 first, but behind IPv4 where it
/// would leave from an address of another kind (a unique local one towards the internet: RFC 6724 §5, rules 1, 5 and 6).
/// All of them where none can: why, only dialling tells.
pub(super) fn dialable(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    order(addresses, source)
}

fn order(addresses: Vec<IpAddr>, source: impl Fn(IpAddr) -> Option<IpAddr>) -> Vec<IpAddr> {
    let mut routed: Vec<_> = addresses
        .iter()
        .filter_map(|&address| Some((place(address, source(address)?), address)))
        .collect();
    if routed.is_empty() {
        return addresses;
    }
    // Stable: name servers put those first that they want to be tried first.
    routed.sort_by_key(|(place, _)| *place);
    routed.into_iter().map(|(_, address)| address).collect()
}

fn place(address: IpAddr, source: IpAddr) -> u8 {
    match (address, source) {
        (IpAddr::V4(_), _) => 1,
        (IpAddr::V6(address), IpAddr::V6(source)) if is_global(address) != is_global(source) => 2,
        (IpAddr::V6(_), _) => 0,
    }
}

/// In the part of the address space that is given out for the internet.
fn is_global(address: Ipv6Addr) -> bool {
    let [first, ..] = address.segments();
    first & 0xe000 == 0x2000
}

/// The address that a connection to `address` would leave from. Connecting a datagram socket asks for the route, and
/// sends nothing.
fn source(address: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((address, 443)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(addresses: &[&str]) -> Vec<IpAddr> {
        addresses.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_without_a_route_are_left_out() {
        let all = ["192.0.2.1", "2001:db8::1", "192.0.2.2", "fd00::1"];
        for (v4, v6, expected) in [
            (Some("10.0.0.2"), None, &["192.0.2.1", "192.0.2.2"][..]),
            (None, Some("2001:db8::2"), &["2001:db8::1", "fd00::1"]),
            // Nothing can be dialled: the connection that fails says why.
            (None, None, &all),
        ] {
            let source = |address: IpAddr| {
                let source = if address.is_ipv4() { v4 } else { v6 };
                source.map(|text| text.parse().unwrap())
            };
            assert_eq!(order(parsed(&all), source), parsed(expected));
        }
    }

    #[test]
    fn ipv6_comes_first_where_it_leaves_from_an_address_of_its_kind() {
        let all = ["192.0.2.1", "2001:db8::1"];
        for (v6, expected) in [
            ("2001:db8::2", ["2001:db8::1", "192.0.2.1"]),
            ("fd00::2", ["192.0.2.1", "2001:db8::1"]),
        ] {
            let source = |address: IpAddr| {
                let source = if address.is_ipv4() { "10.0.0.2" } else { v6 };
                Some(source.parse().unwrap())
            };
            assert_eq!(order(parsed(&all), source), parsed(&expected));
        }
    }

    #[test]
    fn loopback_can_be_dialled() {
        let all = parsed(&["127.0.0.1"]);
        assert_eq!(dialable(all.clone()), all);
        assert!(source(all[0]).is_some_and(|source| source.is_loopback()));
    }
}
