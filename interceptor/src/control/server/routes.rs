//! From a request to an answer.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
};
use percent_encoding::percent_decode_str;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::{
    control::{
        Backend, Refusal, RefusalKind,
        api::{self, AttachRequest, DetachRequest, ErrorView, HealthView, Order},
    },
    stats::Selection,
};

/// Largest request body, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// For a request's body to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(5);

type Answer = Response<Full<Bytes>>;

pub(super) async fn answer<B: Backend>(backend: Arc<B>, request: Request<Incoming>) -> Answer {
    route(backend, request)
        .await
        .unwrap_or_else(|(status, error)| {
            tracing::debug!(%status, error = error.error, "control request refused");
            json(status, &error)
        })
}

async fn route<B: Backend>(
    backend: Arc<B>,
    request: Request<Incoming>,
) -> Result<Answer, (StatusCode, ErrorView)> {
    let get = request.method() == Method::GET;
    let post = request.method() == Method::POST;
    match request.uri().path() {
        api::HEALTH if get => Ok(healthy(Vec::new())),
        api::READY if get => match backend.ready().await {
            Ok(()) => Ok(healthy(backend.remarks().await)),
            Err(missing) => Err(refuse(StatusCode::SERVICE_UNAVAILABLE, missing)),
        },
        api::INFO if get => Ok(ok(&backend.info().await)),
        api::SANDBOXES if get => Ok(ok(&backend.sandboxes().await)),
        api::SANDBOXES if post => {
            let attach: AttachRequest = read(request).await?;
            finish(async move { backend.attach(attach).await }).await
        }
        api::DETACH if post => {
            let detach: DetachRequest = read(request).await?;
            finish(async move { backend.detach(detach).await }).await
        }
        api::CONNECTIONS if get => {
            let ended = match request.uri().query() {
                None => false,
                Some(api::ENDED) => true,
                Some(_) => {
                    return Err(refuse(
                        StatusCode::BAD_REQUEST,
                        format!("the only query here is {}", api::ENDED),
                    ));
                }
            };
            Ok(ok(&backend.connections(ended).await))
        }
        api::EVENTS if get => {
            let selection =
                selection(request.uri().query().unwrap_or_default()).ok_or_else(|| {
                    refuse(
                        StatusCode::BAD_REQUEST,
                        "the queries here are sandbox=NAME, after=ID and seen=PID:ID",
                    )
                })?;
            Ok(ok(&backend.events(selection).await))
        }
        api::STATS if get => Ok(ok(&backend.stats().await)),
        api::RELOAD if post => finish(async move { backend.reload().await }).await,
        api::ORDERS if post => {
            let order: Order = read(request).await?;
            finish(async move { backend.obey(order).await }).await
        }
        api::HEALTH
        | api::READY
        | api::INFO
        | api::SANDBOXES
        | api::DETACH
        | api::CONNECTIONS
        | api::EVENTS
        | api::STATS
        | api::RELOAD
        | api::ORDERS => Err(refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "the method does not fit the path",
        )),
        _ => Err(refuse(StatusCode::NOT_FOUND, "no such path")),
    }
}

/// `None`: the query holds something else.
fn selection(query: &str) -> Option<Selection> {
    let mut selection = Selection::default();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=')?;
        let value = percent_decode_str(value).decode_utf8().ok()?;
        match key {
            api::SANDBOX => selection.sandbox = Some(value.into_owned()),
            api::AFTER => selection.after = Some(value.parse().ok()?),
            api::SEEN => {
                let (daemon, id) = value.split_once(':')?;
                let (daemon, id) = (daemon.parse().ok()?, id.parse().ok()?);
                selection.seen.insert(daemon, id);
            }
            _ => return None,
        }
    }
    Some(selection)
}

async fn read<T: DeserializeOwned>(
    request: Request<Incoming>,
) -> Result<T, (StatusCode, ErrorView)> {
    let too_large = || {
        refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {BODY_LIMIT} bytes"),
        )
    };
    let body = request.into_body();
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        return Err(too_large());
    }
    let body = match timeout(BODY_DEADLINE, Limited::new(body, BODY_LIMIT).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(error)) => {
            return Err(refuse(
                StatusCode::BAD_REQUEST,
                format!("the body cannot be read: {error}"),
            ));
        }
        Err(_) => {
            return Err(refuse(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            ));
        }
    };
    serde_json::from_slice(&body).map_err(|error| {
        refuse(
            StatusCode::BAD_REQUEST,
            format!("the body is not what is expected here: {error}"),
        )
    })
}

/// Carries a change through even if the client goes away meanwhile.
async fn finish<T: Serialize + Send + 'static>(
    change: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<Answer, (StatusCode, ErrorView)> {
    match tokio::spawn(change).await {
        Ok(Ok(view)) => Ok(ok(&view)),
        Ok(Err(refusal)) => {
            let status = match refusal.kind {
                RefusalKind::NotFound => StatusCode::NOT_FOUND,
                RefusalKind::Conflict => StatusCode::CONFLICT,
                RefusalKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
                RefusalKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Err((
                status,
                ErrorView {
                    error: refusal.error,
                    detail: refusal.detail,
                },
            ))
        }
        Err(error) => {
            tracing::error!(%error, "a control request did not come to its end");
            Err(refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the request did not come to its end: see the daemon's log",
            ))
        }
    }
}

fn refuse(status: StatusCode, error: impl Into<String>) -> (StatusCode, ErrorView) {
    let error = ErrorView {
        error: error.into(),
        detail: Vec::new(),
    };
    (status, error)
}

fn healthy(remarks: Vec<String>) -> Answer {
    ok(&HealthView {
        status: "ok".into(),
        remarks,
    })
}

fn ok(view: &impl Serialize) -> Answer {
    json(StatusCode::OK, view)
}

fn json(status: StatusCode, view: &impl Serialize) -> Answer {
    let (status, body) = match serde_json::to_vec(view) {
        Ok(body) => (status, body),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            (StatusCode::INTERNAL_SERVER_ERROR, b"{}".to_vec())
        }
    };
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
