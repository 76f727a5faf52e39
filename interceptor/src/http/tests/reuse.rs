//! Connections to the server that serve several clients, one after the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::peer::{HOST, SECRET, TOKEN, exchange};
use crate::{
    http::{End, HttpError, Supply, relay},
    policy::Judgement,
    stats::connection::{Connection, Remark},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const ROOM: usize = 64 * 1024;

fn request(method: &str, fields: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")
}

fn get() -> String {
    request("GET", "")
}

/// Has connections to give, and takes one back.
struct Store {
    idled: Option<Duration>,
    fresh: mpsc::UnboundedReceiver<DuplexStream>,
    back: mpsc::UnboundedSender<DuplexStream>,
    renewed: Arc<AtomicU32>,
}

impl Supply<DuplexStream> for Store {
    fn idled(&self) -> Option<Duration> {
        self.idled
    }

    async fn renew(&mut self) -> Option<DuplexStream> {
        self.renewed.fetch_add(1, Relaxed);
        self.fresh.try_recv().ok()
    }

    fn give_back(&mut self, upstream: DuplexStream) {
        self.back.send(upstream).unwrap();
    }
}

struct Stage {
    client: DuplexStream,
    /// The connection that the relay begins with.
    server: DuplexStream,
    /// The one that it gets instead.
    other: DuplexStream,
    back: mpsc::UnboundedReceiver<DuplexStream>,
    renewed: Arc<AtomicU32>,
    stats: Arc<Connection>,
    _shutdown: watch::Sender<bool>,
    relay: JoinHandle<Result<End, HttpError>>,
}

impl Stage {
    fn new(idled: Option<Duration>) -> Self {
        let (exchange, shutdown) = exchange(Box::new(|_| Judgement::Allow));
        let (client, client_end) = duplex(ROOM);
        let (server_end, server) = duplex(ROOM);
        let (other_end, other) = duplex(ROOM);
        let (give, fresh) = mpsc::unbounded_channel();
        give.send(other_end).unwrap();
        let (give_back, back) = mpsc::unbounded_channel();
        let renewed = Arc::default();
        let store = Store {
            idled,
            fresh,
            back: give_back,
            renewed: Arc::clone(&renewed),
        };
        Self {
            client,
            server,
            other,
            back,
            renewed,
            stats: Arc::clone(&exchange.stats),
            _shutdown: shutdown,
            relay: tokio::spawn(relay(client_end, server_end, store, exchange)),
        }
    }

    fn new_connection() -> Self {
        Self::new(None)
    }

    fn idled_for(seconds: u64) -> Self {
        Self::new(Some(Duration::from_secs(seconds)))
    }

    async fn ask(&mut self, bytes: &str) {
        self.client.write_all(bytes.as_bytes()).await.unwrap();
    }

    async fn client_gets(&mut self, expected: &str) {
        gets(&mut self.client, expected).await;
    }

    /// The client ends; the connection that was given back, if one was.
    async fn given_back(mut self) -> Option<DuplexStream> {
        self.client.shutdown().await.unwrap();
        drop(self.client);
        drop(self.relay.await.unwrap());
        self.back.recv().await
    }
}

async fn gets(stream: &mut DuplexStream, expected: &str) {
    let mut got = vec![0; expected.len()];
    let read = stream.read_exact(&mut got).await;
    assert_eq!(String::from_utf8_lossy(&got), expected);
    read.unwrap();
}

async fn sends(stream: &mut DuplexStream, bytes: &str) {
    stream.write_all(bytes.as_bytes()).await.unwrap();
}

/// The connection carries another exchange.
async fn is_of_use(mut given: DuplexStream, server: &mut DuplexStream) {
    sends(&mut given, "again").await;
    gets(server, "again").await;
}

#[tokio::test]
async fn a_connection_whose_answers_were_complete_is_given_back() {
    let mut stage = Stage::new_connection();
    for _ in 0..2 {
        stage.ask(&get()).await;
        gets(&mut stage.server, &get()).await;
        sends(&mut stage.server, OK).await;
        stage.client_gets(OK).await;
    }
    let mut server = std::mem::replace(&mut stage.server, duplex(1).0);
    let given = stage.given_back().await.unwrap();
    is_of_use(given, &mut server).await;
}

#[tokio::test]
async fn what_may_follow_on_a_connection_keeps_it_from_others() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let old = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
    let more = format!("{OK}HTTP/1.1 200 OK\r\n");
    let close_it = request("GET", "Connection: close\r\n");
    let negotiate = request("GET", "Authorization: Negotiate YII=\r\n");
    let ntlm = request("GET", "authorization: ntlm TlRM\r\n");
    for (request, response, kept) in [
        (get().as_str(), OK, true),
        (&get(), chunked, true),
        (&get(), close, false),
        (&get(), old, false),
        (&get(), &more, false),
        (&close_it, OK, false),
        (&negotiate, OK, false),
        (&ntlm, OK, false),
    ] {
        let mut stage = Stage::new_connection();
        stage.ask(request).await;
        gets(&mut stage.server, request).await;
        sends(&mut stage.server, response).await;
        let first = response.split_inclusive("ok").next().unwrap();
        stage.client_gets(first).await;
        // What was sent too much has arrived by then.
        tokio::task::yield_now().await;
        assert_eq!(
            stage.given_back().await.is_some(),
            kept,
            "{request:?} {response:?}"
        );
    }
}

