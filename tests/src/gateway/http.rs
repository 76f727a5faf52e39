//! Requests and answers of HTTP/1.1, as little as test servers need.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const LONGEST_HEAD: usize = 64 * 1024;
const LONGEST_BODY: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// With its query.
    pub(super) path: String,
    /// Without its port.
    pub(super) host: String,
    pub(super) authorization: Option<String>,
    /// `Sec-WebSocket-Key` of an upgrade.
    pub(super) websocket_key: Option<String>,
    /// `Sec-WebSocket-Extensions`.
    pub(super) extensions: Option<String>,
    pub(super) keep_alive: bool,
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Answer {
    /// Code and reason.
    pub(super) status: &'static str,
    pub(super) body: Value,
}

impl Request {
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The credential behind a scheme of `Authorization`, or the whole value if it has another or none.
    pub(super) fn credential(&self, scheme: &str) -> Option<&str> {
        let value = self.authorization.as_deref()?;
        let bare = value.strip_prefix(scheme).map(str::trim_start);
        Some(bare.unwrap_or(value))
    }
}

impl Answer {
    pub(super) fn ok(body: Value) -> Self {
        let status = "200 OK";
        Self { status, body }
    }
}

/// Reads a request with its body; `None` at the end of the stream.
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
    let host = header("host").unwrap_or_default();
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        host: host.split(':').next().unwrap_or_default().to_owned(),
        authorization: header("authorization"),
        websocket_key: header("sec-websocket-key").filter(|_| upgrade),
        extensions: header("sec-websocket-extensions"),
        keep_alive: !header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")),
        head: head.clone(),
        body: Vec::new(),
    };
    if header("transfer-encoding").is_some() {
        request.body = chunked(stream).await?;
    } else if let Some(length) = header("content-length") {
        request.body = vec![0; length.parse::<usize>()?.min(LONGEST_BODY)];
        stream.read_exact(&mut request.body).await?;
    }
    Ok(Some(request))
}

/// A body in chunks, without trailers (RFC 9112 §7.1).
async fn chunked(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            ensure!(line.len() < 32, "a chunk's size is too long");
            line.push(stream.read_u8().await?);
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line)?.trim(), 16)?;
        ensure!(body.len() + size <= LONGEST_BODY, "the body is too long");
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).await?;
        ensure!(chunk.ends_with(b"\r\n"), "a chunk does not end");
        chunk.truncate(size);
        if chunk.is_empty() {
            return Ok(body);
        }
        body.append(&mut chunk);
    }
}

/// Answers `101 Switching Protocols` (RFC 6455 §4.2.2).
pub(super) async fn switch(
    stream: &mut (impl AsyncWrite + Unpin),
    websocket_key: &str,
    extensions: Option<&str>,
) -> Result<()> {
    let accept = derive_accept_key(websocket_key.as_bytes());
    let extensions = extensions.map_or_else(String::new, |value| {
        format!("Sec-WebSocket-Extensions: {value}\r\n")
    });
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(stream.flush().await?)
}

pub(super) async fn answer(stream: &mut (impl AsyncWrite + Unpin), answer: &Answer) -> Result<()> {
    let Answer { status, body } = answer;
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(stream.flush().await?)
}
