//! Whole connections, from a sandbox's TLS client to a TLS server that another root vouches for.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs::default_provider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tempfile::TempDir;
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader,
    },
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use super::{Configuration, Engine, Origin, Process};
use crate::{
    address::{Host, NetnsCookie, OriginalDst, SandboxId},
    config,
    stats::{Selection, Stats, view::ConnectionView},
    tls::{ca::CertificateAuthority, leaf::Leaves, upstream::Connector},
};

const NAME: &str = "api.example.com";
/// Another name of the server, to which no secret is bound.
const OTHER: &str = "cdn.example.com";
const MICKY: SandboxId = SandboxId(1);
const MINNIE: SandboxId = SandboxId(2);
const TOKEN: &str = "s3cr3t-value-of-micky";
const PLACEHOLDER: &str = "openshell:resolve:env:TOKEN";

/// A server that answers with the number of the connection that it was asked on.
struct Server {
    port: u16,
    /// Connections so far.
    accepted: Arc<AtomicUsize>,
    /// Changes when those that are open are to be closed.
    close: watch::Sender<()>,
    /// Heads of requests, in the order in which they came.
    heads: Arc<Mutex<Vec<String>>>,
}

struct House {
    folder: TempDir,
    engine: Arc<Engine>,
    stats: Arc<Stats>,
    client: Arc<ClientConfig>,
    server: Server,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (root, server) = certificates();
        let server = Server::start(server).await;
        let port = server.port;
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("root.pem", &root);
        write("token", TOKEN);
        write(
            "policy.yaml",
            &format!(
                "version: 1\nnetwork_policies:\n  api:\n    endpoints:\n      - {{ host: {NAME}, ports: [80, 443], protocol: \
                 rest, access: full }}\n      - {{ host: {OTHER}, port: 443, protocol: rest, access: full }}\n"
            ),
        );
        write(
            "interceptor.yaml",
            &format!(
                "secrets:\n  TOKEN:\n    from: {{ file: token }}\n    bindings:\n      - {{ hosts: [{NAME}], header: \
                 x-token }}\nsandboxes:\n  - {{ name: micky, policies: [policy.yaml], secrets: [TOKEN] }}\n  - {{ \
                 name: minnie, policies: [policy.yaml] }}\nresolve: {{ {NAME}: \"127.0.0.1:{port}\", {OTHER}: \
                 \"127.0.0.1:{port}\" }}\nupstream: {{ \
                 roots: [root.pem] }}\n"
            ),
        );
        let authority = CertificateAuthority::load_or_create(folder.path()).unwrap();
        let ours = authority.certificate_pem();
        let leaves = Leaves::new(Arc::new(authority)).unwrap();
        let stats = Arc::new(Stats::default());
        let engine = Arc::new(
            Engine::new(
                configuration(folder.path().join("interceptor.yaml")),
                leaves,
                Arc::clone(&stats),
            )
            .unwrap(),
        );
        engine.enroll(MICKY, "micky", &[]).unwrap();
        engine.enroll(MINNIE, "minnie", &[]).unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ours.as_bytes()).unwrap())
            .unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            folder,
            engine,
            stats,
            client: Arc::new(client),
            server,
        }
    }

    fn reload(&self) {
        let path = self.folder.path().join("interceptor.yaml");
        let snapshot = config::load(&path).unwrap();
        let (roots, certificates) = (snapshot.extra_roots(), snapshot.client_certificates());
        let running = self.engine.configuration();
        let connector = running.connector.renew(roots, certificates).unwrap();
        self.engine.reconfigure(Configuration {
            snapshot,
            connector,
        });
    }

    /// What the daemon is to trust from now on, beside the platform's roots.
    fn trust(&self, roots: &[&str]) {
        std::fs::write(self.folder.path().join("root.pem"), roots.concat()).unwrap();
        self.reload();
    }

    async fn visit(&self, sandbox: SandboxId) -> Visit<TlsStream<TcpStream>> {
        self.visit_as(sandbox, 1000).await
    }

    async fn visit_as(&self, sandbox: SandboxId, uid: u32) -> Visit<TlsStream<TcpStream>> {
        let (near, serving) = self.connect(sandbox, uid, 443).await;
        Visit {
            stream: BufReader::new(self.secured(near, NAME).await),
            serving,
        }
    }

    async fn secured(&self, stream: TcpStream, name: &'static str) -> TlsStream<TcpStream> {
        let name = ServerName::try_from(name).unwrap();
        let connector = TlsConnector::from(Arc::clone(&self.client));
        connector.connect(name, stream).await.unwrap()
    }

    /// A client of a sandbox connects.
    async fn connect(
        &self,
        sandbox: SandboxId,
        uid: u32,
        port: u16,
    ) -> (TcpStream, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let origin = Origin {
            sandbox,
            netns: NetnsCookie(1),
            process: Process {
                tgid: std::process::id(),
                tid: std::process::id(),
                uid,
                comm: "client".into(),
            },
            original: OriginalDst((Ipv4Addr::new(192, 0, 2, 1), port).into()),
            connected_at: SystemTime::now(),
        };
        let serving = tokio::spawn(Arc::clone(&self.engine).serve(far.unwrap().0, origin));
        (near.unwrap(), serving)
    }

    /// A client that asks once and goes: which of the server's connections it was answered on.
    async fn fetch(&self, sandbox: SandboxId) -> String {
        let mut visit = self.visit(sandbox).await;
        let answer = visit.ask("GET", "").await;
        visit.leave().await;
        answer
    }

    fn accepted(&self) -> usize {
        self.server.accepted.load(Relaxed)
    }

    fn last(&self) -> ConnectionView {
        self.stats.connections(true).pop().unwrap()
    }
}

