//! Request heads, and the little of Discord's REST interface that tests need.

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const LONGEST_HEAD: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    /// `Sec-WebSocket-Key` of an upgrade.
    pub(super) websocket_key: Option<String>,
    pub(super) offers_deflate: bool,
    pub(super) keep_alive: bool,
    pub(super) head: Vec<u8>,
}

/// Reads a request with its body, which is dropped; `None` at the end of the stream.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < LONGEST_HEAD, "the request's head is too long");
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) if head.is_empty() => return Ok(None),
            Err(error) => return Err(error).context("the stream ends inside a request's head"),
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    if !parsed.parse(&head)?.is_complete() {
        bail!("the request's head is incomplete");
    }
    let header = |name: &str| {
        parsed
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name))
            .and_then(|h| std::str::from_utf8(h.value).ok())
            .map(str::to_owned)
    };
    let upgrade = header("upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket"));
    let path = parsed.path.unwrap_or_default().to_owned();
    let request = Request {
        line: format!("{} {path}", parsed.method.unwrap_or_default()),
        path,
        authorization: header("authorization"),
        websocket_key: header("sec-websocket-key").filter(|_| upgrade),
        offers_deflate: header("sec-websocket-extensions")
            .is_some_and(|offers| offers.starts_with("permessage-deflate")),
        keep_alive: !header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")),
        head: head.clone(),
    };
    if let Some(length) = header("content-length") {
        let mut body = vec![0; length.parse::<usize>()?.min(1 << 20)];
        stream.read_exact(&mut body).await?;
    }
    Ok(Some(request))
}

/// Answers `101 Switching Protocols` (RFC 6455 §4.2.2).
pub(super) async fn switch(
    stream: &mut (impl AsyncWrite + Unpin),
    websocket_key: &str,
    deflate: bool,
) -> Result<()> {
    let accept = derive_accept_key(websocket_key.as_bytes());
    let extensions = if deflate {
        "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    } else {
        ""
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(stream.flush().await?)
}

/// Answers as Discord's REST interface does; `authorised` says whether the header carried the bot's token.
pub(super) async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    request: &Request,
    authorised: bool,
) -> Result<()> {
    let (status, body) = match request.path.as_str() {
        "/api/v10/users/@me" if authorised => (
            "200 OK",
            r#"{"id":"1000000000000000001","username":"micky","bot":true}"#,
        ),
        "/api/v10/users/@me" => (
            "401 Unauthorized",
            r#"{"message":"401: Unauthorized","code":0}"#,
        ),
        _ => ("404 Not Found", r#"{"message":"404: Not Found","code":0}"#),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(stream.flush().await?)
}
