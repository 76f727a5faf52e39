use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use crate::say;

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Datagram {
    address: SocketAddr,
}

/// Once from a connected socket, once from an unconnected one.
pub(crate) fn send(arguments: &Datagram) -> Result<()> {
    let connected = bound(arguments.address)?;
    let result = connected
        .connect(arguments.address)
        .and_then(|()| connected.send(b"not DNS"));
    report("connected", &result);
    let result = bound(arguments.address)?.send_to(b"not DNS", arguments.address);
    report("unconnected", &result);
    Ok(())
}

fn report(socket: &str, result: &io::Result<usize>) {
    match result {
        Ok(_) => say(&json!({"event": "sent", "socket": socket})),
        Err(error) => say(&json!({
            "event": "refused",
            "socket": socket,
            "errno": error.raw_os_error(),
        })),
    }
}

fn bound(towards: SocketAddr) -> Result<UdpSocket> {
    let any: SocketAddr = if towards.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

#[derive(Debug, Args)]
pub(crate) struct Dns {
    server: SocketAddr,
    name: String,
    /// AAAA instead of A.
    #[arg(long)]
    aaaa: bool,
    /// The number of another type of records.
    #[arg(long, conflicts_with = "aaaa")]
    kind: Option<u16>,
    #[arg(long)]
    tcp: bool,
    /// From an unconnected socket, whose answers have to come from the server's own address.
    #[arg(long, conflicts_with = "tcp")]
    unconnected: bool,
}

pub(crate) fn ask(arguments: &Dns) -> Result<()> {
    let kind = arguments
        .kind
        .unwrap_or(if arguments.aaaa { 28 } else { 1 });
    let query = query(&arguments.name, kind)?;
    let (answer, from) = if arguments.tcp {
        let mut stream = TcpStream::connect(arguments.server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&u16::try_from(query.len())?.to_be_bytes())?;
        stream.write_all(&query)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut answer)?;
        (answer, stream.peer_addr()?)
    } else {
        let socket = bound(arguments.server)?;
        if arguments.unconnected {
            socket.send_to(&query, arguments.server)?;
        } else {
            socket.connect(arguments.server)?;
            socket.send(&query)?;
        }
        let mut answer = vec![0; 65_535];
        let (length, from) = socket.recv_from(&mut answer)?;
        answer.truncate(length);
        (answer, from)
    };
    // RFC 1035 §4.1.1: the response code, and the number of answers.
    let code = answer.get(3).context("a short answer")? & 0x0f;
    let count = answer
        .get(6..8)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u16::from_be_bytes);
    say(&json!({"event": "answer", "code": code, "answers": count, "from": from.to_string()}));
    Ok(())
}

/// RFC 1035 §4.1: header and one question.
fn query(name: &str, kind: u16) -> Result<Vec<u8>> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len())?);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&1u16.to_be_bytes());
    Ok(bytes)
}
