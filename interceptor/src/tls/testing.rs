//! Peers and certificates for this room's tests.

use std::{net::Ipv4Addr, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, crypto::CryptoProvider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};

use crate::tls::provider;

/// Two ends of a TCP connection over loopback.
pub(super) async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

/// A root that is not ours.
pub(super) struct Root {
    pub(super) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Root {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(
            DnType::CommonName,
            format!("root {:02x?}", params.key_identifier(&key)),
        );
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A server with a certificate for `name`, after `change`.
    pub(super) fn server(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        server(certificate.der().clone(), &key)
    }
}

pub(super) fn server(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}

pub(super) fn store(roots: impl IntoIterator<Item = CertificateDer<'static>>) -> RootCertStore {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).unwrap();
    }
    store
}

pub(super) fn client(roots: impl IntoIterator<Item = CertificateDer<'static>>) -> ClientConfig {
    client_of(provider(), roots)
}

pub(super) fn client_of(
    provider: Arc<CryptoProvider>,
    roots: impl IntoIterator<Item = CertificateDer<'static>>,
) -> ClientConfig {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store(roots))
        .with_no_client_auth()
}

/// The bytes that a rustls client would send first.
pub(super) fn first_flight(config: ClientConfig, name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

pub(super) fn client_hello(name: &str) -> Vec<u8> {
    first_flight(client([]), name)
}

/// The same handshake bytes in records of at most `size` bytes.
pub(super) fn in_records_of(size: usize, record: &[u8]) -> Vec<u8> {
    record[5..]
        .chunks(size)
        .flat_map(|fragment| {
            let length = u16::try_from(fragment.len()).unwrap().to_be_bytes();
            [&[22, 3, 1], &length[..], fragment].concat()
        })
        .collect()
}

/// A ClientHello whose extensions, but for those that rustls cannot do without, are `extensions` as written.
pub(super) fn crafted_hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    let needed: [(u16, &[u8]); 4] = [
        (13, &[0, 2, 4, 3]),    // signature_algorithms: ecdsa_secp256r1_sha256
        (10, &[0, 2, 0, 0x1d]), // supported_groups: x25519
        (43, &[2, 3, 4]),       // supported_versions: TLS 1.3
        (51, &[0, 0]),          // key_share: none
    ];
    for (kind, body) in needed.iter().chain(extensions) {
        block.extend(kind.to_be_bytes());
        block.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        block.extend(*body);
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0x13, 0x01]);
    body.extend([1, 0]);
    body.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    body.extend(block);

    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    in_records_of(16 * 1024, &[&[0; 5][..], &message].concat())
}

/// The body of a `server_name` extension.
pub(super) fn server_name(name: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap();
    [
        &(length + 3).to_be_bytes()[..],
        &[0],
        &length.to_be_bytes(),
        name,
    ]
    .concat()
}
