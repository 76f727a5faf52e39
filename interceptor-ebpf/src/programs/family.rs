//! Families of sockets, where the kernel lets a security module's program judge them: `lsm_cgroup/socket_create`.
//!
//! sock_create runs for IPv4 and IPv6 alone. This runs for every family, socketpair() and io_uring included.

use aya_ebpf::{helpers::bpf_set_retval, macros::lsm_cgroup, programs::LsmContext};
use interceptor_ebpf::{
    event::DENIED_SOCKET_FAMILY,
    flow::{AF_INET, AF_INET6, Address},
};

use super::{ALLOW, DENY, owner, report};

const AF_UNIX: i32 = 1;
const AF_NETLINK: i32 = 16;
/// What getifaddrs() and glibc's address sorting ask.
const NETLINK_ROUTE: i32 = 0;
const EAFNOSUPPORT: i32 = 97;

#[lsm_cgroup(hook = "socket_create")]
fn socket_create(context: LsmContext) -> i32 {
    let family: i32 = context.arg(0);
    let protocol: i32 = context.arg(2);
    // Of the kernel's own making, on behalf of one that was judged.
    let kernel: i32 = context.arg(3);
    if kernel != 0 || is_local(family, protocol) || is_watched(family) {
        return ALLOW;
    }
    // What a kernel without the family answers: programs then do without.
    // SAFETY: takes a number.
    unsafe { bpf_set_retval(-EAFNOSUPPORT) };
    let owner = owner::current(owner::sandbox_of_current().unwrap_or(0), 0);
    let address = Address {
        port: family as u16,
        ..Address::default()
    };
    report::denial(DENIED_SOCKET_FAMILY, protocol as u32, &owner, &address);
    DENY
}

/// Families that lead to this machine's processes and to questions about its devices. Other protocols of netlink change
/// the kernel for those who hold a capability, if only in a user namespace of their own.
#[inline(always)]
const fn is_local(family: i32, protocol: i32) -> bool {
    family == AF_UNIX || family == AF_NETLINK && protocol == NETLINK_ROUTE
}

/// Those that the other programs judge.
#[inline(always)]
const fn is_watched(family: i32) -> bool {
    family == AF_INET as i32 || family == AF_INET6 as i32
}
