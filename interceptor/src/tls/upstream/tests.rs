use std::{fs, io, sync::Arc};

use rcgen::{CertificateParams, KeyPair};
use rustls::{AlertDescription, RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tls::{
    farewell,
    pem::encode,
    testing::{Root, connection, server, store},
};

const NAME: &str = "gateway.discord.gg";

fn connector(roots: RootCertStore) -> Connector {
    Connector::with_roots(roots).unwrap()
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
        let (mut stream, name) = connector.connect(client, &host, alpn).await?;
        stream.write_all(b"secret").await.unwrap();
        stream.shutdown().await.unwrap();
        Ok((stream.get_ref().1.alpn_protocol().map(Vec::from), name))
    };
    tokio::join!(dial, serve)
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
async fn session_is_resumed() {
    let root = Root::new();
    let connector = connector(store([root.certificate.clone()]));
    let config = root.server(NAME, |_| {});
    let host: Host = NAME.parse().unwrap();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let (client, stream) = connection().await;
        let acceptor = TlsAcceptor::from(config.clone());
        let serve = tokio::spawn(async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            stream.write_all(b"!").await.unwrap();
            stream.flush().await.unwrap();
            stream
        });
        let (mut stream, name) = connector.connect(client, &host, &[]).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'!');
        assert_eq!(name.host(), &host);
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        drop(serve.await);
    }
    assert_eq!(kinds[1], rustls::HandshakeKind::Resumed);
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
    let host = NAME.parse().unwrap();

    let (client, mut stream) = connection().await;
    let answer = async {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        stream
    };
    let (dialled, _open) = tokio::join!(connector.connect(client, &host, &[]), answer);
    let error = dialled.unwrap_err();
    assert!(matches!(error, UpstreamError::Protocol(_)), "{error:?}");

    let (client, stream) = connection().await;
    let alert = farewell::record(AlertDescription::UnrecognisedName);
    let (dialled, ()) = tokio::join!(
        connector.connect(client, &host, &[]),
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
    let error = connector.connect(client, &host, &[]).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Closed), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn upstream_that_stalls_ends_at_the_deadline() {
    let connector = connector(store([Root::new().certificate]));
    let (client, _silent) = duplex(64 * 1024);
    let host = NAME.parse().unwrap();
    let error = connector.connect(client, &host, &[]).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
}

#[tokio::test]
async fn configured_roots_are_trusted_besides_the_platforms() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("roots.pem");
    let roots = [Root::new(), Root::new()];
    let text: String = roots.iter().map(|root| encode(&root.certificate)).collect();
    fs::write(&path, text).unwrap();
    let connector = Connector::new(&[path]).unwrap();
    assert!(connector.roots >= 2);
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
        Connector::new(std::slice::from_ref(&path)),
        Err(RootsError::File { .. })
    ));
    fs::write(&path, "nothing in here").unwrap();
    assert!(matches!(
        Connector::new(std::slice::from_ref(&path)),
        Err(RootsError::File { .. })
    ));
    fs::write(&path, encode(&CertificateDer::from(vec![1, 2, 3]))).unwrap();
    assert!(matches!(
        Connector::new(std::slice::from_ref(&path)),
        Err(RootsError::Certificate { .. })
    ));
}
