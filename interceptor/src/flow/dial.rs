//! Opens the connection to the owner of an authorised name: our own resolution of it, never the client's address.
//!
//! The addresses of a name are tried one beside the other, as in RFC 8305: another one every 250 ms, or at once when one
//! fails. The first that answers is taken. Each was held against the policy before, so what is dialled is what was judged.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use super::{sandbox::Sandbox, socket};
use crate::{
    address::Host,
    dns::{
        Refusal,
        bounds::Family,
        resolver::{ResolveError, Resolved, Resolver},
    },
    error::chain,
    policy::Endpoint,
};

/// Most addresses of a name that are tried.
const ATTEMPTS: usize = 8;
/// How long an address is waited for before the next one is tried as well (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);
/// For all addresses together.
const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{host} does not resolve on this host")]
    Resolve { host: Host, source: ResolveError },
    #[error("{host} is not looked up: {refusal}")]
    Lookup { host: Host, refusal: Refusal },
    #[error(
        "{host} resolves to {address}, which is not a public address: list it under the endpoint's `allowed_ips`, or \
         write the address under `resolve`"
    )]
    Forbidden { host: Host, address: IpAddr },
    #[error("{address} is the daemon's own: it is for no sandbox")]
    Own { address: SocketAddr },
    #[error("{address} does not accept the connection")]
    Connect {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("{address} did not answer within {} s", DEADLINE.as_secs())]
    Timeout { address: SocketAddr },
    #[error("none of the addresses of {host} can be reached: {tried}")]
    Unreachable { host: Host, tried: Tried },
}

/// Where each attempt led to, in the order in which they began.
#[derive(Debug)]
pub(crate) struct Tried(Vec<DialError>);

/// A connection, and why its address could be dialled.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) stream: TcpStream,
    pub(super) address: Address,
}

/// An address that may be dialled for a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    socket: SocketAddr,
    /// It stands in the configuration, and is allowed whatever it is.
    as_written: bool,
}

impl Address {
    pub(super) fn allowed_by(self, endpoint: &Endpoint) -> bool {
        self.as_written || endpoint.allows_address(self.socket.ip())
    }
}

/// Connects to `host` within 10 s after it has been resolved. Addresses that the endpoint does not allow are not dialled;
/// when none is left, the first of them is the error.
pub(super) async fn dial(
    resolver: &Resolver,
    sandbox: &Sandbox,
    host: &Host,
    port: u16,
    endpoint: &Endpoint,
) -> Result<Dialled, DialError> {
    // A client may name a host that it never asked for: what it says to name servers so is bounded as well.
    if let Some(wildcard) = endpoint.wildcard()
        && !resolver.overrides(host)
        && let Err(refusal) = sandbox.admit(Family::wildcard(wildcard), host.as_str())
    {
        let host = host.clone();
        return Err(DialError::Lookup { host, refusal });
    }
    let resolved = resolver
        .resolve(host, port)
        .await
        .map_err(|source| DialError::Resolve {
            host: host.clone(),
            source,
        })?;
    race(host, &allowed(host, &resolved, endpoint)?).await
}

/// Connects to an address that the policy names as such.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, DialError> {
    timeout_at(Instant::now() + DEADLINE, attempt(address))
        .await
        .map_err(|_elapsed| DialError::Timeout { address })?
}

/// The addresses to try, in order.
fn allowed(
    host: &Host,
    resolved: &Resolved,
    endpoint: &Endpoint,
) -> Result<Vec<Address>, DialError> {
    let all = resolved.addresses.iter().map(|&socket| Address {
        socket,
        as_written: resolved.as_written,
    });
    let (allowed, forbidden): (Vec<_>, Vec<_>) =
        all.partition(|address| address.allowed_by(endpoint));
    match forbidden.first() {
        Some(first) if allowed.is_empty() => Err(DialError::Forbidden {
            host: host.clone(),
            address: first.socket.ip(),
        }),
        // The configuration's order is meant.
        _ if resolved.as_written => Ok(allowed),
        _ => Ok(interleaved(allowed)),
    }
}

/// The families by turns, each in its order; that of the first address begins (RFC 8305 §4).
fn interleaved(addresses: Vec<Address>) -> Vec<Address> {
    let Some(first) = addresses.first().map(|address| address.socket.is_ipv6()) else {
        return addresses;
    };
    let count = addresses.len();
    let (these, those): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.socket.is_ipv6() == first);
    let (mut these, mut those) = (these.into_iter(), those.into_iter());
    let mut order = Vec::with_capacity(count);
    while order.len() < count {
        order.extend(these.next());
        order.extend(those.next());
    }
    order
}

/// The first connection that stands. The other attempts are given up with it.
async fn race(host: &Host, addresses: &[Address]) -> Result<Dialled, DialError> {
    let deadline = Instant::now() + DEADLINE;
    let mut waiting = addresses.iter().take(ATTEMPTS).copied().enumerate();
    let mut begun = Vec::new();
    let mut failed: Vec<(usize, DialError)> = Vec::new();
    let mut attempts = JoinSet::new();
    loop {
        let next = waiting.next();
        if let Some((number, address)) = next {
            begun.push(address);
            attempts.spawn(async move { (number, address, attempt(address.socket).await) });
        } else if attempts.is_empty() {
            break;
        }
        let until = match next {
            Some(_) => deadline.min(Instant::now() + STAGGER),
            None => deadline,
        };
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended {
                Ok((_, address, Ok(stream))) => return Ok(Dialled { stream, address }),
                Ok((number, _, Err(error))) => failed.push((number, error)),
                // Nobody aborts an attempt, and none panics.
                Err(error) => tracing::error!(%error, "an attempt to connect was lost"),
            },
            () = sleep_until(until) => if until == deadline {
                break;
            },
        }
    }
    let late = begun.iter().enumerate().filter_map(|(number, begun)| {
        let known = failed.iter().any(|(failed, _)| *failed == number);
        let address = begun.socket;
        (!known).then_some((number, DialError::Timeout { address }))
    });
    let late: Vec<_> = late.collect();
    failed.extend(late);
    failed.sort_by_key(|(number, _)| *number);
    let mut tried: Vec<_> = failed.into_iter().map(|(_, error)| error).collect();
    match tried.pop() {
        Some(only) if tried.is_empty() => Err(only),
        last => {
            tried.extend(last);
            let host = host.clone();
            let tried = Tried(tried);
            Err(DialError::Unreachable { host, tried })
        }
    }
}

async fn attempt(address: SocketAddr) -> Result<TcpStream, DialError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|source| DialError::Connect { address, source })?;
    if let Err(error) = socket::tune(&stream) {
        tracing::debug!(%error, %address, "socket options could not be set");
    }
    Ok(stream)
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{}", chain(error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
