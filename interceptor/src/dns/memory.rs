//! What a sandbox has been told, for connections that do not say whom they mean.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

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

impl Memory {
    pub(crate) fn remember(&self, host: &Host, addresses: &[IpAddr]) {
        let at = Instant::now();
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for address in addresses {
            if !names.contains_key(address) && names.len() >= ADDRESSES {
                forget_one(&mut names, at);
            }
            let known = names.entry(*address).or_default();
            known.retain(|answered| answered.host != *host && is_fresh(answered, at));
            if known.len() >= NAMES {
                known.remove(0);
            }
            known.push(Answered {
                host: host.clone(),
                at,
            });
        }
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
