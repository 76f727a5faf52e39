//! The cgroup programs: they find a socket's owner, steer it to the daemon, and fence in whatever else it sends.
//!
//! One object holds them all; `cargo xtask build-ebpf` makes it. They lean on helpers that Linux 6.1 has in every
//! program type used here.
#![no_std]
#![no_main]
// For the one instruction in `programs::tallies`.
#![feature(asm_experimental_arch)]

mod programs;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a loop without end, so a program that could panic does not load.
    loop {}
}

// None of the helpers used is reserved to GPL programs, but programs of security modules are (`bpf_lsm_verify_prog`).
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
