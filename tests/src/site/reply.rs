//! Answers, apart from how a version of HTTP writes them.

use std::time::Duration;

use serde_json::Value;

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
    pub(super) trailers: Vec<(&'static str, &'static str)>,
}

#[derive(Debug)]
pub(super) enum Body {
    /// Announced with its length.
    Whole(Vec<u8>),
    /// Of no length that is known before: each part is sent at once.
    Parts(Vec<Part>),
}

#[derive(Debug)]
pub(super) enum Part {
    Bytes(Vec<u8>),
    Pause(Duration),
}

impl Reply {
    pub(super) fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("content-type", kind.to_owned())],
            body: Body::Whole(body.into()),
            trailers: Vec::new(),
        }
    }

    pub(super) fn json(body: &Value) -> Self {
        Self::new(200, "application/json", body.to_string())
    }

    /// Server-sent events, each after a pause.
    pub(super) fn events<E: AsRef<str>>(events: impl IntoIterator<Item = E>) -> Self {
        let parts = events.into_iter().flat_map(|event| {
            let bytes = Part::Bytes(format!("{}\n\n", event.as_ref()).into_bytes());
            [Part::Pause(Duration::from_millis(20)), bytes]
        });
        let mut reply = Self::new(200, "text/event-stream", "");
        reply.body = Body::Parts(parts.collect());
        reply.with("cache-control", "no-cache")
    }

    pub(super) fn parts(parts: Vec<Part>) -> Self {
        let mut reply = Self::new(200, "text/plain", "");
        reply.body = Body::Parts(parts);
        reply
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