struct Visit<S> {
    stream: BufReader<S>,
    serving: JoinHandle<()>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Visit<S> {
    /// The body of the answer.
    async fn ask(&mut self, method: &str, fields: &str) -> String {
        let request = format!("{method} / HTTP/1.1\r\nHost: {NAME}\r\n{fields}\r\n");
        let (head, body) = self.send(&request).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body
    }

    /// The answer.
    async fn send(&mut self, request: &str) -> (String, String) {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
        let head = head(&mut self.stream).await.unwrap();
        let length = head.to_ascii_lowercase();
        let (_, length) = length.split_once("content-length: ").unwrap();
        let length = length.split_once('\r').unwrap().0.parse().unwrap();
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    async fn leave(mut self) {
        self.stream.shutdown().await.unwrap();
        drop(self.stream);
        self.serving.await.unwrap();
    }
}

impl Server {
    async fn start(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (close, closing) = watch::channel(());
        let heads = Arc::default();
        let counter = Arc::clone(&accepted);
        let noted = Arc::clone(&heads);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = counter.fetch_add(1, Relaxed);
                let acceptor = TlsAcceptor::from(Arc::clone(&config));
                let mut closing = closing.clone();
                closing.mark_unchanged();
                let noted = Arc::clone(&noted);
                tokio::spawn(async move {
                    let mut first = [0];
                    stream.peek(&mut first).await.unwrap();
                    if first == [22] {
                        let stream = acceptor.accept(stream).await.unwrap();
                        serve(stream, number, closing, &noted).await;
                    } else {
                        serve(stream, number, closing, &noted).await;
                    }
                });
            }
        });
        Self {
            port,
            accepted,
            close,
            heads,
        }
    }

    fn last_head(&self) -> String {
        self.heads.lock().unwrap().last().cloned().unwrap()
    }

    /// Closes all connections that are open, as servers do that have waited for long enough.
    async fn close(&self) {
        self.close.send_replace(());
        sleep(Duration::from_millis(50)).await;
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    number: usize,
    mut closing: watch::Receiver<()>,
    heads: &Mutex<Vec<String>>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let asked = tokio::select! {
            asked = head(&mut stream) => asked,
            _ = closing.changed() => None,
        };
        let Some(asked) = asked else {
            // The client may have gone.
            drop(stream.shutdown().await);
            return;
        };
        let answer = if asked.starts_with("GET /moved ") {
            format!("HTTP/1.1 302 Found\r\nLocation: https://{OTHER}/\r\nContent-Length: 0\r\n\r\n")
        } else {
            format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}")
        };
        heads.lock().unwrap().push(asked);
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
}

