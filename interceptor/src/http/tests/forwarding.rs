//! What goes through goes through byte for byte.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::peer::Rig;
use crate::{
    http::{End, HttpError},
    policy::Judgement,
    stats::connection::Direction::{ClientToServer, ServerToClient},
};

const GET: &str = "GET /a?b=c HTTP/1.1\r\nhOsT: API.example.com.\r\nX-Z:1\r\nx-a:\t 2 \r\nX-Z: \r\nAccept: */*\r\n\r\n";
const OK: &str = "HTTP/1.1 200 \r\nx-LOWER: 1\r\nContent-Length:5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nhello";

#[tokio::test]
async fn order_case_and_white_space_of_fields_are_kept() {
    let mut rig = Rig::new();
    rig.pass(GET, OK).await;
    rig.pass(GET, OK).await;
    assert_eq!(rig.stats.messages(ClientToServer), 2);
    assert_eq!(rig.stats.messages(ServerToClient), 2);
    assert_eq!(rig.stats.bytes(ClientToServer), 2 * GET.len() as u64);
    assert_eq!(rig.stats.bytes(ServerToClient), 2 * OK.len() as u64);
    assert_eq!(rig.stats.facts().protocol, Some("http"));
    assert!(matches!(
        rig.end().await,
        Ok(End::ClientClosed | End::UpstreamClosed)
    ));
}

#[tokio::test]
async fn messages_arrive_the_same_when_split_at_every_byte() {
    let request = "POST /p HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n\
                   3;ext=\"a\"\r\nabc\r\n0\r\nX-T: 1\r\n\r\n";
    let response = "HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n\
                    HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 2\r\n\r\n";
    let mut rig = Rig::new();
    for split in 0..=request.len() {
        let (first, second) = request.split_at(split);
        rig.ask(first).await;
        tokio::task::yield_now().await;
        rig.ask(second).await;
        rig.server_gets(request).await;
        let (first, second) = response.split_at(split.min(response.len()));
        rig.answer(first).await;
        tokio::task::yield_now().await;
        rig.answer(second).await;
        rig.client_gets(response).await;
    }
}

