//! HTTP/1.1, head by head.

use std::{fmt::Write as _, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite,
    AsyncWriteExt as _, BufStream,
};

use super::{
    Seen, Shared,
    reply::{Body, Part, Reply},
};

/// Serves requests until the client has enough.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: Arc<Shared>,
) -> Result<()> {
    let mut stream = BufStream::new(stream);
    while let Some(mut seen) = head(&mut stream).await? {
        if seen.text("expect").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            stream.flush().await?;
        }
        if seen.text("transfer-encoding").is_some() {
            (seen.body, seen.trailers) = chunked(&mut stream).await?;
        } else if let Some(length) = seen.text("content-length") {
            seen.body = vec![0; length.parse()?];
            stream.read_exact(&mut seen.body).await?;
        }
        let asked = seen.text("connection");
        let closes = seen.version == "HTTP/1.0"
            || asked.is_some_and(|options| options.eq_ignore_ascii_case("close"));
        let to_head = seen.method == "HEAD";
        let reply = shared.answer(seen);
        write(&mut stream, &reply, to_head).await?;
        if closes {
            break;
        }
    }
    Ok(stream.shutdown().await?)
}

/// `None` at the end of the stream.
async fn head(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Seen>> {
    let line = line(stream).await?;
    if line.is_empty() {
        return Ok(None);
    }
    let line = String::from_utf8(line)?;
    let mut words = line.split(' ');
    let (method, target) = words.next().zip(words.next()).context("a request line")?;
    let version = match words.next() {
        Some("HTTP/1.0") => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let headers = fields(stream).await?;
    let mut seen = Seen {
        version,
        host: String::new(),
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body: Vec::new(),
        trailers: Vec::new(),
    };
    seen.host = seen.text("host").context("a host")?.to_owned();
    Ok(Some(seen))
}

/// Without its end; empty at an empty line, and at the end of the stream.
async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    ensure!(line.is_empty() || line.ends_with(b"\r\n"), "a line is cut");
    line.truncate(line.len().saturating_sub(2));
    Ok(line)
}

async fn fields(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<(String, Vec<u8>)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            return Ok(fields);
        }
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (name, value) = halves.next().zip(halves.next()).context("a field")?;
        let name = std::str::from_utf8(name)?.to_owned();
        fields.push((name, value.trim_ascii().to_vec()));
    }
}

/// A body in chunks, with its trailers (RFC 9112 §7.1).
async fn chunked(
    stream: &mut (impl AsyncBufRead + Unpin),
) -> Result<(Vec<u8>, Vec<(String, Vec<u8>)>)> {
    let mut body = Vec::new();
    loop {
        let size = String::from_utf8(line(stream).await?)?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16)?;
        if size == 0 {
            return Ok((body, fields(stream).await?));
        }
        let begun = body.len();
        body.resize(begun + size, 0);
        let chunk = body.get_mut(begun..).context("a chunk")?;
        stream.read_exact(chunk).await?;
        ensure!(line(stream).await?.is_empty(), "a chunk is too long");
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), reply: &Reply, to_head: bool) -> Result<()> {
    let mut head = format!("HTTP/1.1 {} Answer\r\n", reply.status);
    for (name, value) in &reply.headers {
        write!(head, "{name}: {value}\r\n")?;
    }
    match &reply.body {
        Body::Whole(_) if reply.status == 204 => {}
        Body::Whole(body) => write!(head, "content-length: {}\r\n", body.len())?,
        Body::Parts(_) => head.push_str("transfer-encoding: chunked\r\n"),
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    match &reply.body {
        _ if to_head => {}
        Body::Whole(body) => stream.write_all(body).await?,
        Body::Parts(parts) => {
            for part in parts {
                match part {
                    Part::Pause(pause) => tokio::time::sleep(*pause).await,
                    Part::Bytes(bytes) => {
                        let size = format!("{:x}\r\n", bytes.len());
                        let chunk = [size.as_bytes(), bytes, b"\r\n"].concat();
                        stream.write_all(&chunk).await?;
                        stream.flush().await?;
                    }
                }
            }
            stream.write_all(b"0\r\n").await?;
            for (name, value) in &reply.trailers {
                let field = format!("{name}: {value}\r\n");
                stream.write_all(field.as_bytes()).await?;
            }
            stream.write_all(b"\r\n").await?;
        }
    }
    Ok(stream.flush().await?)
}
