//! Carries bytes both ways between two sockets, unread.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

use crate::stats::connection::{Connection, Direction};

/// What a direction starts with, and grows to once it fills that.
const SMALL: usize = 4 * 1024;
const LARGE: usize = 64 * 1024;

/// Relays until both directions have ended; the end of one is passed on as a half-close. An error of either side ends
/// both. There is no idle deadline: the sockets have TCP keepalive.
pub(super) async fn relay(
    client: &mut TcpStream,
    upstream: &mut TcpStream,
    stats: &Connection,
) -> io::Result<()> {
    let (client_read, client_write) = client.split();
    let (upstream_read, upstream_write) = upstream.split();
    tokio::try_join!(
        pump(
            client_read,
            upstream_write,
            stats,
            Direction::ClientToServer
        ),
        pump(
            upstream_read,
            client_write,
            stats,
            Direction::ServerToClient
        ),
    )?;
    Ok(())
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    stats: &Connection,
    direction: Direction,
) -> io::Result<()> {
    let mut buffer = vec![0; SMALL];
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return to.shutdown().await;
        };
        to.write_all(bytes).await?;
        stats.count_bytes(direction, read as u64);
        if read == buffer.len() && read < LARGE {
            buffer.resize(LARGE, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (far, _) = listener.accept().await.unwrap();
        (near, far)
    }

    #[tokio::test]
    async fn half_close_lets_the_other_direction_finish() {
        let (mut application, mut client) = pair().await;
        let (mut upstream, mut server) = pair().await;
        let relay = tokio::spawn(async move {
            let stats = Connection::default();
            let result = relay(&mut client, &mut upstream, &stats).await;
            (
                result.is_ok(),
                stats.bytes(Direction::ClientToServer),
                stats.bytes(Direction::ServerToClient),
            )
        });
        application.write_all(b"question").await.unwrap();
        application.shutdown().await.unwrap();
        let mut question = Vec::new();
        server.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        let answer = vec![7; 300_000];
        server.write_all(&answer).await.unwrap();
        drop(server);
        let mut got = Vec::new();
        application.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, answer);
        assert_eq!(relay.await.unwrap(), (true, 8, 300_000));
    }
}
