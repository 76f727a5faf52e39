//! Peers and certificates for this room's tests.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName as RootName,
    RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::{TcpListener, TcpStream};

use crate::tls::{pem::encode, provider};

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
        let (certificate, key) = self.certify(name, change);
        server(certificate, &key)
    }

    /// A certificate for `name`, after `change`, and its key.
    pub(super) fn certify(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key)
    }

    /// A server for `name` that speaks one version only, and asks clients for a certificate. It takes any or none, and
    /// tells the one that it was shown.
    pub(super) fn server_that_asks(
        &self,
        name: &str,
        version: &'static SupportedProtocolVersion,
    ) -> (Arc<ServerConfig>, Arc<Asking>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let asking = Arc::new(Asking::default());
        let verifier: Arc<dyn ClientCertVerifier> = Arc::<Asking>::clone(&asking);
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        (Arc::new(config), asking)
    }

    /// A certificate for a client and its key, in PEM form.
    pub(super) fn client(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["client.example".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (encode(certificate.der()), key.serialize_pem())
    }
}

/// Takes every client, and notes whether one has shown a certificate.
#[derive(Debug, Default)]
pub(super) struct Asking {
    shown: AtomicBool,
}

impl Asking {
    pub(super) fn was_shown(&self) -> bool {
        self.shown.load(Relaxed)
    }
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[RootName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.shown.store(true, Relaxed);
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
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
