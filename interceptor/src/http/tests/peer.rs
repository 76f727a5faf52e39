//! A relay with a scripted client and a scripted server at its ends.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::watch,
    task::JoinHandle,
};
use zeroize::Zeroizing;

use crate::{
    address::{Authority, VerifiedName},
    http::{End, Exchange, HttpError, Scheme, relay},
    policy::{
        Judgement, RequestView,
        binding::{PathPlace, Surface, Unbound},
    },
    rewrite::{
        release::{BoundSecret, Release, builder},
        standing::{
            Standing,
            reloads::{Reloads, reloads},
        },
    },
    secrets::Secret,
    stats::connection::Connection,
    websocket::takeover,
};

pub(crate) const HOST: &str = "api.example.com";

/// The secret `TOKEN`, bound to some headers of [`HOST`].
pub(crate) const TOKEN: &str = "openshell:resolve:env:TOKEN";
pub(crate) const SECRET: &str = "s3cr3t-value";
/// A secret of the sandbox that is bound to another host.
pub(crate) const OTHER: &str = "openshell:resolve:env:OTHER";

/// What a connection's policy says, as tests write it.
pub(crate) type Judge = Box<dyn Fn(&RequestView<'_>) -> Judgement + Send + Sync>;

pub(crate) fn release() -> Release {
    release_of(SECRET)
}

/// The same with another value.
pub(crate) fn release_of(value: &str) -> Release {
    let surfaces = [
        "authorization",
        "x-api-key",
        "cookie",
        "origin",
        "idempotency-key",
        "sec-websocket-protocol",
    ]
    .map(|name| Surface::Header(name.into()))
    .to_vec();
    let place = PathPlace {
        before: "/bot".into(),
        after: "/".into(),
    };
    let surfaces = [
        surfaces,
        vec![Surface::Path(place), Surface::Query("key".into())],
    ]
    .concat();
    let bound = BoundSecret {
        name: "TOKEN".parse().unwrap(),
        secret: Secret::new(Zeroizing::new(value.into())).unwrap(),
        surfaces,
    };
    let upstream = VerifiedName::after_handshake(HOST.parse().unwrap());
    Release::new(&upstream, vec![bound], vec!["OTHER".parse().unwrap()])
}

pub(crate) fn exchange(judge: Judge) -> (Exchange, watch::Sender<bool>) {
    let (shutdown, stopping) = watch::channel(false);
    let exchange = Exchange {
        scheme: Scheme::Https,
        authority: Authority {
            host: HOST.parse().unwrap(),
            port: 443,
        },
        release: Arc::new(release()),
        stats: Arc::new(Connection::default()),
        early: BytesMut::new(),
        judge: judge.into(),
        denials: Box::new(|_, _| {}),
        may_switch: Box::new(|protocol| protocol.eq_ignore_ascii_case("tcp")),
        takeover: Arc::default(),
        standing: Standing::for_ever(),
        shutdown: stopping,
    };
    (exchange, shutdown)
}

/// A relay under way.
pub(super) struct Rig {
    pub(super) client: DuplexStream,
    pub(super) server: DuplexStream,
    pub(super) stats: Arc<Connection>,
    pub(super) shutdown: watch::Sender<bool>,
    relay: JoinHandle<Result<End, HttpError>>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(64 * 1024, Box::new(|_| Judgement::Allow), b"")
    }

    /// `room`: bytes that each direction of each stream holds before a writer has to wait.
    pub(super) fn with(room: usize, judge: Judge, early: &[u8]) -> Self {
        let (mut exchange, shutdown) = exchange(judge);
        exchange.early = BytesMut::from(early);
        Self::of(room, exchange, shutdown)
    }

    /// With a configuration that can be loaded again.
    pub(super) fn reloading() -> (Self, Reloads) {
        let (mut exchange, shutdown) = exchange(Box::new(|_| Judgement::Allow));
        let (reloads, standing) = reloads();
        exchange.standing = standing;
        (Self::of(64 * 1024, exchange, shutdown), reloads)
    }

    /// With this policy on placeholders that stand where nothing is bound.
    pub(super) fn on_unbound(unbound: Unbound) -> Self {
        let (mut exchange, shutdown) = exchange(Box::new(|_| Judgement::Allow));
        exchange.release = Arc::new(release().with_unbound(unbound));
        Self::of(64 * 1024, exchange, shutdown)
    }

    /// With other places to put secrets in.
    pub(super) fn releasing(release: builder::Builder) -> Self {
        let (mut exchange, shutdown) = exchange(Box::new(|_| Judgement::Allow));
        exchange.release = Arc::new(release.build());
        Self::of(512 * 1024, exchange, shutdown)
    }

    /// The same with a configuration that can be loaded again.
    pub(super) fn releasing_until(release: builder::Builder) -> (Self, Reloads) {
        let (mut exchange, shutdown) = exchange(Box::new(|_| Judgement::Allow));
        exchange.release = Arc::new(release.build());
        let (reloads, standing) = reloads();
        exchange.standing = standing;
        (Self::of(64 * 1024, exchange, shutdown), reloads)
    }

    /// With the secret `TOKEN` bound to Discord's field of WebSocket messages.
    pub(super) fn rewriting_messages() -> Self {
        Self::remembering(&Arc::default())
    }

    /// The same with what other connections of its sandbox noted.
    pub(super) fn remembering(takeover: &Arc<takeover::Memory>) -> Self {
        let (mut exchange, shutdown) = exchange(Box::new(|_| Judgement::Allow));
        let release = builder::release().discord("TOKEN", SECRET.as_bytes());
        exchange.release = Arc::new(release.build());
        exchange.takeover = Arc::clone(takeover);
        Self::of(64 * 1024, exchange, shutdown)
    }

    pub(super) fn of(room: usize, exchange: Exchange, shutdown: watch::Sender<bool>) -> Self {
        let (client, client_end) = duplex(room);
        let (server_end, server) = duplex(room);
        let stats = Arc::clone(&exchange.stats);
        let relay = tokio::spawn(relay(client_end, server_end, (), exchange));
        Self {
            client,
            server,
            stats,
            shutdown,
            relay,
        }
    }

    pub(super) async fn ask(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.write_all(bytes.as_ref()).await.unwrap();
    }

    pub(super) async fn answer(&mut self, bytes: impl AsRef<[u8]>) {
        self.server.write_all(bytes.as_ref()).await.unwrap();
    }

    pub(super) async fn server_gets(&mut self, expected: impl AsRef<[u8]>) {
        expect(&mut self.server, expected.as_ref()).await;
    }

    pub(super) async fn client_gets(&mut self, expected: impl AsRef<[u8]>) {
        expect(&mut self.client, expected.as_ref()).await;
    }

    /// Asks and answers once, both byte for byte.
    pub(super) async fn pass(&mut self, request: impl AsRef<[u8]>, response: impl AsRef<[u8]>) {
        self.ask(&request).await;
        self.server_gets(&request).await;
        self.answer(&response).await;
        self.client_gets(&response).await;
    }

    /// The server is sent nothing more than `expected`, then its end.
    pub(super) async fn server_ends_with(&mut self, expected: &str) {
        assert_eq!(rest(&mut self.server).await, expected);
    }

    pub(super) async fn client_ends_with(&mut self, expected: &str) {
        assert_eq!(rest(&mut self.client).await, expected);
    }

    /// The client's refusal: its status and its error code. The server is sent nothing.
    pub(super) async fn refused(&mut self) -> (u16, String) {
        self.server_ends_with("").await;
        let response = rest(&mut self.client).await;
        let (head, body) = response.split_once("\r\n\r\n").expect("a whole response");
        assert!(head.contains("\r\nConnection: close"), "{head}");
        assert!(
            head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())),
            "{head}"
        );
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert!(!body["reason"].as_str().unwrap().is_empty());
        (status, body["error"].as_str().unwrap().to_owned())
    }

    /// How the relay ended, after both peers have closed.
    pub(super) async fn end(self) -> Result<End, HttpError> {
        drop((self.client, self.server));
        self.relay.await.unwrap()
    }
}

async fn expect(stream: &mut DuplexStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    let read = stream.read_exact(&mut got).await;
    assert_eq!(
        String::from_utf8_lossy(&got),
        String::from_utf8_lossy(expected)
    );
    read.unwrap();
}

pub(super) async fn rest(stream: &mut DuplexStream) -> String {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    String::from_utf8(got).unwrap()
}