#[tokio::test]
async fn a_connection_without_an_answer_or_with_half_of_one_is_not_given_back() {
    for (request, response) in [
        ("", ""),
        ("GET", ""),
        (get().as_str(), ""),
        (&get(), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"),
    ] {
        let mut stage = Stage::new_connection();
        stage.ask(request).await;
        sends(&mut stage.server, response).await;
        stage.client_gets(response).await;
        drop(std::mem::replace(&mut stage.server, duplex(1).0));
        assert!(
            stage.given_back().await.is_none(),
            "{request:?} {response:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_came_before_the_request_was_whole_keeps_the_connection_from_others() {
    let mut stage = Stage::new_connection();
    let head = request("POST", "Content-Length: 5\r\n");
    stage.ask(&head).await;
    gets(&mut stage.server, &head).await;
    sends(&mut stage.server, OK).await;
    stage.client_gets(OK).await;
    stage.ask("abcde").await;
    assert!(stage.given_back().await.is_none());
}

#[tokio::test]
async fn a_server_that_was_told_of_the_clients_end_serves_no_other() {
    let mut stage = Stage::new_connection();
    stage.ask(&get()).await;
    stage.client.shutdown().await.unwrap();
    gets(&mut stage.server, &get()).await;
    // The end is passed on before the answer.
    assert_eq!(stage.server.read(&mut [0]).await.unwrap(), 0);
    sends(&mut stage.server, OK).await;
    stage.client_gets(OK).await;
    assert!(stage.given_back().await.is_none());
}

#[tokio::test]
async fn a_request_on_a_reused_connection_that_had_ended_is_sent_again_once() {
    let mut stage = Stage::idled_for(20);
    let asked = request("GET", &format!("X-Api-Key: {TOKEN}\r\n"));
    let expected = asked.replace(TOKEN, SECRET);
    // It goes out, and with what follows it, before the end of the server is known.
    stage.ask(&format!("{asked}{asked}")).await;
    gets(&mut stage.server, &expected).await;
    drop(std::mem::replace(&mut stage.server, duplex(1).0));
    for _ in 0..2 {
        gets(&mut stage.other, &expected).await;
        sends(&mut stage.other, OK).await;
        stage.client_gets(OK).await;
    }
    assert_eq!(stage.renewed.load(Relaxed), 1);
    assert!(stage.stats.facts().remarks.contains(&Remark::Renewed));
    let mut other = std::mem::replace(&mut stage.other, duplex(1).0);
    let given = stage.given_back().await.unwrap();
    is_of_use(given, &mut other).await;
}

#[tokio::test]
async fn a_request_is_not_sent_a_third_time() {
    let mut stage = Stage::idled_for(20);
    stage.ask(&get()).await;
    gets(&mut stage.server, &get()).await;
    drop(std::mem::replace(&mut stage.server, duplex(1).0));
    gets(&mut stage.other, &get()).await;
    drop(std::mem::replace(&mut stage.other, duplex(1).0));
    assert_eq!(stage.client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(stage.renewed.load(Relaxed), 1);
}

#[tokio::test]
async fn nothing_is_sent_again_on_a_new_connection() {
    let mut stage = Stage::new_connection();
    stage.ask(&get()).await;
    gets(&mut stage.server, &get()).await;
    drop(std::mem::replace(&mut stage.server, duplex(1).0));
    assert_eq!(stage.client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(stage.renewed.load(Relaxed), 0);
}

#[tokio::test]
async fn nothing_is_sent_again_once_a_byte_of_the_answer_has_come() {
    let mut stage = Stage::idled_for(20);
    stage.ask(&get()).await;
    gets(&mut stage.server, &get()).await;
    sends(&mut stage.server, "H").await;
    drop(std::mem::replace(&mut stage.server, duplex(1).0));
    assert_eq!(stage.client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(stage.renewed.load(Relaxed), 0);
}

#[tokio::test]
async fn the_second_request_of_a_client_is_not_sent_again() {
    let mut stage = Stage::idled_for(0);
    stage.ask(&get()).await;
    gets(&mut stage.server, &get()).await;
    sends(&mut stage.server, OK).await;
    stage.client_gets(OK).await;
    stage.ask(&get()).await;
    gets(&mut stage.server, &get()).await;
    drop(std::mem::replace(&mut stage.server, duplex(1).0));
    assert_eq!(stage.client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(stage.renewed.load(Relaxed), 0);
}

#[tokio::test]
async fn what_cannot_be_sent_again_goes_on_a_connection_that_has_just_idled_or_a_new_one() {
    for request in [
        request("POST", "Content-Length: 0\r\n"),
        request("PUT", "Content-Length: 2\r\n") + "ab",
        request("PATCH", ""),
    ] {
        let mut stage = Stage::idled_for(5);
        stage.ask(&request).await;
        gets(&mut stage.other, &request).await;
        sends(&mut stage.other, OK).await;
        stage.client_gets(OK).await;

        let mut stage = Stage::idled_for(0);
        stage.ask(&request).await;
        gets(&mut stage.server, &request).await;
        drop(std::mem::replace(&mut stage.server, duplex(1).0));
        assert_eq!(stage.client.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(stage.renewed.load(Relaxed), 0, "{request}");
    }
}

#[tokio::test]
async fn a_reused_connection_that_ends_or_speaks_before_the_first_request_is_replaced() {
    for last in [
        "",
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
    ] {
        let mut stage = Stage::idled_for(0);
        stage.ask("GET / HT").await;
        sends(&mut stage.server, last).await;
        drop(std::mem::replace(&mut stage.server, duplex(1).0));
        tokio::task::yield_now().await;
        stage.ask(get().strip_prefix("GET / HT").unwrap()).await;
        gets(&mut stage.other, &get()).await;
        sends(&mut stage.other, OK).await;
        stage.client_gets(OK).await;
    }
}
