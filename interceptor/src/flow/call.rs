//! One connection: sniff, decide, dial, verify, relay.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::client;

use super::{
    Origin,
    denial::Denial,
    dial::{self, DialError},
    engine::{Configuration, Engine, GOODBYE},
    names::Names,
    sandbox::Sandbox,
    socket, tunnel,
};
use crate::{
    address::{Authority, Host, OriginalDst, VerifiedName},
    dns,
    error::chain,
    http::{self, Exchange, First, FirstError, MethodDecision, Refusal, Scheme},
    policy::{Endpoint, Enforcement, Policy, Verdict},
    rewrite::release::Release,
    stats::{
        Live, Opening,
        connection::{Connection, Direction},
    },
    tls::hello::{self, Hello},
};

/// Time for a client's first byte.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// First byte of a TLS record that carries a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// Port of DNS; the kernel steers it here whatever address it was meant for.
const DNS: u16 = 53;
/// What is spoken inside the TLS that we open.
const ALPN: &[&[u8]] = &[b"http/1.1"];

/// One connection of a sandbox, with everything that decides about it.
pub(super) struct Call {
    engine: Arc<Engine>,
    configuration: Arc<Configuration>,
    sandbox: Arc<Sandbox>,
    origin: Origin,
    live: Live,
    stop: watch::Receiver<bool>,
}

impl Call {
    pub(super) fn new(engine: Arc<Engine>, sandbox: Arc<Sandbox>, origin: Origin) -> Self {
        let live = engine.stats.open(Opening {
            sandbox: sandbox.id,
            sandbox_name: Arc::clone(&sandbox.name),
            process: origin.process.clone().into(),
            original: origin.original,
            connected_at: origin.connected_at,
        });
        let stop = sandbox.stopped();
        let configuration = engine.configuration();
        Self {
            engine,
            configuration,
            sandbox,
            origin,
            live,
            stop,
        }
    }

    /// Carries the connection to its end.
    pub(super) async fn run(self, client: TcpStream) {
        let mut stop = self.stop.clone();
        let cut = async move {
            // The sender lives in `self.sandbox`: this ends by the signal only.
            if stop.wait_for(|stop| *stop).await.is_ok() {
                sleep(GOODBYE).await;
            }
        };
        tokio::select! {
            biased;
            () = Box::pin(self.carry(client)) => {}
            () = cut => self.end("cut: the sandbox was detached, or the daemon stopped"),
        }
    }

    async fn carry(&self, client: TcpStream) {
        if let Err(error) = socket::tune(&client) {
            tracing::debug!(%error, "socket options could not be set");
        }
        if self.origin.original.port() == DNS {
            return self.dns(client).await;
        }
        if let Some((target, endpoint)) = self.raw_endpoint() {
            return self.raw(client, target, &endpoint).await;
        }
        let mut first = [0];
        match timeout(FIRST_BYTE, client.peek(&mut first)).await {
            Err(_elapsed) => self.refuse(&Denial::Silent),
            Ok(Ok(0)) => self.end("the client closed before it sent anything"),
            Ok(Err(error)) => self.end(&chain(&error)),
            Ok(Ok(_)) if first == [HANDSHAKE] => self.tls(client).await,
            Ok(Ok(_)) if first.iter().all(u8::is_ascii_uppercase) => self.plain(client).await,
            Ok(Ok(_)) => self.refuse(&Denial::Unreadable),
        }
    }

    async fn dns(&self, client: TcpStream) {
        self.stats().note(|facts| facts.protocol = Some("dns"));
        let names = Names {
            engine: &self.engine,
            sandbox: &self.sandbox,
            origin: &self.origin,
        };
        match dns::tcp::serve(client, &names).await {
            Ok(()) => self.end("the client closed"),
            Err(error) => self.end(&chain(&error)),
        }
    }

    /// Where to carry bytes unread: the address is one that we answered for a `protocol: tcp` name, or one that the
    /// policy lists without a name.
    fn raw_endpoint(&self) -> Option<(RawTarget, Arc<Endpoint>)> {
        let rules = self.configuration.snapshot.sandbox(&self.sandbox.name)?;
        let OriginalDst(address) = self.origin.original;
        let by_name = self
            .sandbox
            .names
            .names(address.ip())
            .into_iter()
            .find_map(|host| {
                let endpoint = rules.policy.tcp(&host, address.port())?;
                Some((RawTarget::Name(host), endpoint))
            });
        by_name.or_else(|| {
            let endpoint = rules.policy.tcp_address(address.ip(), address.port())?;
            Some((RawTarget::Address(address), endpoint))
        })
    }

