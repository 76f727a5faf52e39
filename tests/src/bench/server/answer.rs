//! One request and its answer. What is asked for stands in the header [`ASKED`].

use std::sync::Arc;

use anyhow::{Context as _, Result};
use http_body_util::BodyExt as _;
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use serde_json::json;

use super::{echo, events};
use crate::{
    bench::{
        content::{self, Content},
        order::{Framing, Work},
    },
    bulk::{Bulk, Ends},
};

/// The header that holds a [`Work`].
pub(in crate::bench) const ASKED: &str = "x-asked";

/// As an interface's small answers are.
const SMALL: &str = r#"{"id":"80351110224678912","username":"somebody","flags":0,"verified":true}"#;

pub(super) async fn answer(
    request: Request<Incoming>,
    token: Arc<str>,
) -> Result<Response<Content>> {
    let presented = request.headers().get(header::AUTHORIZATION);
    if presented.is_some_and(|value| *value != format!("Bearer {token}")) {
        return status(StatusCode::UNAUTHORIZED, "not the token");
    }
    let asked = request.headers().get(ASKED).context("nothing is asked")?;
    match serde_json::from_slice(asked.as_bytes())? {
        Work::Events { count, pause, gzip } => events::stream(count, pause, gzip),
        Work::Small { .. } | Work::Connect { .. } | Work::Hold { .. } => {
            request.into_body().collect().await?;
            status(StatusCode::OK, SMALL)
        }
        Work::Download { bytes, framing } => download(bytes, framing),
        Work::Upload { token: place, .. } => {
            let mut ends = Ends::default();
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                if let Some(data) = frame?.data_ref() {
                    ends.push(data);
                }
            }
            if place.is_some() && !ends.hold(&token) {
                return status(StatusCode::UNAUTHORIZED, "no token in the body");
            }
            let seen = json!({"bytes": ends.bytes}).to_string();
            status(StatusCode::OK, &seen)
        }
        Work::Echo { .. } => echo::switch(request, token),
    }
}

fn status(status: StatusCode, body: &str) -> Result<Response<Content>> {
    Ok(Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Content::whole(body.to_owned()))?)
}

fn download(bytes: u64, framing: Framing) -> Result<Response<Content>> {
    let plain = content::json(bytes, None)?;
    let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    Ok(match framing {
        Framing::Sized => response.body(Content::bulk(plain, true)),
        Framing::Chunked => response.body(Content::bulk(plain, false)),
        Framing::Gzip => response
            .header(header::CONTENT_ENCODING, "gzip")
            .body(Content::bulk(Bulk::gzip(&plain)?, false)),
    }?)
}
