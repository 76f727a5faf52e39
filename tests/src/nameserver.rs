//! A name server of the host's: it answers what it was told, and remembers what it was asked.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;

/// RFC 1035 §3.2.2, RFC 3596 §2.1, RFC 2782.
pub const A: u16 = 1;
pub const PTR: u16 = 12;
pub const TXT: u16 = 16;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;
pub const HTTPS: u16 = 65;

/// Of every answer, in seconds.
pub const TTL: u32 = 17;

/// A running name server; it stops when dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Listens on a free UDP port of 127.0.0.1. A name that begins with `*` stands for all below the rest of it.
    ///
    /// # Errors
    /// No port is to be had.
    pub fn start(names: &[(&str, IpAddr)]) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let names: BTreeMap<String, IpAddr> = names
            .iter()
            .map(|(name, address)| ((*name).to_owned(), *address))
            .collect();
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let stopped = Arc::<AtomicBool>::default();
        let address = socket.local_addr()?;
        let (seen, stop) = (Arc::clone(&asked), Arc::clone(&stopped));
        let thread = thread::spawn(move || {
            let mut query = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut query) else {
                    continue;
                };
                let Some(question) = query.get(..length).and_then(Question::read) else {
                    continue;
                };
                let asked = (question.name.clone(), question.kind);
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(asked);
                // Whoever does not take the answer asks again.
                drop(socket.send_to(&question.answer(&names), from));
            }
        });
        Ok(Self {
            address,
            asked,
            stopped,
            thread: Some(thread),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked since the last time, each question once.
    pub fn take(&self) -> Vec<(String, u16)> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut asked = std::mem::take(&mut *asked);
        asked.sort();
        asked.dedup();
        asked
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Question {
    id: [u8; 2],
    name: String,
    kind: u16,
    /// As it stands in the query.
    bytes: Vec<u8>,
}

impl Question {
    fn read(query: &[u8]) -> Option<Self> {
        let (header, rest) = query.split_first_chunk::<12>()?;
        let &[high, low, ..] = header;
        let mut labels = Vec::new();
        let mut at = 0;
        loop {
            let length = usize::from(*rest.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            let label = rest.get(at..at + length)?;
            labels.push(String::from_utf8_lossy(label).to_lowercase());
            at += length;
        }
        let kind = rest.get(at..at + 2)?.try_into().ok()?;
        Some(Self {
            id: [high, low],
            name: labels.join("."),
            kind: u16::from_be_bytes(kind),
            bytes: rest.get(..at + 4)?.to_vec(),
        })
    }

    fn answer(&self, names: &BTreeMap<String, IpAddr>) -> Vec<u8> {
        let parent = self
            .name
            .split_once('.')
            .map(|(_, parent)| format!("*.{parent}"));
        let address = names
            .get(&self.name)
            .or_else(|| names.get(&parent.unwrap_or_default()));
        let data = match (address, self.kind) {
            (Some(IpAddr::V4(address)), A) => Some(address.octets().to_vec()),
            (Some(IpAddr::V6(address)), AAAA) => Some(address.octets().to_vec()),
            _ => None,
        };
        let code = if address.is_some() { 0 } else { 3 };
        let count = u8::from(data.is_some());
        let [high, low] = self.id;
        let mut answer = vec![high, low, 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
        answer.extend(&self.bytes);
        if let Some(data) = data {
            // The name stands at byte 12; the class is IN.
            answer.extend([0xc0, 12]);
            answer.extend(self.kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(TTL.to_be_bytes());
            answer.extend((data.len() as u16).to_be_bytes());
            answer.extend(data);
        }
        answer
    }
}
