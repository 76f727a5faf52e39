//! Answers the DNS queries of sandboxes, and resolves the names that we dial ourselves.
//!
//! A sandbox has no resolver but this one. What it learns here never decides where a connection goes: that is our own
//! resolution of the name that it asks for later. So answers need only be addresses that a client will connect to.

use std::{
    fmt,
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use hickory_proto::rr::{
    Name, RData, RecordType,
    rdata::{PTR, SRV},
};

use crate::{
    address::Host,
    dns::{
        bounds::Family,
        message::{Outcome, Question, Reading},
        resolver::{Answer, ResolveError, Service},
    },
};

pub(crate) mod bounds;
pub(crate) mod memory;
mod message;
pub(crate) mod resolver;
mod stand_in;
pub(crate) mod tcp;

/// How long a client may keep what nobody else says anything of.
const TTL: Duration = Duration::from_secs(30);

/// How a query came, which bounds its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// What one sandbox may know.
pub(crate) trait Zone {
    /// Whether the sandbox may learn about `host` at all.
    fn knows(&self, host: &Host) -> bool;

    /// Asked before `name`, which is that of `host` or of a service of it, is looked up.
    ///
    /// # Errors
    /// Looking it up would carry data away.
    fn admit(&self, host: &Host, name: &str) -> Result<(), Refusal>;

    /// The addresses that would be dialled for `host`, of both families, within a deadline.
    fn resolve(
        &self,
        host: &Host,
    ) -> impl Future<Output = Result<Answer<IpAddr>, ResolveError>> + Send;

    /// The servers of a service, by the name `_service._proto.host`, within a deadline.
    fn services(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Answer<Service>, ResolveError>> + Send;

    /// Told what the sandbox is told: it may connect to `addresses` and mean `host`.
    fn answered(&self, host: &Host, addresses: &[IpAddr]);

    /// The name that the sandbox was given `address` for.
    fn name_of(&self, address: IpAddr) -> Option<Host>;

    /// Told of each question that was understood: what became of it.
    fn record(&self, name: &str, refusal: Option<&Refusal>);
}

/// Why a question is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unknown,
    Kind(RecordType),
    /// `None`: nothing that policy knows is named so.
    Length(Option<Family>),
    Rate(Family),
}

impl Refusal {
    /// One of a fixed set, by which denials are counted.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unknown => "dns",
            Self::Kind(_) => "dns_type",
            Self::Length(_) => "dns_name_length",
            Self::Rate(_) => "dns_rate",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no rule for the name"),
            Self::Kind(kind) => write!(f, "records of type {kind} are never looked up"),
            Self::Length(family) => write!(
                f,
                "the name is longer than names are{}",
                family.as_ref().map(Family::advice).unwrap_or_default()
            ),
            Self::Rate(family) => write!(
                f,
                "more than {} new names in a minute under {family}{}",
                bounds::NAMES,
                family.advice()
            ),
        }
    }
}

/// Answers one query; `None` for what deserves no answer: a response, or fewer bytes than a header's flags.
///
/// Names that `zone` does not know do not exist (NXDOMAIN: musl gives up on a search list at REFUSED and at an empty
/// answer). Names that it knows have A, AAAA and SRV records only; asked for anything else, they exist and have nothing.
/// That is so for HTTPS and SVCB as well: clients do without, and so get no ECH key, no HTTP/3, and no address or port
/// that policy has not seen. Addresses have the name that the sandbox was given them for.
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
    let (outcome, refusal) = match consider(&question, zone).await {
        Ok(outcome) => (outcome, None),
        Err(refusal) => (refused(&question, &refusal, zone), Some(refusal)),
    };
    zone.record(&question.text(), refusal.as_ref());
    Some(question.answer(&outcome))
}

