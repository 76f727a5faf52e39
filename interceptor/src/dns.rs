//! Answers the DNS queries of sandboxes, and resolves the names that we dial ourselves.
//!
//! A sandbox has no resolver but this one. What it learns here never decides where a connection goes: that is our own
//! resolution of the name that it asks for later. So answers need only be addresses that a client will connect to.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hickory_proto::rr::RecordType;

use crate::{
    address::Host,
    dns::{
        message::{Outcome, Reading},
        resolver::ResolveError,
    },
};

pub(crate) mod memory;
mod message;
pub(crate) mod resolver;
mod stand_in;
pub(crate) mod tcp;

/// How long a client may keep an answer, in seconds. The resolver keeps its own as long.
const TTL: u32 = 30;

/// How a query came, which bounds its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// What one sandbox may know.
pub(crate) trait Zone {
    /// Whether the sandbox may learn about `host` at all. Asked once per query: the place to record a refusal.
    fn knows(&self, host: &Host) -> bool;

    /// The addresses that would be dialled for `host`, of both families, within a deadline.
    fn resolve(
        &self,
        host: &Host,
    ) -> impl Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send;

    /// Told what the sandbox is told: it may connect to `addresses` and mean `host`.
    fn answered(&self, host: &Host, addresses: &[IpAddr]);
}

/// Answers one query; `None` for what deserves no answer: a response, or fewer bytes than a header's flags.
///
/// Names that `zone` does not know do not exist (NXDOMAIN: musl gives up on a search list at REFUSED and at an empty
/// answer). Names that it knows have A and AAAA records only; asked for anything else, they exist and have nothing. No
/// HTTPS record means no ECH key and no HTTP/3.
///
/// Loopback and unspecified addresses are answered with a stand-in of their own for each name: a client would connect to
/// itself otherwise. `localhost` is what it is to every program (RFC 6761 §6.3).
pub(crate) async fn answer(
    query: &[u8],
    transport: Transport,
    zone: &impl Zone,
) -> Option<Vec<u8>> {
    let question = match message::read(query, transport) {
        Reading::Ignore => return None,
        Reading::Answer(bytes) => return Some(bytes),
        Reading::Ask(question) => question,
    };
    let Some(host) = question.host() else {
        return Some(question.answer(&Outcome::NoSuchName));
    };
    let outcome = if is_localhost(&host) {
        Outcome::Addresses(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
    } else if !zone.knows(&host) {
        Outcome::NoSuchName
    } else {
        match question.kind() {
            kind @ (RecordType::A | RecordType::AAAA) => {
                addresses(&host, kind == RecordType::AAAA, zone).await
            }
            _ => Outcome::Addresses(Vec::new()),
        }
    };
    Some(question.answer(&outcome))
}

async fn addresses(host: &Host, v6: bool, zone: &impl Zone) -> Outcome {
    match zone.resolve(host).await {
        Ok(found) => {
            let mut shown = stand_in::presentable(host, found);
            shown.retain(|address| address.is_ipv6() == v6);
            zone.answered(host, &shown);
            Outcome::Addresses(shown)
        }
        Err(ResolveError::NoSuchName) => Outcome::NoSuchName,
        Err(_logged) => Outcome::Failure,
    }
}

fn is_localhost(host: &Host) -> bool {
    host.as_str() == "localhost" || host.as_str().ends_with(".localhost")
}

#[cfg(test)]
mod tests;
