//! The ABI's structs: as aya's maps take them, and as the rest of the daemon does.

use std::{
    mem,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    ptr,
};

use aya::Pod;
use interceptor_ebpf::{
    Plain,
    flow::{Address, Flow, Owner},
};

use super::clock;
use crate::{
    address::{NetnsCookie, OriginalDst, SandboxId},
    flow::{Origin, Process},
};

/// A struct of the ABI as the key or value of a map.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct Abi<T>(pub(super) T);

// SAFETY: `Plain` promises that every bit pattern is a value and that there is no padding, and `Abi` adds nothing to it.
unsafe impl<T: Plain> Pod for Abi<T> {}

/// Copies a struct out of a record that a program wrote; `None` when the sizes differ.
pub(super) fn read<T: Plain>(record: &[u8]) -> Option<T> {
    (record.len() == mem::size_of::<T>()).then(|| {
        // SAFETY: the record is as long as `T`, which takes every bit pattern; no alignment is assumed.
        unsafe { ptr::read_unaligned(record.as_ptr().cast::<T>()) }
    })
}

/// An address as the maps have it: 16 bytes, IPv4 in v4-mapped form.
pub(super) fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Undoes [`mapped`], also for what a program asked for in v4-mapped form.
pub(super) fn unmapped(address: &Address) -> SocketAddr {
    let ip = Ipv6Addr::from(address.ip);
    match ip.to_ipv4_mapped() {
        Some(v4) => SocketAddr::new(v4.into(), address.port),
        None => SocketAddr::new(ip.into(), address.port),
    }
}

pub(super) fn origin(flow: &Flow) -> Origin {
    Origin {
        sandbox: SandboxId(flow.owner.sandbox),
        netns: NetnsCookie(flow.owner.netns),
        process: process(&flow.owner),
        original: OriginalDst(unmapped(&flow.original)),
        connected_at: clock::wall_time(flow.owner.time_ns),
    }
}

pub(super) fn process(owner: &Owner) -> Process {
    let name = owner.comm.split(|byte| *byte == 0).next().unwrap_or(&[]);
    Process {
        tgid: owner.tgid,
        tid: owner.tid,
        uid: owner.uid,
        comm: String::from_utf8_lossy(name).into(),
    }
}

#[cfg(test)]
mod tests {
    use interceptor_ebpf::flow::{AF_INET, AF_INET6};

    use super::*;

    #[test]
    fn addresses_survive_the_way_through_the_maps() {
        for text in ["192.0.2.1:443", "[2001:db8::1]:443", "[::1]:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
            let abi = Address {
                ip: mapped(address.ip()),
                port: address.port(),
                family,
                reserved: 0,
            };
            assert_eq!(unmapped(&abi), address);
        }
    }

    #[test]
    fn a_v4_mapped_destination_is_unmapped() {
        let abi = Address {
            ip: mapped("::ffff:192.0.2.1".parse().unwrap()),
            port: 443,
            family: AF_INET6,
            reserved: 0,
        };
        assert_eq!(unmapped(&abi), "192.0.2.1:443".parse().unwrap());
    }

    #[test]
    fn a_record_of_another_size_is_not_read() {
        assert!(read::<Address>(&[0; 23]).is_none());
        assert!(read::<Address>(&[0; 24]).is_some());
        assert!(read::<Address>(&[0; 25]).is_none());
    }

    #[test]
    fn a_process_name_ends_at_its_first_nul() {
        let owner = Owner {
            comm: *b"node\0garbage\0\0\0\0",
            ..Owner::default()
        };
        assert_eq!(&*process(&owner).comm, "node");
    }
}