#[tokio::test]
async fn bytes_that_were_read_before_come_first() {
    let (early, late) = GET.split_at(20);
    let mut rig = Rig::with(1024, Box::new(|_| Judgement::Allow), early.as_bytes());
    rig.ask(late).await;
    rig.server_gets(GET).await;
    rig.answer(OK).await;
    rig.client_gets(OK).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_sent_one_at_a_time() {
    let request = |n: u32, body: &str| {
        let length = body.len();
        format!(
            "POST /{n} HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let requests = [
        request(1, "GET / HTTP/1.1\r\n\r\n"),
        request(2, ""),
        request(3, "xyz"),
    ];
    let mut rig = Rig::new();
    rig.ask(requests.concat()).await;
    for (n, request) in requests.iter().enumerate() {
        rig.server_gets(request).await;
        let mut more = [0];
        let early = tokio::time::timeout(
            std::time::Duration::from_millis(20),
            rig.server.read(&mut more),
        );
        assert!(early.await.is_err(), "nothing before the response");
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}");
        rig.answer(&response).await;
        rig.client_gets(&response).await;
    }
}

#[tokio::test]
async fn empty_lines_before_a_request_are_dropped() {
    let mut rig = Rig::new();
    rig.ask("\r").await;
    tokio::task::yield_now().await;
    rig.ask("\n\r\n").await;
    tokio::task::yield_now().await;
    rig.ask(GET).await;
    rig.server_gets(GET).await;
}

#[tokio::test]
async fn responses_without_a_body_do_not_eat_the_next_one() {
    let mut rig = Rig::new();
    let head = GET.replace("GET", "HEAD");
    rig.pass(&head, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        .await;
    rig.pass(
        &head,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    rig.pass(GET, "HTTP/1.1 204 No Content\r\n\r\n").await;
    rig.pass(
        GET,
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n",
    )
    .await;
    rig.pass(GET, OK).await;
}

#[tokio::test]
async fn a_body_may_wait_for_100_continue_or_not() {
    let head = "PUT /f HTTP/1.1\r\nHost: api.example.com\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let mut rig = Rig::new();
    rig.pass(head, go_on).await;
    rig.pass("body", OK).await;

    rig.ask(head).await;
    rig.ask("body").await;
    rig.server_gets(format!("{head}body")).await;
    rig.answer(format!("{go_on}{OK}")).await;
    rig.client_gets(format!("{go_on}{OK}")).await;
    rig.pass(GET, OK).await;
}

#[tokio::test]
async fn an_expectation_that_fails_ends_the_connection_after_the_answer() {
    let head = "PUT /f HTTP/1.1\r\nHost: api.example.com\r\nExpect: 100-continue\r\nContent-Length: 60\r\n\r\n";
    let mut rig = Rig::new();
    rig.pass(
        head,
        "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    // What follows is the body to us, whatever the server makes of it: it must not be read as a request.
    let body = format!(
        "{:60}",
        "GET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    );
    rig.ask(format!("{body}{GET}")).await;
    rig.server_ends_with(&body).await;
    rig.client_ends_with("").await;
}

#[tokio::test]
async fn an_early_answer_does_not_cut_the_body_short() {
    let head = "POST /up HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 8\r\n\r\n";
    let mut rig = Rig::new();
    rig.ask(format!("{head}1234")).await;
    rig.server_gets(format!("{head}1234")).await;
    rig.answer(OK).await;
    rig.client_gets(OK).await;
    rig.ask("5678").await;
    rig.server_ends_with("5678").await;
    rig.client_ends_with("").await;
    assert!(matches!(rig.end().await, Ok(End::Closed)));
}

#[tokio::test]
async fn a_streamed_answer_flows_while_the_body_is_sent() {
    let head = "POST /chat HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
    let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut rig = Rig::new();
    rig.pass(head, start).await;
    for _ in 0..3 {
        rig.pass("4\r\nping\r\n", "4\r\npong\r\n").await;
    }
    rig.pass("0\r\n\r\n", "0\r\n\r\n").await;
    rig.pass(GET, OK).await;
}

#[tokio::test]
async fn an_answer_reaches_a_client_whose_body_the_server_stopped_reading() {
    let head = "POST /up HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 1000000\r\n\r\n";
    let response = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let mut rig = Rig::with(4096, Box::new(|_| Judgement::Allow), b"");
    rig.ask(head).await;
    rig.server_gets(head).await;
    rig.answer(response).await;
    let (gone, _) = tokio::io::duplex(1);
    rig.server = gone;
    // The client writes everything before it reads.
    let mut written = 0;
    while written < 1_000_000 && rig.client.write_all(&[b'x'; 1000]).await.is_ok() {
        written += 1000;
    }
    rig.client_ends_with(response).await;
}

#[tokio::test]
async fn connection_close_is_honoured_from_either_side() {
    let closing = GET.replace("Accept: */*", "Connection: Close");
    let mut rig = Rig::new();
    rig.pass(&closing, OK).await;
    rig.client_ends_with("").await;
    rig.server_ends_with("").await;
    assert!(matches!(rig.end().await, Ok(End::Closed)));

    let closing = OK.replace("x-LOWER: 1", "Connection: x, close");
    let mut rig = Rig::new();
    rig.pass(GET, &closing).await;
    rig.client_ends_with("").await;
    assert!(matches!(rig.end().await, Ok(End::Closed)));
}

#[tokio::test]
async fn http_1_0_closes_unless_both_keep_alive() {
    let request = "GET / HTTP/1.0\r\nHost: api.example.com\r\n\r\n";
    let keep = "GET / HTTP/1.0\r\nHost: api.example.com\r\nConnection: Keep-Alive\r\n\r\n";
    let response = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let kept = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok";
    for (request, response) in [(request, kept), (keep, response)] {
        let mut rig = Rig::new();
        rig.pass(request, response).await;
        rig.client_ends_with("").await;
    }
    let mut rig = Rig::new();
    rig.pass(keep, kept).await;
    rig.pass(keep, kept).await;
}

#[tokio::test]
async fn a_body_until_close_ends_with_the_close() {
    let mut rig = Rig::new();
    rig.pass(GET, "HTTP/1.1 200 OK\r\n\r\nsome").await;
    rig.answer(" more").await;
    rig.server.shutdown().await.unwrap();
    rig.client_ends_with(" more").await;
    assert!(matches!(rig.end().await, Ok(End::Closed)));
}

#[tokio::test]
async fn an_early_answer_until_close_ends_at_once() {
    let mut rig = Rig::new();
    rig.pass(
        "POST /up HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 8\r\n\r\n1234",
        "HTTP/1.0 400 Bad Request\r\n\r\nno",
    )
    .await;
    rig.server.shutdown().await.unwrap();
    rig.client_ends_with("").await;
    assert!(matches!(rig.end().await, Ok(End::Closed)));
}

#[tokio::test]
async fn a_response_cut_short_is_cut_short_for_the_client() {
    let mut rig = Rig::new();
    rig.pass(GET, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        .await;
    rig.server.shutdown().await.unwrap();
    rig.client_ends_with("").await;
    assert!(matches!(rig.end().await, Err(HttpError::UpstreamCutShort)));
}

#[tokio::test]
async fn a_request_cut_short_is_cut_short_for_the_server() {
    let head = "POST /up HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 10\r\n\r\n12345";
    let mut rig = Rig::new();
    rig.ask(head).await;
    rig.client.shutdown().await.unwrap();
    rig.server_ends_with(head).await;
    assert!(matches!(rig.end().await, Err(HttpError::ClientCutShort)));
}

#[tokio::test]
async fn a_half_close_is_passed_on_and_the_answer_still_arrives() {
    let mut rig = Rig::new();
    rig.ask(GET).await;
    rig.client.shutdown().await.unwrap();
    rig.server_ends_with(GET).await;
    rig.answer(OK).await;
    rig.client_gets(OK).await;
    rig.client_ends_with("").await;
    assert!(matches!(rig.end().await, Ok(End::ClientClosed)));
}

#[tokio::test]
async fn pipelined_requests_before_a_half_close_are_all_answered() {
    let mut rig = Rig::new();
    rig.ask([GET, GET].concat()).await;
    rig.client.shutdown().await.unwrap();
    rig.server_gets(GET).await;
    rig.answer(OK).await;
    rig.server_ends_with(GET).await;
    rig.answer(OK).await;
    rig.client_ends_with(&[OK, OK].concat()).await;
}

#[tokio::test]
async fn a_server_that_closes_between_requests_closes_the_client() {
    let mut rig = Rig::new();
    rig.pass(GET, OK).await;
    rig.server.shutdown().await.unwrap();
    rig.client_ends_with("").await;
    assert!(matches!(rig.end().await, Ok(End::UpstreamClosed)));
}

#[tokio::test]
async fn a_server_that_closes_without_an_answer_closes_the_client() {
    let mut rig = Rig::new();
    rig.ask(GET).await;
    rig.server_gets(GET).await;
    rig.server.shutdown().await.unwrap();
    rig.client_ends_with("").await;
    assert!(matches!(rig.end().await, Ok(End::UpstreamClosed)));
}

#[tokio::test]
async fn bytes_that_no_request_asked_for_never_reach_the_client() {
    let mut rig = Rig::new();
    rig.ask(GET).await;
    rig.server_gets(GET).await;
    rig.answer([OK, OK].concat()).await;
    rig.client_ends_with(OK).await;
    assert!(matches!(rig.end().await, Ok(End::OutOfTurn)));

    let mut rig = Rig::new();
    rig.answer(OK).await;
    rig.client_ends_with("").await;
    assert!(matches!(rig.end().await, Ok(End::OutOfTurn)));
}

#[tokio::test]
async fn a_stopping_daemon_lets_the_request_under_way_end() {
    let mut rig = Rig::new();
    rig.ask([GET, GET].concat()).await;
    rig.server_gets(GET).await;
    rig.shutdown.send(true).unwrap();
    rig.answer(OK).await;
    rig.client_ends_with(OK).await;
    assert!(matches!(rig.end().await, Ok(End::ShutDown)));

    let mut rig = Rig::new();
    rig.pass(GET, OK).await;
    rig.shutdown.send(true).unwrap();
    rig.client_ends_with("").await;
    assert!(matches!(rig.end().await, Ok(End::ShutDown)));
}

#[tokio::test]
async fn a_writer_waits_for_its_reader() {
    let mut rig = Rig::with(1000, Box::new(|_| Judgement::Allow), b"");
    let head = "POST /up HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 10000000\r\n\r\n";
    rig.ask(head).await;
    let mut written = 0;
    let stuck = std::time::Duration::from_millis(50);
    while let Ok(done) = tokio::time::timeout(stuck, rig.client.write(&[b'x'; 1000])).await {
        written += done.unwrap();
    }
    assert!(
        written < 100_000,
        "{written} bytes were taken that nobody reads"
    );
}

/// A body of `length` bytes, with the field that frames it.
fn framed(length: usize, chunk: usize, chunked: bool) -> String {
    let body = "b".repeat(length);
    if !chunked {
        return format!("Content-Length: {length}\r\n\r\n{body}");
    }
    let chunks: String = body
        .as_bytes()
        .chunks(chunk)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), "b".repeat(chunk.len())))
        .collect();
    format!("Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the bodies, the splits and the room on the way, both sides get what the other one sent.
    #[test]
    fn any_conversation_goes_through_unchanged(
        turns in proptest::collection::vec((0usize..3000, 1usize..400, any::<bool>(), any::<bool>()), 1..6),
        step in 1usize..200,
        room in 16usize..5000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let asked: Vec<String> = turns.iter().map(|(length, chunk, chunked, _)| {
                format!("POST / HTTP/1.1\r\nHost: api.example.com\r\n{}", framed(*length, *chunk, *chunked))
            }).collect();
            let answered: Vec<String> = turns.iter().map(|(length, chunk, _, chunked)| {
                format!("HTTP/1.1 200 OK\r\n{}", framed(*length, *chunk, *chunked))
            }).collect();
            let Rig { client, server, .. } = Rig::with(room, Box::new(|_| Judgement::Allow), b"");
            let (mut from_relay, mut to_relay) = tokio::io::split(client);
            let (mut at_server, mut from_server) = tokio::io::split(server);
            let (all_asked, all_answered) = (asked.concat(), answered.concat());
            let asking = async {
                for part in all_asked.as_bytes().chunks(step) {
                    to_relay.write_all(part).await.unwrap();
                }
            };
            let serving = async {
                for (asked, answered) in asked.iter().zip(&answered) {
                    let mut got = vec![0; asked.len()];
                    at_server.read_exact(&mut got).await.unwrap();
                    assert_eq!(got, asked.as_bytes());
                    for part in answered.as_bytes().chunks(step) {
                        from_server.write_all(part).await.unwrap();
                    }
                }
            };
            let reading = async {
                let mut got = vec![0; all_answered.len()];
                from_relay.read_exact(&mut got).await.unwrap();
                assert_eq!(got, all_answered.as_bytes());
            };
            tokio::join!(asking, serving, reading);
        });
    }
}

/// Memory per idle connection, without the buffers: they are on the heap and empty.
#[tokio::test]
async fn the_relays_future_is_small() {
    let (client, _client) = tokio::io::duplex(1);
    let (server, _server) = tokio::io::duplex(1);
    let (exchange, _shutdown) = super::peer::exchange(Box::new(|_| Judgement::Allow));
    let size = size_of_val(&crate::http::relay(client, server, (), exchange));
    assert!(size < 8 * 1024, "{size} bytes");
}
