use std::{fs, path::Path, process::Command};

use rustls::{ClientConfig, ProtocolVersion, client::Resumption, version};
use rustls_pki_types::{ServerName, pem::PemObject};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::*;
use crate::tls::{
    hello,
    pem::encode,
    testing::{client, store},
    tls_error,
};

fn authority(data: &Path) -> Arc<CertificateAuthority> {
    Arc::new(CertificateAuthority::load_or_create(data).unwrap())
}

fn leaves(data: &Path) -> Leaves {
    Leaves::new(authority(data)).unwrap()
}

fn root(leaves: &Leaves) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(leaves.authority.certificate_pem().as_bytes()).unwrap()
}

fn host(name: &str) -> Host {
    name.parse().unwrap()
}

/// A client that asks for `name`, and a server that answers for `host`; the client's stream after one byte of data.
async fn handshake(
    leaves: &Leaves,
    host: &Host,
    name: &str,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<tokio::io::DuplexStream>> {
    let (stream, server) = duplex(64 * 1024);
    let answers = leaves.server_config(host, Some(Protocol::Http1)).unwrap();
    let serve = tokio::spawn(async move {
        let mut stream = hello::read(server).await.unwrap().accept(answers).await?;
        stream.write_all(b"!").await.unwrap();
        stream.flush().await.unwrap();
        Ok::<_, hello::AcceptError>(stream)
    });
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(config).connect(name, stream).await?;
    assert_eq!(stream.read_u8().await?, b'!');
    drop(serve.await.unwrap());
    Ok(stream)
}

#[tokio::test]
async fn leaf_is_accepted_by_a_client_that_trusts_the_authority() {
    let data = TempDir::new().unwrap();
    let leaves = leaves(data.path());
    let long = format!("{}.{}.example", "a".repeat(63), "b".repeat(63));
    for name in ["gateway.discord.gg", "single", "under_score.example", &long] {
        for version in [&version::TLS12, &version::TLS13] {
            let mut config = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(store([root(&leaves)]))
                .with_no_client_auth();
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            let stream = handshake(&leaves, &host(name), name, Arc::new(config))
                .await
                .unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(version.version), "{name}");
            assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]), "{name}");
        }
    }
}

#[tokio::test]
async fn a_client_is_answered_with_what_was_agreed_on_for_it() {
    let data = TempDir::new().unwrap();
    let leaves = leaves(data.path());
    let name = host("api.example");
    for chosen in [None, Some(Protocol::Http1), Some(Protocol::Http2)] {
        let answers = leaves.server_config(&name, chosen).unwrap();
        let (stream, server) = duplex(64 * 1024);
        let serve = async {
            let hello = hello::read(server).await.unwrap();
            let offered = [Protocol::Http2, Protocol::Http1];
            assert_eq!(hello.protocols().as_deref(), Some(&offered[..]));
            hello.accept(answers).await.unwrap()
        };
        let mut config = client([root(&leaves)]);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let to = ServerName::try_from("api.example").unwrap();
        let connect = TlsConnector::from(Arc::new(config)).connect(to, stream);
        let (connected, _served) = tokio::join!(connect, serve);
        let agreed = connected
            .unwrap()
            .get_ref()
            .1
            .alpn_protocol()
            .map(Vec::from);
        assert_eq!(agreed, chosen.map(|chosen| chosen.name().to_vec()));
    }
}

#[tokio::test]
async fn leaf_is_for_its_name_only() {
    let data = TempDir::new().unwrap();
    let leaves = leaves(data.path());
    for name in ["other.example", "sub.one.example", "example"] {
        let config = Arc::new(client([root(&leaves)]));
        let error = handshake(&leaves, &host("one.example"), name, config)
            .await
            .unwrap_err();
        let Some(rustls::Error::InvalidCertificate(reason)) = tls_error(&error) else {
            panic!("{name}: {error}");
        };
        assert!(
            matches!(
                reason,
                rustls::CertificateError::NotValidForNameContext { .. }
            ),
            "{name}: {reason:?}"
        );
    }
}

