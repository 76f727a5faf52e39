//! What a sandbox has been told, for connections that do not say whom they mean.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::address::Host;

/// Since a name was last answered with the address. Far longer than the answers' own 30 s: clients resolve once and
/// connect again for as long as they live.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Addresses, at most; the one that was answered the longest time ago gives way.
const ADDRESSES: usize = 1024;

/// Names for one address, at most: a content delivery network has many. The oldest gives way.
const NAMES: usize = 16;

/// The names that one sandbox was given an address for. Bounded, and forgets after an hour.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    names: Mutex<HashMap<IpAddr, Vec<Answered>>>,
}

#[derive(Debug)]
struct Answered {
    host: Host,
    at: Instant,
}

/// One of them, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    address: IpAddr,
    host: String,
    age_s: u64,
}

impl Memory {
    pub(crate) fn remember(&self, host: &Host, addresses: &[IpAddr]) {
        let at = Instant::now();
        for address in addresses {
            let host = host.clone();
            self.note(*address, Answered { host, at });
        }
    }

    /// Everything, the oldest first, for another daemon.
    pub(crate) fn told(&self) -> Vec<Told> {
        let now = Instant::now();
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let told = names.iter().flat_map(|(address, known)| {
            let fresh = known.iter().filter(|answered| is_fresh(answered, now));
            fresh.map(|answered| Told {
                address: *address,
                host: answered.host.to_string(),
                age_s: now.duration_since(answered.at).as_secs(),
            })
        });
        let mut told: Vec<_> = told.collect();
        told.sort_by_key(|told| std::cmp::Reverse(told.age_s));
        told
    }

    /// Takes over what another daemon has told, the oldest first, before anything is answered here.
    pub(crate) fn recall(&self, told: Vec<Told>) {
        let now = Instant::now();
        for Told {
            address,
            host,
            age_s,
        } in told
        {
            let at = now.checked_sub(Duration::from_secs(age_s));
            let (Some(at), Ok(host)) = (at, host.parse()) else {
                continue;
            };
            self.note(address, Answered { host, at });
        }
    }

    fn note(&self, address: IpAddr, answered: Answered) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.contains_key(&address) && names.len() >= ADDRESSES {
            forget_one(&mut names, answered.at);
        }
        let known = names.entry(address).or_default();
        known.retain(|known| known.host != answered.host && is_fresh(known, answered.at));
        if known.len() >= NAMES {
            known.remove(0);
        }
        known.push(answered);
    }

    /// The names that `address` was an answer for, the latest first.
    pub(crate) fn names(&self, address: IpAddr) -> Vec<Host> {
        let now = Instant::now();
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names
            .get(&address.to_canonical())
            .into_iter()
            .flatten()
            .rev()
            .filter(|answered| is_fresh(answered, now))
            .map(|answered| answered.host.clone())
            .collect()
    }
}

fn is_fresh(answered: &Answered, now: Instant) -> bool {
    now.duration_since(answered.at) < LIFETIME
}

/// Makes room: all that has expired, else the address whose latest answer is the oldest.
fn forget_one(names: &mut HashMap<IpAddr, Vec<Answered>>, now: Instant) {
    let before = names.len();
    names.retain(|_, known| known.last().is_some_and(|answered| is_fresh(answered, now)));
    if names.len() < before {
        return;
    }
    let oldest = names
        .iter()
        .min_by_key(|(_, known)| known.last().map(|answered| answered.at))
        .map(|(address, _)| *address);
    if let Some(address) = oldest {
        names.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::advance;

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    fn names(memory: &Memory, number: u32) -> Vec<String> {
        memory
            .names(address(number))
            .iter()
            .map(Host::to_string)
            .collect()
    }

    fn host(name: &str) -> Host {
        name.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_told_latest_first_and_forgotten_after_an_hour() {
        let memory = Memory::default();
        memory.remember(&host("a.example"), &[address(1), address(2)]);
        advance(LIFETIME / 2).await;
        memory.remember(&host("b.example"), &[address(1)]);
        assert_eq!(names(&memory, 1), ["b.example", "a.example"]);
        assert_eq!(names(&memory, 2), ["a.example"]);
        assert!(names(&memory, 3).is_empty());
        memory.remember(&host("a.example"), &[address(1)]);
        assert_eq!(names(&memory, 1), ["a.example", "b.example"]);
        advance(LIFETIME / 2).await;
        assert_eq!(names(&memory, 1), ["a.example", "b.example"]);
        assert!(names(&memory, 2).is_empty());
        advance(LIFETIME / 2).await;
        assert!(names(&memory, 1).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn another_daemon_goes_on_with_what_was_told_and_forgets_it_when_this_one_would() {
        advance(LIFETIME).await;
        let memory = Memory::default();
        memory.remember(&host("a.example"), &[address(1), address(2)]);
        advance(LIFETIME / 2).await;
        memory.remember(&host("b.example"), &[address(1)]);
        let other = Memory::default();
        let sent = serde_json::to_vec(&memory.told()).unwrap();
        other.recall(serde_json::from_slice(&sent).unwrap());
        assert_eq!(names(&other, 1), ["b.example", "a.example"]);
        assert_eq!(names(&other, 2), ["a.example"]);
        advance(LIFETIME / 2).await;
        assert_eq!(names(&other, 1), ["b.example"]);
        assert!(names(&other, 2).is_empty());
        assert_eq!(other.told().len(), 1);
    }

    #[test]
    fn mapped_address_is_the_same_address() {
        let memory = Memory::default();
        memory.remember(&host("a.example"), &[address(1)]);
        let mapped = Ipv4Addr::from_bits(0x0a00_0001).to_ipv6_mapped();
        assert_eq!(memory.names(mapped.into()), [host("a.example")]);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_bounded_and_the_oldest_gives_way() {
        let memory = Memory::default();
        let bound = u32::try_from(ADDRESSES).unwrap();
        for number in 0..bound + 10 {
            advance(Duration::from_millis(1)).await;
            memory.remember(&host("a.example"), &[address(number)]);
        }
        assert_eq!(memory.names.lock().unwrap().len(), ADDRESSES);
        assert!(names(&memory, 9).is_empty());
        assert_eq!(names(&memory, 10), ["a.example"]);
        assert_eq!(names(&memory, bound + 9), ["a.example"]);
    }

    #[test]
    fn names_of_an_address_are_bounded_and_the_oldest_gives_way() {
        let memory = Memory::default();
        for number in 0..NAMES + 3 {
            memory.remember(&host(&format!("h{number}.example")), &[address(1)]);
        }
        let known = names(&memory, 1);
        assert_eq!(known.len(), NAMES);
        assert_eq!(known.first().unwrap(), "h18.example");
        assert_eq!(known.last().unwrap(), "h3.example");
    }
}
