use std::{fs, io, sync::Arc};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    AlertDescription, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tls::{
    farewell,
    identity::Identity,
    pem::encode,
    testing::{Root, connection, server, store},
};

const NAME: &str = "gateway.discord.gg";

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

fn connector(roots: RootCertStore) -> Connector {
    Connector::with_roots(roots, &[]).unwrap()
}

/// Connects to a server with `config` as if it were `NAME`. What the server read after the handshake comes back.
async fn connect(
    connector: &Connector,
    config: Arc<ServerConfig>,
    alpn: &[&[u8]],
) -> (
    Result<(Option<Vec<u8>>, VerifiedName), UpstreamError>,
    io::Result<Vec<u8>>,
) {
    let (client, stream) = connection().await;
    let serve = async {
        let mut stream = TlsAcceptor::from(config).accept(stream).await?;
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await?;
        Ok(read)
    };
    let host = NAME.parse().unwrap();
    let dial = async {
        let Verified {
            mut stream, name, ..
        } = connector
            .connect(client, &host, alpn, &Sessions::default())
            .await?;
        stream.write_all(b"secret").await.unwrap();
        stream.shutdown().await.unwrap();
        Ok((stream.get_ref().1.alpn_protocol().map(Vec::from), name))
    };
    tokio::join!(dial, serve)
}

/// Visits a server of that name once: what kind of handshake it took, and who the server takes the client for.
async fn visit(
    connector: &Connector,
    config: &Arc<ServerConfig>,
    sessions: &Sessions,
) -> Result<(HandshakeKind, Vec<CertificateDer<'static>>), UpstreamError> {
    let (client, stream) = connection().await;
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    let serve = async {
        let mut stream = acceptor.accept(stream).await?;
        // Its tickets come before.
        stream.write_all(b"!").await?;
        stream.flush().await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        Ok::<_, io::Error>(shown.to_vec())
    };
    let host = NAME.parse().unwrap();
    let dial = async {
        let verified = connector.connect(client, &host, &[], sessions).await?;
        let mut stream = verified.stream;
        assert_eq!(stream.read_u8().await.unwrap(), b'!');
        Ok::<_, UpstreamError>(stream.get_ref().1.handshake_kind().unwrap())
    };
    let (dialled, served) = tokio::join!(dial, serve);
    Ok((dialled?, served.unwrap()))
}

#[tokio::test]
async fn verified_upstream_has_its_name() {
    let root = Root::new();
    let connector = connector(store([root.certificate.clone()]));
    let (dialled, served) = connect(&connector, root.server(NAME, |_| {}), &[]).await;
    let (alpn, name) = dialled.unwrap();
    assert_eq!(name.host().as_str(), NAME);
    assert_eq!(alpn, None);
    assert_eq!(served.unwrap(), b"secret");
}

