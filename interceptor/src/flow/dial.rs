//! Opens the connection to the owner of an authorised name: our own resolution of it, never the client's address.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{net::TcpStream, time::timeout};

use super::socket;
use crate::{
    address::Host,
    dns::resolver::{ResolveError, Resolver},
    policy::Endpoint,
};

/// Most addresses of a name that are tried, and how long each may take.
const ATTEMPTS: usize = 4;
const ATTEMPT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{host} does not resolve on this host")]
    Resolve { host: Host, source: ResolveError },
    #[error(
        "{host} resolves to {address}, which is not a public address: list it under the endpoint's `allowed_ips`, or \
         write the address under `resolve`"
    )]
    Forbidden { host: Host, address: SocketAddr },
    #[error("{address} does not accept the connection")]
    Connect {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("{address} did not answer within {} s", ATTEMPT.as_secs())]
    Timeout { address: SocketAddr },
    #[error("{host} has no address")]
    NoAddress { host: Host },
}

/// Connects to `host`. Addresses that the endpoint does not allow are skipped; when none is left, the first of them is
/// the error.
pub(super) async fn dial(
    resolver: &Resolver,
    host: &Host,
    port: u16,
    endpoint: &Endpoint,
) -> Result<TcpStream, DialError> {
    let resolved = resolver
        .resolve(host, port)
        .await
        .map_err(|source| DialError::Resolve {
            host: host.clone(),
            source,
        })?;
    let mut last = DialError::NoAddress { host: host.clone() };
    let mut attempts = 0;
    for &address in &resolved.addresses {
        if !resolved.as_written && !endpoint.allows_address(address.ip()) {
            if attempts == 0 {
                last = DialError::Forbidden {
                    host: host.clone(),
                    address,
                };
            }
            continue;
        }
        attempts += 1;
        match connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
        if attempts == ATTEMPTS {
            break;
        }
    }
    Err(last)
}

/// Connects to an address that the policy names as such.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, DialError> {
    let stream = timeout(ATTEMPT, TcpStream::connect(address))
        .await
        .map_err(|_elapsed| DialError::Timeout { address })?
        .map_err(|source| DialError::Connect { address, source })?;
    if let Err(error) = socket::tune(&stream) {
        tracing::debug!(%error, %address, "socket options could not be set");
    }
    Ok(stream)
}
