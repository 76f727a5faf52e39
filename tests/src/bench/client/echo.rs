//! Round trips over a WebSocket, with frames made beforehand.

use std::time::Instant;

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{connection::Network, work::nanoseconds};
use crate::{
    bench::{
        order::{Answer, Order},
        server::ASKED,
    },
    gateway::frame::{TEXT, encode},
};

/// Length of a message, a usual one.
const LENGTH: usize = 128;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(super) async fn exchange(
    network: &mut Network,
    order: &Order,
    messages: u32,
) -> Result<Answer> {
    let mut stream = network.dial(&order.host, order.version).await?;
    upgrade(&mut stream, order).await?;
    let login = format!(r#"{{"op":2,"d":{{"token":"{}"}}}}"#, order.credential);
    // It comes back with the same credential: what went out as a secret is put back.
    round_trip(&mut stream, &login, 1).await?;
    let filling = "a".repeat(LENGTH - r#"{"op":100,"d":""}"#.len());
    let message = format!(r#"{{"op":100,"d":"{filling}"}}"#);
    let begun = Instant::now();
    let samples = round_trip(&mut stream, &message, messages).await?;
    Ok(Answer {
        samples,
        elapsed: nanoseconds(begun),
        ..Answer::default()
    })
}

async fn round_trip(
    stream: &mut TlsStream<TcpStream>,
    message: &str,
    times: u32,
) -> Result<Vec<u64>> {
    let frame = encode(true, TEXT, Some(MASK), message.as_bytes());
    let expected = encode(true, TEXT, None, message.as_bytes());
    let mut received = vec![0; expected.len()];
    let mut samples = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        stream.write_all(&frame).await?;
        stream.flush().await?;
        stream.read_exact(&mut received).await?;
        samples.push(nanoseconds(begun));
        ensure!(received == expected, "another message came back");
    }
    Ok(samples)
}

async fn upgrade(stream: &mut TlsStream<TcpStream>, order: &Order) -> Result<()> {
    let asked = serde_json::to_string(&order.work)?;
    let head = format!(
        "GET /?v=10&encoding=json HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{ASKED}: {asked}\r\n\r\n",
        order.host
    );
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    ensure!(
        answer.starts_with(b"HTTP/1.1 101 "),
        "the upgrade was refused"
    );
    Ok(())
}