    async fn raw(&self, client: TcpStream, target: RawTarget, endpoint: &Endpoint) {
        self.decided("tunnel", endpoint);
        self.stats().note(|facts| facts.protocol = Some("tcp"));
        let dialled = match target {
            RawTarget::Name(host) => self.dial(&host, endpoint).await,
            RawTarget::Address(address) => dial::connect(address).await,
        };
        match dialled {
            Ok(upstream) => self.tunnel(client, upstream, &[]).await,
            Err(error) => self.refuse(&Denial::Dial(error)),
        }
    }

    async fn tls(&self, client: TcpStream) {
        self.stats().note(|facts| facts.protocol = Some("tls"));
        let hello = match hello::read(client).await {
            Ok(hello) => hello,
            // The client has been told.
            Err(error) => return self.refuse(&Denial::Hello(error)),
        };
        let Some(host) = hello.sni().cloned() else {
            return self.refuse_hello(hello, Denial::NoServerName).await;
        };
        self.stats().note(|facts| facts.sni = Some(host.clone()));
        match self.decide(&host) {
            Verdict::Deny(reason) => self.refuse_hello(hello, Denial::Policy(reason)).await,
            Verdict::Tunnel(endpoint) | Verdict::Tcp(endpoint) => {
                self.tls_tunnel(hello, host, &endpoint).await
            }
            Verdict::Intercept(endpoint) => self.intercept(hello, host, endpoint).await,
        }
    }

    async fn tls_tunnel(&self, hello: Hello, host: Host, endpoint: &Endpoint) {
        self.decided("tunnel", endpoint);
        if hello.has_encrypted_client_hello() {
            return self.refuse_hello(hello, Denial::EncryptedHello(host)).await;
        }
        match self.dial(&host, endpoint).await {
            Ok(upstream) => {
                let (client, early) = hello.into_tunnel();
                self.tunnel(client, upstream, &early).await;
            }
            Err(error) => self.refuse_hello(hello, Denial::Dial(error)).await,
        }
    }

    async fn intercept(&self, hello: Hello, host: Host, endpoint: Arc<Endpoint>) {
        self.decided("intercept", &endpoint);
        // The upstream first: what is wrong there can then be told by an alert, before the client trusts us with
        // anything.
        let (upstream, verified) = match self.verified_upstream(&host, &endpoint).await {
            Ok(upstream) => upstream,
            Err(denial) => return self.refuse_hello(hello, denial).await,
        };
        let config = match self.engine.leaves.server_config(&host) {
            Ok(config) => config,
            Err(source) => {
                return self
                    .refuse_hello(hello, Denial::Mint { host, source })
                    .await;
            }
        };
        let begun = Instant::now();
        let client = match hello.accept(config).await {
            Ok(client) => client,
            Err(error) => return self.end(&chain(&error)),
        };
        self.stats()
            .note(|facts| facts.client_handshake = Some(begun.elapsed()));
        let release = self.release(&verified);
        let authority = Authority {
            host,
            port: self.origin.original.port(),
        };
        self.relay(
            client,
            upstream,
            Scheme::Https,
            authority,
            release,
            endpoint,
            BytesMut::new(),
        )
        .await;
    }

    async fn verified_upstream(
        &self,
        host: &Host,
        endpoint: &Endpoint,
    ) -> Result<(client::TlsStream<TcpStream>, VerifiedName), Denial> {
        let stream = self.dial(host, endpoint).await.map_err(Denial::Dial)?;
        let begun = Instant::now();
        let connected = self
            .configuration
            .connector
            .connect(stream, host, ALPN)
            .await;
        self.stats()
            .note(|facts| facts.upstream_handshake = Some(begun.elapsed()));
        connected.map_err(|source| Denial::Upstream {
            host: host.clone(),
            source,
        })
    }

    /// The secrets that may go to the verified owner of a name, by this connection.
    fn release(&self, verified: &VerifiedName) -> Release {
        let snapshot = &self.configuration.snapshot;
        let names = self.sandbox.secrets(snapshot);
        let (bound, elsewhere) = snapshot.bound(names.into_iter(), verified.host());
        Release::new(verified, bound, elsewhere)
    }

