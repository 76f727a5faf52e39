//! HTTP/2, stream by stream.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response, request::Parts};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Seen, Shared, grpc,
    reply::{Body, Part, Reply},
};

/// A stream's window, so that a client need not wait for what is merely remembered.
const WINDOW: u32 = 1 << 20;

/// Serves streams until the client goes away.
pub(super) async fn serve<S>(stream: S, shared: Arc<Shared>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = h2::server::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(stream)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        let shared = Arc::clone(&shared);
        tokio::spawn(answer(request, respond, shared));
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    shared: Arc<Shared>,
) -> Result<()> {
    let (head, mut body) = request.into_parts();
    let mut seen = read(&head)?;
    if grpc::converses(seen.path()) {
        return converse(seen, body, respond, &shared).await;
    }
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        seen.body.extend_from_slice(&data);
    }
    if let Some(trailers) = body.trailers().await? {
        seen.trailers = fields(&trailers);
    }
    let to_head = seen.method == "HEAD";
    let reply = shared.answer(seen);
    write(respond, reply, to_head).await
}

/// Sends back what comes, as it comes.
async fn converse(
    mut seen: Seen,
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
    shared: &Shared,
) -> Result<()> {
    let reply = grpc::conversation();
    let mut stream = respond.send_response(head(&reply)?, false)?;
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        seen.body.extend_from_slice(&data);
        send(&mut stream, data).await?;
    }
    shared.record().push(seen);
    end(stream, reply.trailers)
}

fn read(head: &Parts) -> Result<Seen> {
    let host = head.uri.authority().context("an authority")?.to_string();
    Ok(Seen {
        version: "HTTP/2",
        host,
        method: head.method.to_string(),
        target: head.uri.path_and_query().context("a path")?.to_string(),
        headers: fields(&head.headers),
        body: Vec::new(),
        trailers: Vec::new(),
    })
}

fn fields(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect()
}

async fn write(mut respond: SendResponse<Bytes>, reply: Reply, to_head: bool) -> Result<()> {
    let ends = to_head || matches!(&reply.body, Body::Whole(body) if body.is_empty());
    let mut stream = respond.send_response(head(&reply)?, ends)?;
    if ends {
        return Ok(());
    }
    match reply.body {
        Body::Whole(body) => send(&mut stream, body.into()).await?,
        Body::Parts(parts) => {
            for part in parts {
                match part {
                    Part::Pause(pause) => tokio::time::sleep(pause).await,
                    Part::Bytes(bytes) => send(&mut stream, bytes.into()).await?,
                }
            }
        }
    }
    end(stream, reply.trailers)
}

fn head(reply: &Reply) -> Result<Response<()>> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    if let Body::Whole(body) = &reply.body
        && !body.is_empty()
    {
        response = response.header("content-length", body.len());
    }
    Ok(response.body(())?)
}

fn end(mut stream: SendStream<Bytes>, trailers: Vec<(&'static str, &'static str)>) -> Result<()> {
    if trailers.is_empty() {
        return Ok(stream.send_data(Bytes::new(), true)?);
    }
    let trailers = trailers
        .into_iter()
        .map(|(name, value)| Ok((name.parse()?, HeaderValue::from_static(value))));
    Ok(stream.send_trailers(trailers.collect::<Result<_>>()?)?)
}

/// Sends as the client's window allows.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<()> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let capacity = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let capacity = capacity.context("the stream was reset")??;
        stream.send_data(data.split_to(capacity.min(data.len())), false)?;
    }
    Ok(())
}
