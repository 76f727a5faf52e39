//! HTTP/1.1 in, HTTP/2 out: for a client that cannot speak HTTP/2 with a server that speaks nothing else.

use std::io;

use http::{HeaderValue, Request, Response, Uri, Version, header, uri::PathAndQuery};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};

use super::{PIPE, fields};

/// What the relay may speak HTTP/1.1 with in the place of `server`, which speaks HTTP/2. Ends with it.
///
/// # Errors
/// The beginning of HTTP/2 cannot be written.
pub(crate) async fn to_http2<S>(server: S) -> io::Result<DuplexStream>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(server))
        .await
        .map_err(io::Error::other)?;
    let (near, far) = duplex(PIPE);
    let served = hyper::server::conn::http1::Builder::new().serve_connection(
        TokioIo::new(far),
        service_fn(move |request| forward(sender.clone(), request)),
    );
    // Ends when either does: the relay drops its end with its connection.
    tokio::spawn(async move {
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(%error, "translating from HTTP/1.1 ended");
            },
            ended = connection => if let Err(error) = ended {
                tracing::debug!(%error, "the HTTP/2 connection to the server ended");
            },
        }
    });
    Ok(near)
}

async fn forward(
    mut server: SendRequest<Incoming>,
    request: Request<Incoming>,
) -> Result<Response<Incoming>, Error> {
    let (mut head, body) = request.into_parts();
    head.uri = absolute(&head.uri, head.headers.remove(header::HOST).as_ref())?;
    head.version = Version::HTTP_2;
    fields::drop_hop_by_hop(&mut head.headers);
    // Sent at once: nobody on the other side would answer it.
    head.headers.remove(header::EXPECT);
    server.ready().await?;
    let mut response = server.send_request(Request::from_parts(head, body)).await?;
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}

fn absolute(target: &Uri, host: Option<&HeaderValue>) -> Result<Uri, Error> {
    let authority = match (target.authority(), host) {
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Some(host)) => host.as_bytes(),
        (None, None) => return Err(Error::Host),
    };
    Uri::builder()
        .scheme("https")
        .authority(authority)
        .path_and_query(
            target
                .path_and_query()
                .cloned()
                .unwrap_or(PathAndQuery::from_static("/")),
        )
        .build()
        .map_err(Error::Uri)
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("a request names no host")]
    Host,
    #[error("a request's target cannot be written in HTTP/2")]
    Uri(#[source] http::Error),
    #[error("the server failed")]
    Server(#[from] hyper::Error),
}
