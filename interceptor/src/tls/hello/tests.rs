use std::time::Duration;

use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpStream,
    time::{Instant, sleep},
};
use tokio_rustls::TlsConnector;

use super::*;
use crate::tls::{
    provider,
    testing::{
        Root, client, client_hello, client_of, connection, crafted_hello, first_flight,
        in_records_of, server_name,
    },
};

const NAME: &str = "gateway.discord.gg";

/// Reads what a client has sent at once, and what the client is then told.
async fn read_bytes(bytes: &[u8]) -> (Result<Hello<DuplexStream>, HelloError>, Vec<u8>) {
    let (mut client, server) = duplex(256 * 1024);
    client.write_all(bytes).await.unwrap();
    let answer = tokio::spawn(async move {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.map(|_| answer)
    });
    match read(server).await {
        Ok(hello) => (Ok(hello), Vec::new()),
        Err(error) => (Err(error), answer.await.unwrap().unwrap()),
    }
}

fn sni(hello: &Hello<impl AsyncRead + AsyncWrite + Unpin>) -> Option<&str> {
    hello.sni().map(Host::as_str)
}

/// Whether the alert in `bytes` is the one complete record that was sent.
fn is_alert(bytes: &[u8], alert: AlertDescription) -> bool {
    matches!(bytes, [21, 3, _, 0, 2, 2, code] if *code == u8::from(alert))
}

#[tokio::test]
async fn hello_is_read_when_split_at_every_byte() {
    let bytes = client_hello(NAME);
    for at in 1..bytes.len() {
        let (mut client, server) = connection().await;
        client.set_nodelay(true).unwrap();
        let reading = tokio::spawn(read(server));
        client.write_all(&bytes[..at]).await.unwrap();
        tokio::task::yield_now().await;
        client.write_all(&bytes[at..]).await.unwrap();
        let hello = reading.await.unwrap().unwrap();
        assert_eq!(sni(&hello), Some(NAME), "split at {at}");
        assert_eq!(hello.into_tunnel().1, bytes, "split at {at}");
    }
}

#[tokio::test]
async fn hello_is_read_byte_by_byte() {
    let (mut client, server) = duplex(1);
    let bytes = client_hello(NAME);
    let sent = bytes.clone();
    tokio::spawn(async move { client.write_all(&sent).await.map(|()| client) });
    let hello = read(server).await.unwrap();
    assert_eq!(sni(&hello), Some(NAME));
    assert_eq!(hello.into_tunnel().1, bytes);
}

#[tokio::test]
async fn hello_is_read_from_records_of_every_size() {
    let bytes = client_hello(NAME);
    for size in 1..bytes.len() {
        let fragmented = in_records_of(size, &bytes);
        let (hello, _) = read_bytes(&fragmented).await;
        let hello = hello.unwrap();
        assert_eq!(sni(&hello), Some(NAME), "{size} bytes a record");
        assert_eq!(hello.into_tunnel().1, fragmented, "{size} bytes a record");
    }
}

