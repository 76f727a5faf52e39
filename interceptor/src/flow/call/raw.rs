//! Raw TCP, by `protocol: tcp`: nothing is sniffed, because the server may speak first.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpStream;

use super::{Call, carriage::Carriage, standing::Passage};
use crate::{
    address::{Host, OriginalDst},
    flow::{denial::Denial, dial},
    policy::Endpoint,
};

/// Who is meant.
pub(super) enum RawTarget {
    Name(Host),
    Address(SocketAddr),
}

impl Call {
    /// Where to carry bytes unread: the address is one that we answered for a `protocol: tcp` name, or one that the
    /// policy lists without a name.
    pub(super) fn raw_endpoint(&self) -> Option<(RawTarget, Arc<Endpoint>)> {
        let configuration = self.configuration.load();
        let rules = configuration.snapshot.sandbox(&self.sandbox.name)?;
        let OriginalDst(address) = self.origin.original;
        let caller = self.caller(&rules.policy);
        let by_name = self
            .sandbox
            .names
            .names(address.ip())
            .into_iter()
            .find_map(|host| {
                let endpoint = rules.policy.tcp(&host, address.port(), caller)?;
                Some((RawTarget::Name(host), endpoint))
            });
        by_name.or_else(|| {
            let endpoint = rules
                .policy
                .tcp_address(address.ip(), address.port(), caller)?;
            Some((RawTarget::Address(address), endpoint))
        })
    }

    pub(super) async fn raw(
        &self,
        client: TcpStream,
        target: RawTarget,
        endpoint: &Endpoint,
    ) -> Option<Carriage> {
        self.decided("tunnel", endpoint);
        self.stats().note(|facts| facts.protocol = Some("tcp"));
        let dialled = match &target {
            RawTarget::Name(host) => self.dial(host, endpoint).await,
            RawTarget::Address(address) => dial::connect(*address)
                .await
                .and_then(|stream| self.engine.outward(stream)),
        };
        match dialled {
            Ok(upstream) => Some(Carriage::Tunnel {
                client,
                upstream,
                early: Vec::new(),
                passage: match target {
                    RawTarget::Name(host) => Passage::Name(host),
                    RawTarget::Address(address) => Passage::Address(address),
                },
            }),
            Err(error) => {
                self.refuse(&Denial::Dial(error));
                None
            }
        }
    }
}
