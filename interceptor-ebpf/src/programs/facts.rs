//! What is known of a socket, in its own storage: made with it, freed with it.

use core::{
    ffi::c_void,
    ptr::{self, NonNull},
};

use aya_ebpf::{bindings::BPF_SK_STORAGE_GET_F_CREATE, helpers::bpf_sk_storage_get};
use interceptor_ebpf::{
    flow::{Address, Flow, FlowKey, Owner},
    socket::Socket,
};

use super::maps::SOCKETS;

/// The storage of one socket.
#[derive(Clone, Copy)]
pub(super) struct Facts(NonNull<Socket>);

impl Facts {
    /// `sk` is whatever this program type gives for a socket: its context, or a pointer to a full socket.
    #[inline(always)]
    pub(super) fn of(sk: *mut c_void) -> Option<Self> {
        Self::get(sk, 0)
    }

    /// Makes the storage, zeroed, unless it exists.
    #[inline(always)]
    pub(super) fn create(sk: *mut c_void) -> Option<Self> {
        Self::get(sk, u64::from(BPF_SK_STORAGE_GET_F_CREATE))
    }

    #[inline(always)]
    fn get(sk: *mut c_void, flags: u64) -> Option<Self> {
        let map = ptr::from_ref(&SOCKETS).cast_mut().cast();
        // SAFETY: the verifier checks map and socket; no initial value means zeroes.
        let socket = unsafe { bpf_sk_storage_get(map, sk, ptr::null_mut(), flags) };
        NonNull::new(socket.cast()).map(Self)
    }

    /// Settles who owns a new socket.
    #[inline(always)]
    pub(super) fn settle(self, owner: &Owner) {
        // SAFETY: storage stays for the length of the program.
        unsafe { (*self.0.as_ptr()).flow.owner = *owner };
    }

    /// Starts a connect or a datagram: replaces what was known of the one before, but not what was published of it.
    #[inline(always)]
    pub(super) fn begin(self, owner: &Owner, original: &Address, steered_port: u16) {
        let socket = self.0.as_ptr();
        // SAFETY: storage stays for the length of the program.
        unsafe {
            (*socket).flow = Flow {
                owner: *owner,
                original: *original,
            }
        };
        // SAFETY: as above.
        unsafe { (*socket).steered_port = steered_port };
        // SAFETY: as above.
        unsafe { (*socket).reported = 0 };
    }

    #[inline(always)]
    pub(super) fn set_original(self, original: &Address) {
        // SAFETY: storage stays for the length of the program.
        unsafe { (*self.0.as_ptr()).flow.original = *original };
    }

    #[inline(always)]
    pub(super) fn flow(self) -> Flow {
        // SAFETY: storage stays for the length of the program.
        unsafe { (*self.0.as_ptr()).flow }
    }

    #[inline(always)]
    pub(super) fn sandbox(self) -> u32 {
        // SAFETY: storage stays for the length of the program.
        unsafe { (*self.0.as_ptr()).flow.owner.sandbox }
    }

    #[inline(always)]
    pub(super) fn netns(self) -> u64 {
        // SAFETY: storage stays for the length of the program.
        unsafe { (*self.0.as_ptr()).flow.owner.netns }
    }

    /// When the socket last began a connect or a datagram.
    #[inline(always)]
    pub(super) fn time_ns(self) -> u64 {
        // SAFETY: storage stays for the length of the program.
        unsafe { (*self.0.as_ptr()).flow.owner.time_ns }
    }

    #[inline(always)]
    pub(super) fn steered_port(self) -> u16 {
        // SAFETY: storage stays for the length of the program.
        unsafe { (*self.0.as_ptr()).steered_port }
    }

    #[inline(always)]
    pub(super) fn key(self) -> FlowKey {
        // SAFETY: storage stays for the length of the program.
        unsafe { (*self.0.as_ptr()).key }
    }

    #[inline(always)]
    pub(super) fn set_key(self, key: &FlowKey) {
        // SAFETY: storage stays for the length of the program.
        unsafe { (*self.0.as_ptr()).key = *key };
    }

    #[inline(always)]
    pub(super) fn flags(self) -> u32 {
        // SAFETY: storage stays for the length of the program.
        unsafe { (*self.0.as_ptr()).flags }
    }

    /// Flags are written under the socket's lock only: the hooks of connect and sendmsg hold it, and TCP sends under it.
    /// Datagrams are sent without it, so [`Self::first_report`] is apart.
    #[inline(always)]
    pub(super) fn set_flags(self, flags: u32) {
        // SAFETY: storage stays for the length of the program.
        unsafe { (*self.0.as_ptr()).flags = flags };
    }

    #[inline(always)]
    pub(super) fn set(self, flags: u32) {
        self.set_flags(self.flags() | flags);
    }

    #[inline(always)]
    pub(super) fn clear(self, flags: u32) {
        self.set_flags(self.flags() & !flags);
    }

    /// Whether this is the first refusal since [`Self::begin`]. What sends one packet sends many.
    #[inline(always)]
    pub(super) fn first_report(self) -> bool {
        let socket = self.0.as_ptr();
        // SAFETY: storage stays for the length of the program.
        let reported = unsafe { (*socket).reported };
        // SAFETY: as above. Two packets at once may both be reported.
        unsafe { (*socket).reported = 1 };
        reported == 0
    }
}
