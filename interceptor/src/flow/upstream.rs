//! The one place that connections to verified servers come from: those that another client of the sandbox has left in
//! good order, or new ones.
//!
//! Only TLS and HTTP/1.1 is kept: an HTTP/2 connection carries one client's streams, and plain TCP is opened at once.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

use super::{
    denial::Denial,
    dial::{self, Address},
    engine::{Configuration, Engine},
    evidence::Evidence,
    pool::{Generation, Keep, Key},
    sandbox::Sandbox,
};
use crate::{
    address::VerifiedName,
    policy::Endpoint,
    rewrite::reflection::Reflection,
    stats::connection::Connection,
    tls::upstream::{Proof, Verified},
};

/// A connection to a verified server.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) verified: VerifiedName,
    /// What was written on it, by whichever client.
    pub(super) reflection: Arc<Reflection>,
    proof: Arc<Proof>,
    address: Address,
}

/// What is to be known to give an [`Upstream`] back, or to replace it.
pub(super) struct Lease {
    pub(super) key: Key,
    pub(super) reflection: Arc<Reflection>,
    pub(super) evidence: Arc<Evidence>,
    /// For how long it has idled before; `None`: it is new.
    pub(super) idled: Option<Duration>,
    verified: VerifiedName,
    proof: Arc<Proof>,
    address: Address,
    generation: Generation,
}

/// By what and for whom a connection is made.
pub(super) struct Way<'a> {
    pub(super) engine: &'a Engine,
    pub(super) sandbox: &'a Sandbox,
    pub(super) configuration: &'a Arc<Configuration>,
    pub(super) endpoint: &'a Endpoint,
    pub(super) stats: &'a Connection,
}

impl Way<'_> {
    /// One that idles, else a new one.
    pub(super) async fn connect(&self, key: Key) -> Result<(TlsStream<TcpStream>, Lease), Denial> {
        let generation = Generation::of(self.configuration);
        let fits = |upstream: &Upstream| upstream.address.allowed_by(self.endpoint);
        let (upstream, idled) = match self.sandbox.idle.take(&key, &generation, fits) {
            Some((upstream, idled)) => {
                self.stats.note(|facts| facts.reused = true);
                (upstream, Some(idled))
            }
            None => (self.dial(&key).await?, None),
        };
        let Upstream {
            stream,
            verified,
            reflection,
            proof,
            address,
        } = upstream;
        let lease = Lease {
            key,
            reflection,
            evidence: Arc::new(Evidence::of(Arc::clone(&proof))),
            idled,
            verified,
            proof,
            address,
            generation,
        };
        Ok((stream, lease))
    }

    /// A new connection in the place of `lease`'s, with the same protocol inside.
    pub(super) async fn renew(&self, lease: &mut Lease) -> Result<TlsStream<TcpStream>, Denial> {
        let Upstream {
            stream,
            verified,
            // What was written on the old one may come back on this one as well, for all that we know.
            reflection: _,
            proof,
            address,
        } = self.dial(&lease.key).await?;
        lease.idled = None;
        lease.verified = verified;
        lease.evidence.replace(Arc::clone(&proof));
        lease.proof = proof;
        lease.address = address;
        lease.generation = Generation::of(self.configuration);
        Ok(stream)
    }

    /// A new connection that is never kept.
    pub(super) async fn fresh(
        &self,
        key: &Key,
    ) -> Result<(TlsStream<TcpStream>, Arc<Proof>), Denial> {
        let upstream = self.dial(key).await?;
        Ok((upstream.stream, upstream.proof))
    }

    async fn dial(&self, key: &Key) -> Result<Upstream, Denial> {
        let Key {
            host,
            port,
            offer,
            redact,
            user: _,
            caller: _,
        } = key;
        let begun = Instant::now();
        let resolver = &self.engine.resolver;
        let dialled = dial::dial(resolver, self.sandbox, host, *port, self.endpoint).await;
        self.stats.note(|facts| {
            facts.reused = false;
            facts.dial = Some(begun.elapsed());
        });
        let dial::Dialled { stream, address } = dialled.map_err(Denial::Dial)?;
        let stream = self.engine.outward(stream).map_err(Denial::Dial)?;
        let begun = Instant::now();
        let offer: Vec<_> = offer.iter().map(|protocol| protocol.name()).collect();
        let connected = self
            .configuration
            .connector
            .connect(stream, host, &offer, &self.sandbox.sessions)
            .await;
        self.stats
            .note(|facts| facts.upstream_handshake = Some(begun.elapsed()));
        let Verified {
            stream,
            name: verified,
            proof,
        } = connected.map_err(|source| Denial::Upstream {
            host: host.clone(),
            source,
        })?;
        let reflection = if *redact {
            Reflection::default()
        } else {
            Reflection::off()
        };
        Ok(Upstream {
            stream,
            verified,
            reflection: Arc::new(reflection),
            proof,
            address,
        })
    }
}

impl Lease {
    pub(super) fn verified(&self) -> &VerifiedName {
        &self.verified
    }

    /// The connection has nothing left to do for its client.
    pub(super) fn give_back(self, stream: TlsStream<TcpStream>, engine: &Engine, to: &Sandbox) {
        let Self {
            key,
            reflection,
            evidence: _,
            idled: _,
            verified,
            proof,
            address,
            generation,
        } = self;
        let upstream = Upstream {
            stream,
            verified,
            reflection,
            proof,
            address,
        };
        let valid = || Generation::of(&engine.configuration());
        to.idle.give(key, upstream, generation, valid);
    }
}

#[cfg(test)]
impl super::pool::Pool<Upstream> {
    /// Connections on which something was written that may come back.
    pub(super) fn written(&self) -> usize {
        let written = |upstream: &Upstream| upstream.reflection.patterns().is_some();
        self.count(written)
    }
}

impl Keep for Upstream {
    fn is_quiet(&mut self) -> bool {
        // The kernel is asked itself: the runtime may not have heard from it yet.
        let (socket, _) = self.stream.get_ref();
        let nothing = recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT)
            .is_err_and(|error| error == Errno::AGAIN);
        // What has been read from the socket, but not by anybody from TLS.
        let mut space = [0; 1];
        nothing
            && once(|context| {
                let mut buffer = ReadBuf::new(&mut space);
                Pin::new(&mut self.stream).poll_read(context, &mut buffer)
            })
            .is_pending()
    }

    fn part(mut self) {
        let ended = once(|context| Pin::new(&mut self.stream).poll_shutdown(context));
        if let Poll::Ready(Err(error)) = ended {
            tracing::debug!(%error, "ending an idle connection to a server failed");
        }
    }
}

/// Polls without waiting.
fn once<T>(poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
    poll(&mut Context::from_waker(Waker::noop()))
}