    async fn plain(&self, mut client: TcpStream) {
        self.stats().note(|facts| facts.protocol = Some("http"));
        let first = match http::first_head(&mut client, self.origin.original.port()).await {
            Ok(first) => first,
            Err(FirstError::Refused(refusal)) => {
                self.live.deny("bad_request", &chain(&refusal));
                return self.answer(client, BytesMut::new(), &refusal).await;
            }
            Err(error @ (FirstError::Closed | FirstError::Io(_))) => {
                return self.end(&chain(&error));
            }
        };
        let First {
            authority,
            buffered,
        } = first;
        self.stats()
            .note(|facts| facts.sni = Some(authority.host.clone()));
        let endpoint = match self.decide(&authority.host) {
            Verdict::Deny(reason) => {
                return self
                    .refuse_request(client, buffered, Denial::Policy(reason))
                    .await;
            }
            Verdict::Tunnel(endpoint) | Verdict::Tcp(endpoint) | Verdict::Intercept(endpoint) => {
                endpoint
            }
        };
        self.decided("intercept", &endpoint);
        match self.dial(&authority.host, &endpoint).await {
            // Nobody vouches for who answers: never a secret.
            Ok(upstream) => {
                self.relay(
                    client,
                    upstream,
                    Scheme::Http,
                    authority,
                    Release::nothing(),
                    endpoint,
                    buffered,
                )
                .await;
            }
            Err(error) => {
                self.refuse_request(client, buffered, Denial::Dial(error))
                    .await
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the two callers differ in every one of them"
    )]
    async fn relay<C, U>(
        &self,
        client: C,
        upstream: U,
        scheme: Scheme,
        authority: Authority,
        release: Release,
        endpoint: Arc<Endpoint>,
        early: BytesMut,
    ) where
        C: AsyncRead + AsyncWrite + Unpin,
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let exchange = Exchange {
            scheme,
            authority,
            release: Arc::new(release),
            stats: Arc::clone(self.stats()),
            method: Box::new(move |method| methods(&endpoint, method)),
            early,
            drain: self.stop.clone(),
        };
        match http::relay(client, upstream, exchange).await {
            Ok(http::End::Refused(refusal)) => self.live.deny(refusal.code(), &chain(&refusal)),
            Ok(end) => self.end(&end.to_string()),
            Err(error) => self.end(&chain(&error)),
        }
    }

    async fn tunnel(&self, mut client: TcpStream, mut upstream: TcpStream, early: &[u8]) {
        let relayed = async {
            upstream.write_all(early).await?;
            self.stats()
                .count_bytes(Direction::ClientToServer, early.len() as u64);
            tunnel::relay(&mut client, &mut upstream, self.stats()).await
        };
        match relayed.await {
            Ok(()) => self.end("both sides closed"),
            Err(error) => self.end(&chain(&error)),
        }
    }

    fn decide(&self, host: &Host) -> Verdict {
        let port = self.origin.original.port();
        match self.configuration.snapshot.sandbox(&self.sandbox.name) {
            Some(rules) => rules.policy.decide(host, port),
            // The sandbox has left the configuration in a reload: it may reach nothing.
            None => Policy::default().decide(host, port),
        }
    }

    async fn dial(&self, host: &Host, endpoint: &Endpoint) -> Result<TcpStream, DialError> {
        let begun = Instant::now();
        let dialled = dial::dial(
            &self.engine.resolver,
            host,
            self.origin.original.port(),
            endpoint,
        )
        .await;
        self.stats()
            .note(|facts| facts.dial = Some(begun.elapsed()));
        dialled
    }

    fn decided(&self, verdict: &'static str, endpoint: &Endpoint) {
        self.stats().note(|facts| {
            facts.verdict = Some(verdict);
            facts.rule = Some(endpoint.rule.to_string());
        });
    }

    async fn refuse_hello(&self, hello: Hello, denial: Denial) {
        self.refuse(&denial);
        hello.deny(denial.alert()).await;
    }

    async fn refuse_request(&self, client: TcpStream, buffered: BytesMut, denial: Denial) {
        self.refuse(&denial);
        self.answer(client, buffered, &Refusal::Denied(denial.detail()))
            .await;
    }

    async fn answer(&self, client: TcpStream, buffered: BytesMut, refusal: &Refusal) {
        if let Err(error) = http::deny(client, buffered, refusal).await {
            tracing::debug!(%error, "the client could not be told why it was refused");
        }
    }

    /// Records and logs a denial; what the client is told is up to the caller.
    fn refuse(&self, denial: &Denial) {
        let detail = denial.detail();
        tracing::warn!(
            connection = self.live.id(),
            sandbox = &*self.sandbox.name,
            pid = self.origin.process.tgid,
            comm = ?self.origin.process.comm,
            destination = %self.origin.original,
            sni = self.stats().facts().sni.map(tracing::field::display),
            reason = detail,
            "connection denied"
        );
        self.live.deny(denial.reason(), &detail);
    }

    fn end(&self, how: &str) {
        self.stats().note(|facts| facts.end = Some(how.to_owned()));
    }

    fn stats(&self) -> &Arc<Connection> {
        self.live.connection()
    }
}

/// What carries raw TCP.
enum RawTarget {
    Name(Host),
    Address(SocketAddr),
}

fn methods(endpoint: &Endpoint, method: &str) -> MethodDecision {
    if endpoint.allows_method(method) {
        return MethodDecision::Allow;
    }
    match endpoint.enforcement {
        Enforcement::Enforce => MethodDecision::Deny(endpoint.rule.to_string()),
        Enforcement::Audit => MethodDecision::Audit(endpoint.rule.to_string()),
    }
}
