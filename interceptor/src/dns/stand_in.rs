//! Addresses that stand in for loopback ones.
//!
//! An override may point a name at a service on the daemon's own host: `127.0.0.1:8443`. To a sandbox that address is
//! its own loopback, which the kernel programs leave alone where the network namespace is the sandbox's own. So it gets
//! an address that nobody has, from ranges that are never routed on the internet: captured, a connection to it is
//! dialled by its name; not captured, it goes nowhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::Host;

/// 198.18.0.0/15, for benchmarks (RFC 2544 appendix C.2.2).
const V4: u32 = 0xc612_0000;
const V4_HOST_BITS: u32 = 0x0001_ffff;

/// 100::/64, to be discarded (RFC 6666).
const V6: u128 = 0x0100 << 112;

/// What a client is shown instead of `addresses`, each once.
pub(super) fn presentable(host: &Host, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut shown = Vec::new();
    for address in addresses {
        let address = match address.to_canonical() {
            IpAddr::V4(v4) if v4.is_loopback() || v4.is_unspecified() => stand_in_v4(host).into(),
            IpAddr::V6(v6) if v6.is_loopback() || v6.is_unspecified() => stand_in_v6(host).into(),
            address => address,
        };
        if !shown.contains(&address) {
            shown.push(address);
        }
    }
    shown
}

/// Always the same for a name, also after a restart: clients keep addresses. Two names may share one by chance.
fn stand_in_v4(host: &Host) -> Ipv4Addr {
    let hash = digest(host);
    let folded = (hash ^ hash >> 17 ^ hash >> 34 ^ hash >> 51) as u32 & V4_HOST_BITS;
    // Neither the first nor the last: some stacks take them for the network and for a broadcast.
    Ipv4Addr::from_bits(V4 | folded.clamp(1, V4_HOST_BITS - 1))
}

fn stand_in_v6(host: &Host) -> Ipv6Addr {
    Ipv6Addr::from_bits(V6 | u128::from(digest(host).max(1)))
}

/// FNV-1a: spreads names well enough, and unlike the standard library's hashes it is the same in every release.
fn digest(host: &Host) -> u64 {
    host.as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn shown(host: &str, addresses: &[&str]) -> Vec<String> {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        presentable(&host.parse().unwrap(), addresses)
            .iter()
            .map(IpAddr::to_string)
            .collect()
    }

    #[test]
    fn loopback_in_every_spelling_gets_a_stand_in() {
        let v4 = shown("gateway.discord.gg", &["127.0.0.1"]);
        assert!(
            v4[0].starts_with("198.18.") || v4[0].starts_with("198.19."),
            "{v4:?}"
        );
        let v6 = shown("gateway.discord.gg", &["::1"]);
        assert!(v6[0].starts_with("100::"), "{v6:?}");
        for addresses in [
            &["127.0.0.1", "127.255.0.3"][..],
            &["0.0.0.0"],
            &["::ffff:127.0.0.1"],
        ] {
            assert_eq!(shown("gateway.discord.gg", addresses), v4, "{addresses:?}");
        }
        assert_eq!(shown("gateway.discord.gg", &["::", "::1"]), v6);
    }

    #[test]
    fn other_addresses_are_shown_as_they_are() {
        assert_eq!(
            shown(
                "a.example",
                &["10.1.2.3", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"]
            ),
            ["10.1.2.3", "192.0.2.1", "2001:db8::1"]
        );
    }

    #[test]
    fn stand_ins_are_fixed_and_mostly_distinct() {
        // Clients keep addresses over a restart: these must never change.
        assert_eq!(
            shown("Gateway.Discord.GG.", &["127.0.0.1", "::1"]),
            ["198.18.255.129", "100::22a2:656e:69bf:5651"]
        );
        let distinct: HashSet<_> = (0..1000)
            .map(|number| shown(&format!("host{number}.example"), &["127.0.0.1"]))
            .collect();
        assert!(distinct.len() > 980, "{}", distinct.len());
    }
}