#[tokio::test]
async fn offered_protocol_is_agreed_upon() {
    let root = Root::new();
    let connector = connector(store([root.certificate.clone()]));
    let mut config = Arc::unwrap_or_clone(root.server(NAME, |_| {}));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    for offer in [&b"h2"[..], b"http/1.1"] {
        let (dialled, _) = connect(&connector, config.clone(), &[offer]).await;
        assert_eq!(dialled.unwrap().0.as_deref(), Some(offer));
    }
    let (dialled, _) = connect(&connector, config, &[b"spdy/1"]).await;
    let error = dialled.unwrap_err();
    assert!(
        matches!(
            error,
            UpstreamError::Alert(AlertDescription::NoApplicationProtocol)
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn sessions_are_resumed_within_one_sandbox_only() {
    let root = Root::new();
    let connector = connector(store([root.certificate.clone()]));
    for version in VERSIONS {
        let (config, _) = root.server_that_asks(NAME, version);
        let (one, other) = (Sessions::default(), Sessions::default());
        for (sessions, expected) in [
            (&one, HandshakeKind::Full),
            (&one, HandshakeKind::Resumed),
            (&other, HandshakeKind::Full),
            (&one, HandshakeKind::Resumed),
        ] {
            let (kind, _) = visit(&connector, &config, sessions).await.unwrap();
            assert_eq!(kind, expected, "{version:?}");
        }
    }
}

#[tokio::test]
async fn sessions_do_not_outlive_the_roots_by_which_they_were_verified() {
    let root = Root::new();
    let config = root.server(NAME, |_| {});
    let sessions = Sessions::default();
    for _ in 0..2 {
        let connector = connector(store([root.certificate.clone()]));
        let (kind, _) = visit(&connector, &config, &sessions).await.unwrap();
        assert_eq!(kind, HandshakeKind::Full);
    }
    let connector = connector(store([Root::new().certificate]));
    let refused = visit(&connector, &config, &sessions).await;
    refused.unwrap_err();
}

async fn proof(
    connector: &Connector,
    config: &Arc<ServerConfig>,
    sessions: &Sessions,
) -> Arc<Proof> {
    let (client, stream) = connection().await;
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    let host = NAME.parse().unwrap();
    let (dialled, served) = tokio::join!(
        connector.connect(client, &host, &[], sessions),
        acceptor.accept(stream)
    );
    served.unwrap();
    dialled.unwrap().proof
}

#[tokio::test]
async fn what_a_server_has_shown_holds_as_long_as_its_root_is_trusted() {
    let (root, other) = (Root::new(), Root::new());
    let both = connector(store([other.certificate.clone(), root.certificate.clone()]));
    let shown = proof(&both, &root.server(NAME, |_| {}), &Sessions::default()).await;
    both.verify(&shown).unwrap();
    let more = connector(store([root.certificate.clone(), Root::new().certificate]));
    more.verify(&shown).unwrap();
    let without = connector(store([other.certificate.clone()]));
    for _ in 0..2 {
        let error = without.verify(&shown).unwrap_err();
        assert!(matches!(error, UpstreamError::UnknownIssuer(_)), "{error}");
        assert!(error.is_certificate());
    }
    // Trusted again.
    connector(store([root.certificate])).verify(&shown).unwrap();
}

#[tokio::test]
async fn connections_to_one_server_share_what_it_has_shown() {
    let root = Root::new();
    let connector = connector(store([root.certificate.clone()]));
    let (one, another) = (root.server(NAME, |_| {}), root.server(NAME, |_| {}));
    let sessions = Sessions::default();
    let first = proof(&connector, &one, &sessions).await;
    assert!(Arc::ptr_eq(
        &first,
        &proof(&connector, &one, &sessions).await
    ));
    let other = proof(&connector, &another, &sessions).await;
    assert!(!Arc::ptr_eq(&first, &other));
    let elsewhere = proof(&connector, &one, &Sessions::default()).await;
    assert!(!Arc::ptr_eq(&first, &elsewhere));
}

#[tokio::test]
async fn a_certificate_that_expires_while_its_connection_stands_ends_nothing() {
    let root = Root::new();
    let (certificate, _) = root.certify(NAME, |params| {
        params.not_before = OffsetDateTime::now_utc() - Duration::days(9);
        params.not_after = OffsetDateTime::now_utc() - Duration::days(3);
    });
    let connector = connector(store([root.certificate]));
    let shown = |days| {
        let time = OffsetDateTime::now_utc() - Duration::days(days);
        let since = u64::try_from(time.unix_timestamp()).unwrap();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(since));
        Proof::of(NAME.try_into().unwrap(), vec![certificate.clone()], at)
    };
    connector.verify(&shown(6)).unwrap();
    let error = connector.verify(&shown(1)).unwrap_err();
    assert!(matches!(error, UpstreamError::Expired(_)), "{error}");
}

#[tokio::test]
async fn sessions_outlive_a_reload_that_changes_no_root() {
    let root = Root::new();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("root.pem");
    fs::write(&path, encode(&root.certificate)).unwrap();
    let files = [path.clone()];
    let config = root.server(NAME, |_| {});
    let sessions = Sessions::default();
    let first = Connector::new(&files, &[]).unwrap();
    visit(&first, &config, &sessions).await.unwrap();
    let second = first.renew(&files, &[]).unwrap();
    assert!(second.trusts_as(&first));
    let (kind, _) = visit(&second, &config, &sessions).await.unwrap();
    assert_eq!(kind, HandshakeKind::Resumed);
    // The same file with more in it.
    let more = encode(&root.certificate) + &encode(&Root::new().certificate);
    fs::write(&path, more).unwrap();
    let third = second.renew(&files, &[]).unwrap();
    assert!(!third.trusts_as(&second));
    let (kind, _) = visit(&third, &config, &sessions).await.unwrap();
    assert_eq!(kind, HandshakeKind::Full);
}

/// A certificate for clients by `root`, for `hosts`.
fn certificate(root: &Root, hosts: &str) -> ClientCertificate {
    let (chain, key) = root.client();
    ClientCertificate {
        hosts: vec![hosts.parse().unwrap()],
        identity: Identity::read(chain.as_bytes(), key.as_bytes()).unwrap(),
    }
}

#[tokio::test]
async fn a_certificate_is_shown_to_the_hosts_that_it_is_for_also_when_a_session_is_resumed() {
    let root = Root::new();
    let named = certificate(&root, NAME);
    let roots = store([root.certificate.clone()]);
    let connector = Connector::with_roots(roots, std::slice::from_ref(&named)).unwrap();
    for version in VERSIONS {
        let (config, _) = root.server_that_asks(NAME, version);
        let sessions = Sessions::default();
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (kind, seen) = visit(&connector, &config, &sessions).await.unwrap();
            assert_eq!(kind, expected, "{version:?}");
            assert_eq!(seen, named.identity.chain(), "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_is_shown_to_no_other_host() {
    let root = Root::new();
    let roots = store([root.certificate.clone()]);
    let other = certificate(&root, "*.other.example");
    let connector = Connector::with_roots(roots, &[other]).unwrap();
    for version in VERSIONS {
        let (config, _) = root.server_that_asks(NAME, version);
        let (_, seen) = visit(&connector, &config, &Sessions::default())
            .await
            .unwrap();
        assert!(seen.is_empty(), "{version:?}");
    }
}

#[tokio::test]
async fn a_certificate_is_shown_to_nobody_who_is_not_verified() {
    let root = Root::new();
    let named = certificate(&root, NAME);
    let roots = store([root.certificate.clone()]);
    let connector = Connector::with_roots(roots, &[named]).unwrap();
    for version in VERSIONS {
        for (config, asking) in [
            Root::new().server_that_asks(NAME, version),
            root.server_that_asks("evil.example", version),
        ] {
            let refused = visit(&connector, &config, &Sessions::default()).await;
            refused.unwrap_err();
            assert!(!asking.was_shown(), "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_session_is_resumed_only_as_the_client_that_began_it() {
    let root = Root::new();
    let (config, _) = root.server_that_asks(NAME, &rustls::version::TLS13);
    let sessions = Sessions::default();
    for _ in 0..2 {
        let named = certificate(&root, NAME);
        let roots = store([root.certificate.clone()]);
        let connector = Connector::with_roots(roots, std::slice::from_ref(&named)).unwrap();
        let (kind, seen) = visit(&connector, &config, &sessions).await.unwrap();
        assert_eq!(kind, HandshakeKind::Full);
        assert_eq!(seen, named.identity.chain());
    }
}

fn self_signed() -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([NAME.to_owned()]).unwrap();
    server(params.self_signed(&key).unwrap().der().clone(), &key)
}

#[tokio::test]
async fn upstream_that_is_not_who_it_should_be_is_refused_and_gets_no_byte() {
    type Expected = fn(&UpstreamError) -> bool;
    let root = Root::new();
    let now = OffsetDateTime::now_utc();
    let cases: [(&str, Arc<ServerConfig>, Expected); 6] = [
        (
            "expired",
            root.server(NAME, |params| params.not_after = now - Duration::hours(1)),
            |error| matches!(error, UpstreamError::Expired(_)),
        ),
        (
            "not valid yet",
            root.server(NAME, |params| params.not_before = now + Duration::hours(1)),
            |error| matches!(error, UpstreamError::NotYetValid(_)),
        ),
        ("other name", root.server("evil.example", |_| {}), |error| {
            matches!(error, UpstreamError::WrongName(_))
        }),
        (
            "parent's name",
            root.server("discord.gg", |_| {}),
            |error| matches!(error, UpstreamError::WrongName(_)),
        ),
        ("unknown CA", Root::new().server(NAME, |_| {}), |error| {
            matches!(error, UpstreamError::UnknownIssuer(_))
        }),
        ("self-signed", self_signed(), |error| {
            matches!(error, UpstreamError::UnknownIssuer(_))
        }),
    ];
    let connector = connector(store([root.certificate.clone()]));
    for (case, config, expected) in cases {
        let (dialled, served) = connect(&connector, config, &[]).await;
        let error = dialled.unwrap_err();
        assert!(expected(&error), "{case}: {error:?}");
        served.expect_err(case);
    }
}

#[tokio::test]
async fn upstream_that_speaks_no_tls_is_told_apart() {
    let connector = connector(store([Root::new().certificate]));
    let sessions = Sessions::default();
    let host = NAME.parse().unwrap();

    let (client, mut stream) = connection().await;
    let answer = async {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        stream
    };
    let (dialled, _open) = tokio::join!(connector.connect(client, &host, &[], &sessions), answer);
    let error = dialled.unwrap_err();
    assert!(matches!(error, UpstreamError::Protocol(_)), "{error:?}");

    let (client, stream) = connection().await;
    let alert = farewell::record(AlertDescription::UnrecognisedName);
    let (dialled, ()) = tokio::join!(
        connector.connect(client, &host, &[], &sessions),
        farewell::say(stream, &alert)
    );
    let error = dialled.unwrap_err();
    assert!(
        matches!(
            error,
            UpstreamError::Alert(AlertDescription::UnrecognisedName)
        ),
        "{error:?}"
    );

    let (client, stream) = connection().await;
    drop(stream);
    let error = connector
        .connect(client, &host, &[], &sessions)
        .await
        .unwrap_err();
    assert!(matches!(error, UpstreamError::Closed), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn upstream_that_stalls_ends_at_the_deadline() {
    let connector = connector(store([Root::new().certificate]));
    let (client, _silent) = duplex(64 * 1024);
    let sessions = Sessions::default();
    let host = NAME.parse().unwrap();
    let error = connector
        .connect(client, &host, &[], &sessions)
        .await
        .unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
}

#[tokio::test]
async fn configured_roots_are_trusted_besides_the_platforms() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("roots.pem");
    let roots = [Root::new(), Root::new()];
    let text: String = roots.iter().map(|root| encode(&root.certificate)).collect();
    fs::write(&path, text).unwrap();
    let connector = Connector::new(&[path], &[]).unwrap();
    assert!(connector.roots.len() >= 2);
    for root in &roots {
        let (dialled, _) = connect(&connector, root.server(NAME, |_| {}), &[]).await;
        dialled.unwrap();
    }
}

#[test]
fn unreadable_roots_are_errors() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("roots.pem");
    assert!(matches!(
        Connector::new(std::slice::from_ref(&path), &[]),
        Err(RootsError::File { .. })
    ));
    fs::write(&path, "nothing in here").unwrap();
    assert!(matches!(
        Connector::new(std::slice::from_ref(&path), &[]),
        Err(RootsError::File { .. })
    ));
    fs::write(&path, encode(&CertificateDer::from(vec![1, 2, 3]))).unwrap();
    assert!(matches!(
        Connector::new(std::slice::from_ref(&path), &[]),
        Err(RootsError::Certificate { .. })
    ));
}
