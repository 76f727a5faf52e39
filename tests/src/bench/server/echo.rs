//! A WebSocket that sends every message back.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use hyper::{Request, Response, StatusCode, body::Incoming, header, upgrade};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    bench::content::Content,
    gateway::frame::{CLOSE, read, write},
};

pub(super) fn switch(request: Request<Incoming>, token: Arc<str>) -> Result<Response<Content>> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    let accept = derive_accept_key(key.context("no upgrade")?.as_bytes());
    tokio::spawn(async move {
        // The client says what did not arrive.
        drop(echo(request, &token).await);
    });
    Ok(Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .body(Content::whole(""))?)
}

async fn echo(request: Request<Incoming>, token: &str) -> Result<()> {
    let mut stream = TokioIo::new(upgrade::on(request).await?);
    let mut first = true;
    while let Some(frame) = read(&mut stream).await? {
        if first {
            let text = String::from_utf8_lossy(&frame.payload);
            ensure!(text.contains(token), "a login without the token");
            first = false;
        }
        write(&mut stream, frame.opcode, &frame.payload).await?;
        if frame.opcode == CLOSE {
            break;
        }
    }
    Ok(())
}