/// A message's head; `None` at the end of the stream.
async fn head(stream: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Option<String> {
    let mut head = String::new();
    loop {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
        if head.ends_with("\r\n\r\n") {
            return Some(head);
        }
    }
}

fn configuration(path: PathBuf) -> Configuration {
    let snapshot = config::load(&path).unwrap();
    let connector = Connector::new(snapshot.extra_roots(), snapshot.client_certificates()).unwrap();
    Configuration {
        snapshot,
        connector,
    }
}

/// A root in PEM form, and a server that it vouches for.
fn certificates() -> (String, Arc<ServerConfig>) {
    let root_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&root_key).unwrap().pem();
    let issuer = Issuer::new(params, root_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([NAME, OTHER].map(str::to_owned))
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    (root, Arc::new(config))
}

#[tokio::test]
async fn a_client_is_served_on_the_connection_that_another_has_left() {
    let house = House::new().await;
    assert_eq!(house.fetch(MICKY).await, "0");
    assert!(!house.last().upstream_reused);
    assert_eq!(house.fetch(MICKY).await, "0");
    let second = house.last();
    assert!(second.upstream_reused);
    assert_eq!((second.dial_us, second.upstream_handshake_us), (None, None));
    assert_eq!(house.accepted(), 1);
    assert_eq!(house.stats.totals().0.upstreams_reused, 1);
}

#[tokio::test]
async fn clients_at_the_same_time_have_a_connection_each() {
    let house = House::new().await;
    let (mut one, mut other) = (house.visit(MICKY).await, house.visit(MICKY).await);
    assert_eq!(one.ask("GET", "").await, "0");
    assert_eq!(other.ask("GET", "").await, "1");
    one.leave().await;
    other.leave().await;
    assert_eq!(house.accepted(), 2);
}

#[tokio::test]
async fn a_connection_is_never_another_sandboxs_or_another_users() {
    let house = House::new().await;
    assert_eq!(house.fetch(MICKY).await, "0");
    assert_eq!(house.fetch(MINNIE).await, "1");
    let mut visit = house.visit_as(MICKY, 1001).await;
    assert_eq!(visit.ask("GET", "").await, "2");
    visit.leave().await;
    assert_eq!(house.fetch(MICKY).await, "0");
    assert_eq!(house.fetch(MINNIE).await, "1");
}

#[tokio::test]
async fn a_reload_ends_idle_connections_and_keeps_those_of_before_from_others() {
    let house = House::new().await;
    assert_eq!(house.fetch(MICKY).await, "0");
    let mut long = house.visit(MICKY).await;
    assert_eq!(long.ask("GET", "").await, "0");
    house.reload();
    assert_eq!(long.ask("GET", "").await, "0");
    long.leave().await;
    assert_eq!(house.fetch(MICKY).await, "1");
    house.reload();
    assert_eq!(house.fetch(MICKY).await, "2");
}

#[tokio::test]
async fn a_connection_to_a_server_that_is_not_trusted_any_more_is_closed_and_others_stay() {
    let house = House::new().await;
    let path = house.folder.path().join("root.pem");
    let (root, other) = (std::fs::read_to_string(path).unwrap(), certificates().0);
    let secret = format!("X-Token: {PLACEHOLDER}\r\n");
    let mut standing = house.visit(MICKY).await;
    assert_eq!(standing.ask("GET", &secret).await, "0");
    house.trust(&[&other, &root]);
    assert_eq!(standing.ask("GET", &secret).await, "0");

    house.trust(&[&other]);
    let asked = house.server.heads.lock().unwrap().len();
    let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n{secret}\r\n");
    let (head, body) = standing.send(&request).await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(body.contains("upstream_unverified"), "{body}");
    standing.serving.await.unwrap();
    assert_eq!(house.server.heads.lock().unwrap().len(), asked);
    let events = house.stats.events(&Selection::default());
    let last = events.last().unwrap();
    assert_eq!(last.reason, "upstream_unverified");
    let told = "is not the verified owner of api.example.com any more: the upstream's certificate";
    assert!(last.detail.contains(told), "{}", last.detail);
}

#[tokio::test]
async fn an_idle_connection_to_a_server_that_is_not_trusted_any_more_serves_nobody() {
    let house = House::new().await;
    assert_eq!(house.fetch(MICKY).await, "0");
    let sandbox = house.engine.sandbox_of(MICKY);
    assert_eq!(sandbox.idle.count(|_| true), 1);
    house.trust(&[&certificates().0]);
    assert_eq!(sandbox.idle.count(|_| true), 0);
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_not_used() {
    let house = House::new().await;
    assert_eq!(house.fetch(MICKY).await, "0");
    house.server.close().await;
    assert_eq!(house.fetch(MICKY).await, "1");
    assert!(!house.last().upstream_reused);
}

#[tokio::test]
async fn a_connection_that_closes_between_handshake_and_request_is_replaced_unnoticed() {
    let house = House::new().await;
    assert_eq!(house.fetch(MICKY).await, "0");
    for (method, number) in [("GET", "1"), ("POST", "2")] {
        let mut visit = house.visit(MICKY).await;
        house.server.close().await;
        assert_eq!(visit.ask(method, "").await, number);
        visit.leave().await;
    }
}

#[tokio::test]
async fn what_an_earlier_client_wrote_is_still_known_on_the_connection() {
    let house = House::new().await;
    let mut visit = house.visit(MICKY).await;
    visit
        .ask("GET", &format!("X-Token: {PLACEHOLDER}\r\n"))
        .await;
    visit.leave().await;
    assert_eq!(house.last().rewrites["TOKEN"], 1);
    let sandbox = house.engine.sandbox_of(MICKY);
    assert_eq!(sandbox.idle.written(), 1);
    assert_eq!(house.fetch(MICKY).await, "0");
    assert_eq!(sandbox.idle.written(), 1);
}

#[tokio::test]
async fn another_daemon_goes_on_with_all_that_was_learned_in_parts_that_fit_a_packet() {
    let (house, other) = (House::new().await, House::new().await);
    let sandbox = house.engine.sandbox_of(MICKY);
    let long = |number: u16| -> Host {
        let label = "x".repeat(59);
        let name = format!("{label}.{label}.{label}.{label}.{number}.example");
        name.parse().unwrap()
    };
    for number in 0..300 {
        let address = Ipv4Addr::from_bits(0x0a00_0000 + u32::from(number));
        sandbox.names.remember(&long(number), &[address.into()]);
        sandbox.takeover.note(long(number));
    }
    for part in house.engine.memories() {
        let packet = serde_json::to_vec(&part).unwrap();
        assert!(packet.len() < 60_000, "{}", packet.len());
        other
            .engine
            .recall(serde_json::from_slice(&packet).unwrap());
    }
    let learned = other.engine.sandbox_of(MICKY);
    for number in 0..300 {
        let address = Ipv4Addr::from_bits(0x0a00_0000 + u32::from(number));
        assert_eq!(learned.names.names(address.into()), [long(number)]);
    }
    assert_eq!(learned.takeover.all(), sandbox.takeover.all());
    assert!(other.engine.sandbox_of(MINNIE).names.told().is_empty());
}

#[tokio::test]
async fn a_detached_sandbox_keeps_no_connection() {
    let house = House::new().await;
    assert_eq!(house.fetch(MICKY).await, "0");
    let sandbox = house.engine.sandbox_of(MICKY);
    let last = house.visit(MICKY).await;
    house.engine.dismiss(MICKY);
    assert_eq!(sandbox.idle.count(|_| true), 0);
    timeout(Duration::from_secs(10), last.serving)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(sandbox.idle.count(|_| true), 0);
}

#[tokio::test]
async fn a_redirect_is_the_clients_to_follow_and_authorises_nothing() {
    let house = House::new().await;
    let mut visit = house.visit(MICKY).await;
    let moved = format!("GET /moved HTTP/1.1\r\nHost: {NAME}\r\nX-Token: {PLACEHOLDER}\r\n\r\n");
    let (head, _) = visit.send(&moved).await;
    let told = format!("\r\nLocation: https://{OTHER}/\r\n");
    assert!(head.contains(&told), "{head}");
    assert!(house.server.last_head().contains(TOKEN));

    let follow = format!("GET / HTTP/1.1\r\nHost: {OTHER}\r\nX-Token: {PLACEHOLDER}\r\n\r\n");
    // On the same connection the name is another one; on one of its own it is not bound.
    let (head, body) = visit.send(&follow).await;
    assert!(head.starts_with("HTTP/1.1 421 "), "{head}{body}");
    let (stream, serving) = house.connect(MICKY, 1000, 443).await;
    let mut visit = Visit {
        stream: BufReader::new(house.secured(stream, OTHER).await),
        serving,
    };
    let (head, body) = visit.send(&follow).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}{body}");
    let sent = house.server.last_head();
    assert!(
        sent.contains(PLACEHOLDER) && !sent.contains(TOKEN),
        "{sent}"
    );
}

#[tokio::test]
async fn plain_tcp_never_carries_a_secret() {
    let house = House::new().await;
    let absolute = format!("GET http://{NAME}/ HTTP/1.1\r\nHost: {NAME}");
    let upgrade = format!(
        "GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: \
         13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    );
    let (stream, serving) = house.connect(MICKY, 1000, 80).await;
    let mut visit = Visit {
        stream: BufReader::new(stream),
        serving,
    };
    for start in [
        &format!("GET / HTTP/1.1\r\nHost: {NAME}"),
        &absolute,
        &upgrade,
    ] {
        let (head, _) = visit
            .send(&format!("{start}\r\nX-Token: {PLACEHOLDER}\r\n\r\n"))
            .await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let sent = house.server.last_head();
        assert!(
            sent.contains(PLACEHOLDER) && !sent.contains(TOKEN),
            "{sent}"
        );
    }
    visit.leave().await;
}