async fn consider(question: &Question, zone: &impl Zone) -> Result<Outcome, Refusal> {
    match question.kind() {
        kind @ (RecordType::A | RecordType::AAAA) => {
            let host = known(question, question.host(), zone)?;
            if is_localhost(&host) {
                return Ok(localhost(kind));
            }
            zone.admit(&host, host.as_str())?;
            Ok(addresses(&host, kind, zone).await)
        }
        RecordType::SRV if let Some(host) = question.service() => {
            let host = known(question, Some(host), zone)?;
            let name = question.text().to_ascii_lowercase();
            zone.admit(&host, &name)?;
            Ok(services(&name, zone).await)
        }
        RecordType::PTR if let Some(address) = question.address() => {
            let name = zone.name_of(address).ok_or_else(|| unknown(question))?;
            Ok(named(&name))
        }
        RecordType::SRV | RecordType::PTR | RecordType::HTTPS | RecordType::SVCB => {
            known(question, question.host(), zone).map(|_host| Outcome::nothing())
        }
        kind => Err(Refusal::Kind(kind)),
    }
}

/// `host` if it may be known about.
fn known(question: &Question, host: Option<Host>, zone: &impl Zone) -> Result<Host, Refusal> {
    host.filter(|host| is_localhost(host) || zone.knows(host))
        .ok_or_else(|| unknown(question))
}

fn unknown(question: &Question) -> Refusal {
    if bounds::is_long(question.labels()) {
        Refusal::Length(None)
    } else {
        Refusal::Unknown
    }
}

fn refused(question: &Question, refusal: &Refusal, zone: &impl Zone) -> Outcome {
    match refusal {
        Refusal::Unknown | Refusal::Length(_) => Outcome::NoSuchName,
        Refusal::Kind(_) => match known(question, question.host(), zone) {
            Ok(_host) => Outcome::nothing(),
            Err(_refusal) => Outcome::NoSuchName,
        },
        Refusal::Rate(_) => Outcome::Refused,
    }
}

async fn addresses(host: &Host, kind: RecordType, zone: &impl Zone) -> Outcome {
    match zone.resolve(host).await {
        Ok(Answer { records, lifetime }) => {
            let mut shown = stand_in::presentable(host, records.iter().copied());
            shown.retain(|address| address.is_ipv6() == (kind == RecordType::AAAA));
            zone.answered(host, &shown);
            Outcome::Records(shown.into_iter().map(RData::from).collect(), lifetime)
        }
        Err(error) => missing(&error),
    }
}

/// Servers that policy does not know are left out.
async fn services(name: &str, zone: &impl Zone) -> Outcome {
    match zone.services(name).await {
        Ok(Answer { records, lifetime }) => {
            let known = records.iter().filter(|service| zone.knows(&service.target));
            Outcome::Records(known.filter_map(srv).collect(), lifetime)
        }
        Err(error) => missing(&error),
    }
}

fn srv(service: &Service) -> Option<RData> {
    let Service {
        priority,
        weight,
        port,
        target,
    } = service;
    let target = absolute(target)?;
    Some(RData::SRV(SRV::new(*priority, *weight, *port, target)))
}

fn named(host: &Host) -> Outcome {
    let name = absolute(host).map(|name| RData::PTR(PTR(name)));
    Outcome::Records(name.into_iter().collect(), TTL)
}

fn absolute(host: &Host) -> Option<Name> {
    let mut name = Name::from_ascii(host.as_str()).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn missing(error: &ResolveError) -> Outcome {
    match error {
        ResolveError::NoSuchName => Outcome::NoSuchName,
        // Logged where it happened.
        ResolveError::Timeout | ResolveError::Failed(_) => Outcome::Failure,
    }
}

fn localhost(kind: RecordType) -> Outcome {
    let address: IpAddr = match kind {
        RecordType::AAAA => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv4Addr::LOCALHOST.into(),
    };
    Outcome::Records(vec![address.into()], TTL)
}

fn is_localhost(host: &Host) -> bool {
    host.as_str() == "localhost" || host.as_str().ends_with(".localhost")
}

#[cfg(test)]
mod tests;
