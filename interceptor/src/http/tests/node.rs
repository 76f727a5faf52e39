//! Real peers: Node's HTTP client and server, with a relay between them.

use std::{net::Ipv4Addr, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use super::peer::exchange;
use crate::{http::relay, policy::Judgement};

/// A server and the port that it listens on.
async fn serve() -> (Child, u16) {
    let mut server = Command::new("node")
        .args(["-e", include_str!("node/server.js")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is installed");
    let output = BufReader::new(server.stdout.take().unwrap());
    let port = output.lines().next_line().await.unwrap().unwrap();
    (server, port.parse().unwrap())
}

#[tokio::test]
async fn node_to_node_is_as_without_a_relay() {
    let (_server, upstream) = serve().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut client = Command::new("node")
        .args(["-e", include_str!("node/client.js")])
        .env("RELAY_PORT", port.to_string())
        .kill_on_drop(true)
        .spawn()
        .expect("node is installed");
    let relays = async {
        loop {
            let (accepted, _) = listener.accept().await.unwrap();
            let dialled = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream))
                .await
                .unwrap();
            tokio::spawn(async move {
                let (exchange, _shutdown) = exchange(Box::new(|_| Judgement::Allow));
                relay(accepted, dialled, (), exchange).await
            });
        }
    };
    let status = tokio::select! {
        status = client.wait() => status.unwrap(),
        () = relays => unreachable!("accepts for ever"),
    };
    assert!(status.success(), "the client's output says what failed");
}
