//! IP addresses as the kernel holds them: words in network byte order, IPv4 in its v4-mapped form.

use interceptor_ebpf::flow::Address;

pub(super) type Words = [u32; 4];

pub(super) const LOOPBACK4: u32 = 0x7f00_0001_u32.to_be();
pub(super) const LOOPBACK6: Words = [0, 0, 0, 1_u32.to_be()];

const MAPPED: u32 = 0x0000_ffff_u32.to_be();
const FIRST_BYTE: u32 = 0xff00_0000_u32.to_be();
const NET_127: u32 = 0x7f00_0000_u32.to_be();

#[inline(always)]
pub(super) const fn mapped(ip4: u32) -> Words {
    [0, 0, MAPPED, ip4]
}

#[inline(always)]
pub(super) const fn is_mapped(ip: Words) -> bool {
    ip[0] == 0 && ip[1] == 0 && ip[2] == MAPPED
}

/// `127.0.0.0/8` and `::1`, and the unspecified addresses, which Linux connects to loopback.
#[inline(always)]
pub(super) const fn is_loopback(ip: Words) -> bool {
    if is_mapped(ip) {
        return ip[3] & FIRST_BYTE == NET_127 || ip[3] == 0;
    }
    ip[0] == 0 && ip[1] == 0 && ip[2] == 0 && (ip[3] == LOOPBACK6[3] || ip[3] == 0)
}

/// The bytes in the order in which they travel.
#[inline(always)]
pub(super) const fn bytes(ip: Words) -> [u8; 16] {
    // SAFETY: both are 16 bytes without padding, and every bit pattern is a value.
    unsafe { core::mem::transmute::<Words, [u8; 16]>(ip) }
}

#[inline(always)]
pub(super) const fn words(address: &Address) -> Words {
    // SAFETY: both are 16 bytes without padding, and every bit pattern is a value.
    unsafe { core::mem::transmute::<[u8; 16], Words>(address.ip) }
}