#[tokio::test]
async fn hello_with_post_quantum_keys_is_larger_than_a_segment_and_read() {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![X25519MLKEM768, X25519];
    let bytes = first_flight(client_of(Arc::new(provider), []), NAME);
    assert!(bytes.len() > 1460, "{}", bytes.len());
    let (mut client, server) = connection().await;
    let reading = tokio::spawn(read(server));
    for segment in bytes.chunks(1460) {
        client.write_all(segment).await.unwrap();
        client.flush().await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(sni(&reading.await.unwrap().unwrap()), Some(NAME));
}

#[tokio::test]
async fn hello_of_almost_64_kib_is_read_and_a_larger_one_is_refused() {
    let padding = vec![0; 60_000];
    let name = server_name(NAME.as_bytes());
    let (hello, _) = read_bytes(&crafted_hello(&[(0, &name), (21, &padding)])).await;
    assert_eq!(sni(&hello.unwrap()), Some(NAME));

    // A length of 16 MiB is announced and sent, in whole records.
    let mut endless = vec![1, 0xff, 0xff, 0xff];
    endless.resize(80_000, 0);
    let (hello, alert) =
        read_bytes(&in_records_of(16_384, &[&[0; 5], &endless[..]].concat())).await;
    let error = hello.unwrap_err();
    assert!(
        matches!(error, HelloError::TooLarge | HelloError::Malformed(_)),
        "{error:?}"
    );
    assert!(!alert.is_empty());
}

#[tokio::test]
async fn hello_in_many_tiny_records_is_bounded() {
    // Six bytes of header and padding for each byte of the message: 64 KiB are used up before it is complete.
    let padding = vec![0; 20_000];
    let bytes = in_records_of(1, &crafted_hello(&[(21, &padding)])[..16_384]);
    assert!(bytes.len() > LIMIT);
    let (hello, _) = read_bytes(&bytes).await;
    let error = hello.unwrap_err();
    assert!(
        matches!(error, HelloError::TooLarge | HelloError::Malformed(_)),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn hello_that_is_trickled_ends_at_the_deadline() {
    let (mut client, server) = duplex(1024);
    let started = Instant::now();
    tokio::spawn(async move {
        for byte in client_hello(NAME) {
            if client.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
    let error = read(server).await.unwrap_err();
    assert!(matches!(error, HelloError::Timeout), "{error:?}");
    // The deadline, and for the goodbye 2 s at most.
    assert!(
        started.elapsed() <= Duration::from_secs(12),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn garbage_is_refused_at_its_first_byte() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x80\x2e\x01\x00\x02",
        b"\0",
        b"SSH-2.0-x",
    ] {
        let (hello, alert) = read_bytes(bytes).await;
        let error = hello.unwrap_err();
        assert!(
            matches!(error, HelloError::NotTls(first) if first == bytes[0]),
            "{error:?}"
        );
        assert!(is_alert(&alert, AlertDescription::DecodeError), "{alert:?}");
    }
}

#[tokio::test]
async fn handshake_records_without_a_hello_are_refused() {
    for bytes in [
        &[22, 3, 1, 0, 4, 2, 0, 0, 0][..],         // ServerHello
        &[22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0], // cut short inside
        &[22, 3, 1, 0, 0],                         // empty record
        &[22, 9, 9, 0, 1, 0],                      // no version
    ] {
        let (hello, alert) = read_bytes(bytes).await;
        let error = hello.unwrap_err();
        assert!(matches!(error, HelloError::Malformed(_)), "{error:?}");
        assert_eq!(alert.first(), Some(&21), "{bytes:?}");
    }
}

#[tokio::test]
async fn client_that_hangs_up_is_told_apart() {
    for length in [0, 3, 100] {
        let (mut client, server) = connection().await;
        client
            .write_all(&client_hello(NAME)[..length])
            .await
            .unwrap();
        drop(client);
        let error = read(server).await.unwrap_err();
        assert!(matches!(error, HelloError::Closed), "{error:?}");
    }
}

#[tokio::test]
async fn name_is_absent_only_without_the_extension() {
    let (hello, _) = read_bytes(&crafted_hello(&[])).await;
    assert_eq!(sni(&hello.unwrap()), None);

    for name in [
        "127.0.0.1",
        "::1",
        "127.1",
        "0x7f000001",
        "a b",
        "a..b",
        "-",
        "bücher.example",
    ] {
        let extension = server_name(name.as_bytes());
        let (hello, alert) = read_bytes(&crafted_hello(&[(0, &extension)])).await;
        let error = hello.expect_err(name);
        assert!(
            matches!(error, HelloError::ServerName(_) | HelloError::Malformed(_)),
            "{name}: {error:?}"
        );
        assert_eq!(alert.first(), Some(&21), "{name}");
    }
}

#[tokio::test]
async fn two_names_are_refused() {
    let one = server_name(b"good.example");
    let other = server_name(b"evil.example");
    let both_in_one = [
        &u16::try_from(one.len() + other.len() - 4)
            .unwrap()
            .to_be_bytes()[..],
        &one[2..],
        &other[2..],
    ]
    .concat();
    for extensions in [
        &[(0, &both_in_one[..])][..],
        &[(0, &one[..]), (0, &other[..])],
    ] {
        let (hello, _) = read_bytes(&crafted_hello(extensions)).await;
        assert!(matches!(hello.unwrap_err(), HelloError::Malformed(_)));
    }
}

#[tokio::test]
async fn name_is_lower_case_without_trailing_dot() {
    for name in ["GATEWAY.Discord.GG", "gateway.discord.gg."] {
        let extension = server_name(name.as_bytes());
        let (hello, _) = read_bytes(&crafted_hello(&[(0, &extension)])).await;
        assert_eq!(sni(&hello.unwrap()), Some(NAME), "{name}");
    }
}

#[tokio::test]
async fn encrypted_client_hello_is_noticed() {
    let (hello, _) = read_bytes(&client_hello(NAME)).await;
    assert!(!hello.unwrap().has_encrypted_client_hello());

    let grease = [
        0, 0, 1, 0, 1, 0x42, 0,
        32, // outer, HKDF-SHA256, AES-128-GCM, config id, enc of 32 bytes
    ];
    let grease = [&grease[..], &[5; 32], &[0, 16], &[6; 16]].concat();
    let name = server_name(NAME.as_bytes());
    let (hello, _) = read_bytes(&crafted_hello(&[(0, &name), (0xfe0d, &grease)])).await;
    let hello = hello.unwrap();
    assert!(hello.has_encrypted_client_hello());
    assert_eq!(sni(&hello), Some(NAME));
}

/// A rustls client that trusts `root`, dialling over TCP; its first message is "ping".
async fn dial(stream: TcpStream, root: &Root) -> io::Result<Vec<u8>> {
    let connector = TlsConnector::from(Arc::new(client([root.certificate.clone()])));
    let name = ServerName::try_from(NAME).unwrap();
    let mut stream = connector.connect(name, stream).await?;
    stream.write_all(b"ping").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn held_client_is_accepted_later() {
    let root = Root::new();
    let config = root.server(NAME, |_| {});
    let (stream, server) = connection().await;
    let serve = async {
        let hello = read(server).await.unwrap();
        sleep(Duration::from_millis(200)).await;
        let mut stream = hello.accept(config).await.unwrap();
        let mut message = [0; 4];
        stream.read_exact(&mut message).await.unwrap();
        stream.write_all(&message).await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let (answer, ()) = tokio::join!(dial(stream, &root), serve);
    assert_eq!(answer.unwrap(), b"ping");
}

#[tokio::test]
async fn bytes_after_the_hello_are_kept_for_a_tunnel_and_refused_otherwise() {
    let root = Root::new();
    // Of 16 KiB in one record, so that rustls is full before it has all that was read with it.
    let name = server_name(NAME.as_bytes());
    let hello = crafted_hello(&[(0, &name), (21, &vec![0; 16_384 - 150])]);
    assert!(
        (16_200..16_384 + 5).contains(&hello.len()),
        "{}",
        hello.len()
    );
    let mut bytes = hello.clone();
    bytes.resize(hello.len() + 3000, 0x55);

    let (mut client, server) = duplex(64 * 1024);
    client.write_all(&bytes).await.unwrap();
    let (mut stream, mut seen) = read(server).await.unwrap().into_tunnel();
    drop(client);
    stream.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, bytes);

    let (mut client, server) = duplex(64 * 1024);
    client.write_all(&bytes).await.unwrap();
    let config = root.server(NAME, |_| {});
    let error = read(server)
        .await
        .unwrap()
        .accept(config)
        .await
        .unwrap_err();
    assert!(matches!(error, AcceptError::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn denied_client_sees_the_alert() {
    let root = Root::new();
    for alert in [
        AlertDescription::AccessDenied,
        AlertDescription::UnrecognisedName,
        AlertDescription::InternalError,
    ] {
        let (stream, server) = connection().await;
        let serve = async { read(server).await.unwrap().deny(alert).await };
        let (answer, ()) = tokio::join!(dial(stream, &root), serve);
        let error = answer.unwrap_err();
        assert_eq!(
            tls_error(&error),
            Some(&rustls::Error::AlertReceived(alert)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn denied_client_sees_the_alert_when_it_has_sent_more() {
    let (mut client, server) = connection().await;
    let mut bytes = client_hello(NAME);
    bytes.resize(bytes.len() + 40_000, 0x17);
    client.write_all(&bytes).await.unwrap();
    let serve = async {
        let hello = read(server).await.unwrap();
        hello.deny(AlertDescription::AccessDenied).await;
    };
    let read_alert = async {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        drop(client);
        answer
    };
    let (answer, ()) = tokio::join!(read_alert, serve);
    assert!(is_alert(&answer, AlertDescription::AccessDenied));
}

#[tokio::test]
async fn client_that_does_not_trust_us_is_told_apart() {
    let config = Root::new().server(NAME, |_| {});
    let (stream, server) = connection().await;
    let serve = async { read(server).await.unwrap().accept(config).await };
    let other = Root::new();
    let (_, accepted) = tokio::join!(dial(stream, &other), serve);
    let error = accepted.unwrap_err();
    assert!(matches!(error, AcceptError::Untrusted(_)), "{error:?}");
}

#[tokio::test]
async fn client_without_a_common_protocol_is_told_apart() {
    let root = Root::new();
    let mut config = Arc::unwrap_or_clone(root.server(NAME, |_| {}));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut offers = client([root.certificate.clone()]);
    offers.alpn_protocols = vec![b"h2".to_vec()];
    let (stream, server) = connection().await;
    let dial = async {
        let connector = TlsConnector::from(Arc::new(offers));
        let name = ServerName::try_from(NAME).unwrap();
        connector.connect(name, stream).await.unwrap_err()
    };
    let serve = async {
        let hello = read(server).await.unwrap();
        hello.accept(Arc::new(config)).await.unwrap_err()
    };
    let (seen, error) = tokio::join!(dial, serve);
    assert_eq!(
        tls_error(&seen),
        Some(&rustls::Error::AlertReceived(
            AlertDescription::NoApplicationProtocol
        ))
    );
    assert!(matches!(error, AcceptError::Tls(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn client_that_stalls_after_its_hello_ends_at_the_deadline() {
    let root = Root::new();
    let (mut client, server) = duplex(64 * 1024);
    client.write_all(&client_hello(NAME)).await.unwrap();
    let hello = read(server).await.unwrap();
    let error = hello.accept(root.server(NAME, |_| {})).await.unwrap_err();
    assert!(matches!(error, AcceptError::Timeout), "{error:?}");
}

#[test]
fn provider_is_passed_and_never_installed() {
    drop(provider());
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}