#[tokio::test]
async fn session_is_resumed_under_its_own_name_only() {
    for version in [&version::TLS12, &version::TLS13] {
        let data = TempDir::new().unwrap();
        let leaves = leaves(data.path());
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(store([root(&leaves)]))
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(16);
        let config = Arc::new(config);
        let one = host("one.example");
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let stream = handshake(&leaves, &one, "one.example", config.clone())
                .await
                .unwrap();
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        let resumed = [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed];
        assert_eq!(kinds, resumed, "{version:?}");

        // The ticket of one name, offered where another one answers: a full handshake, in which the certificate tells.
        let error = handshake(&leaves, &host("two.example"), "one.example", config)
            .await
            .unwrap_err();
        assert!(
            matches!(
                tls_error(&error),
                Some(rustls::Error::InvalidCertificate(_))
            ),
            "{error}"
        );
    }
}

#[test]
fn leaf_is_minted_once_and_again_before_it_expires() {
    let data = TempDir::new().unwrap();
    let leaves = leaves(data.path());
    let one = host("one.example");
    let now = OffsetDateTime::now_utc();
    let at = |days| {
        leaves
            .server_config_at(&one, None, now + Duration::days(days))
            .unwrap()
    };
    let first = at(0);
    assert!(Arc::ptr_eq(&first, &at(0)));
    assert!(Arc::ptr_eq(&first, &at(22)));
    assert!(!Arc::ptr_eq(&first, &at(23)));
}

#[test]
fn leaf_never_outlives_its_authority() {
    let data = TempDir::new().unwrap();
    let leaves = leaves(data.path());
    let end = leaves.authority.not_after();
    let one = host("one.example");
    let late = leaves.mint(&one, end - Duration::days(2)).unwrap();
    assert!(late.renew_at < end);
    let error = leaves.server_config_at(&one, None, end).unwrap_err();
    assert!(matches!(error, MintError::Expired), "{error:?}");
}

#[test]
fn cache_is_bounded() {
    let data = TempDir::new().unwrap();
    let leaves = leaves(data.path());
    for number in 0..CAPACITY * 2 {
        leaves
            .server_config(&host(&format!("host{number}.example")), None)
            .unwrap();
    }
    assert!(leaves.minted.len() <= CAPACITY, "{}", leaves.minted.len());
}

#[test]
fn leaves_differ_in_their_serial_numbers() {
    let serials: std::collections::HashSet<_> = (0..64)
        .map(|_| random_serial().unwrap().to_bytes())
        .collect();
    assert_eq!(serials.len(), 64);
    assert!(serials.iter().all(|serial| serial[0] < 0x80));
}

/// The chain that a client is sent.
async fn sent_chain(leaves: &Leaves, name: &str) -> Vec<CertificateDer<'static>> {
    let config = Arc::new(client([root(leaves)]));
    let stream = handshake(leaves, &host(name), name, config).await.unwrap();
    assert_eq!(
        stream.get_ref().1.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    stream.get_ref().1.peer_certificates().unwrap().to_vec()
}

#[tokio::test]
async fn chain_of_an_own_authority_is_the_leaf_alone() {
    let data = TempDir::new().unwrap();
    let chain = sent_chain(&leaves(data.path()), "one.example").await;
    assert_eq!(chain.len(), 1);
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    let now = OffsetDateTime::now_utc();
    assert!(leaf.validity().not_before.to_datetime() <= now - Duration::hours(23));
    assert!(leaf.validity().not_after.to_datetime() <= now + LIFETIME);
    assert!(!leaf.is_ca());
}

#[tokio::test]
async fn openssl_accepts_a_leaf_strictly() {
    let data = TempDir::new().unwrap();
    let leaves = leaves(data.path());
    let chain = sent_chain(&leaves, "gateway.discord.gg").await;
    let leaf = data.path().join("leaf.pem");
    fs::write(&leaf, encode(&chain[0])).unwrap();
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", "sslserver"])
        .args(["-verify_hostname", "gateway.discord.gg", "-CAfile"])
        .args([&data.path().join("ca.pem"), &leaf])
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{output:?}");
}
