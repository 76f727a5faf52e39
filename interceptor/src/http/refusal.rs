//! What is refused, and how the client is told: the one place that turns a refusal into a response.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, SEC_WEBSOCKET_VERSION},
};

use super::{authority::AuthorityError, body::BodyError, head::HeadError, redaction::Stop};
use crate::rewrite::{RELEASES_MAX, body, standing::Revoked};
use crate::websocket::handshake::{AnswerError, OfferError};

/// Those that are not refused.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Why a request is answered here instead of by the server. Displayed as the answer's reason; never holds anything that
/// the client or the server wrote.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the request is malformed: {0}")]
    Head(HeadError),
    #[error("the request's addressee is refused: {0}")]
    Authority(AuthorityError),
    #[error("the request's body is malformed: {0}")]
    Body(BodyError),
    #[error("the request's head did not arrive within {} s", .0.as_secs())]
    HeadLate(Duration),
    /// By policy: the connection as a whole, or the method.
    #[error("{0}")]
    Denied(String),
    #[error("the configuration was changed, and no longer allows this connection")]
    Revoked(#[source] Revoked),
    #[error("TRACE would send the request's credentials back")]
    Trace,
    #[error("WEBSOCKET_TEXT is what rules call a WebSocket message, and no method of a request")]
    Message,
    #[error(
        "an upgrade to anything but websocket is refused: where it has to be, name host and protocol under the \
         sandbox's `upgrades`"
    )]
    Upgrade,
    #[error("an extended CONNECT to anything but websocket is refused")]
    Protocol,
    #[error("{0}")]
    WebSocketOffer(OfferError),
    #[error("the request names a credential that is bound to another host")]
    BoundElsewhere,
    #[error(
        "the request names a credential that this sandbox does not have, or not for the place where it stands"
    )]
    Unavailable,
    #[error(
        "a placeholder stands beside other text: a credential can be put in as a whole value, or behind a scheme"
    )]
    Misplaced,
    #[error(
        "a placeholder stands in the request where its credential is not bound, which `unbound: refuse` does not let pass"
    )]
    Unbound,
    #[error("the request asks for more than {RELEASES_MAX} credentials")]
    TooManyCredentials,
    #[error("{0}")]
    Rewriting(body::Refusal),
    #[error(
        "the request's body may take a credential and is longer than {} bytes, and HTTP/1.0 wants its length told first: \
         use HTTP/1.1",
        body::HOLD
    )]
    LongInHttp10,
    /// The server could not be reached or was not who it should be; the reason is the dialler's.
    #[error("{0}")]
    Unreachable(String),
    #[error("the server's response is malformed: {0}")]
    Response(HeadError),
    #[error("the server's response has a malformed body: {0}")]
    ResponseBody(BodyError),
    #[error("the response was cut: {0}")]
    Reflected(Stop),
    #[error("the server switched protocols unasked")]
    UnaskedSwitch,
    #[error("{0}")]
    WebSocketAnswer(AnswerError),
    #[error("the server sent more than {0} interim responses to one request")]
    TooManyInterim(u32),
    #[error(
        "the client sends control frames, or takes requests back, faster than anything that works would"
    )]
    Flood,
}

impl Refusal {
    /// The error code in the answer's body, one of a fixed set.
    pub(crate) fn code(&self) -> &'static str {
        self.status().2
    }

    /// Status code, reason phrase and error code.
    fn status(&self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Head(HeadError::TooLong | HeadError::TooManyFields) => (
                431,
                "Request Header Fields Too Large",
                "request_head_too_large",
            ),
            Self::Head(HeadError::Version) => {
                (505, "HTTP Version Not Supported", "version_not_supported")
            }
            Self::Head(_) | Self::Body(_) => (400, "Bad Request", "malformed_request"),
            Self::Authority(AuthorityError::Misdirected { .. }) => {
                (421, "Misdirected Request", "authority_mismatch")
            }
            Self::Authority(_) => (400, "Bad Request", "malformed_request"),
            Self::HeadLate(_) => (408, "Request Timeout", "request_timeout"),
            Self::Denied(_) => (403, "Forbidden", "policy_denied"),
            Self::Revoked(revoked @ Revoked::Upstream(_)) => (502, "Bad Gateway", revoked.code()),
            Self::Revoked(revoked) => (403, "Forbidden", revoked.code()),
            Self::Trace | Self::Message => (405, "Method Not Allowed", "method_refused"),
            Self::Upgrade => (403, "Forbidden", "upgrade_refused"),
            Self::Protocol => (501, "Not Implemented", "upgrade_refused"),
            Self::WebSocketOffer(OfferError::Version) => {
                (426, "Upgrade Required", "malformed_websocket_handshake")
            }
            Self::WebSocketOffer(_) => (400, "Bad Request", "malformed_websocket_handshake"),
            Self::BoundElsewhere => (403, "Forbidden", "credential_endpoint_mismatch"),
            Self::Unavailable | Self::Misplaced => {
                (500, "Internal Server Error", "credential_unavailable")
            }
            Self::Unbound => (403, "Forbidden", "credential_unbound"),
            Self::TooManyCredentials => (403, "Forbidden", "credential_count"),
            Self::Rewriting(refusal) => {
                let (status, phrase) = match refusal {
                    body::Refusal::Encoded | body::Refusal::Charset => {
                        (415, "Unsupported Media Type")
                    }
                    body::Refusal::Malformed
                    | body::Refusal::GuardUnseen
                    | body::Refusal::GuardContradicted => (400, "Bad Request"),
                    body::Refusal::Signed
                    | body::Refusal::Ranged
                    | body::Refusal::Unbound
                    | body::Refusal::Unresolvable(_) => (403, "Forbidden"),
                };
                (status, phrase, refusal.code())
            }
            Self::LongInHttp10 => (413, "Content Too Large", "credential_body_too_long"),
            Self::Unreachable(_) => (502, "Bad Gateway", "upstream_unreachable"),
            Self::Response(_) | Self::ResponseBody(_) | Self::TooManyInterim(_) => {
                (502, "Bad Gateway", "malformed_response")
            }
            Self::Reflected(stop) => (502, "Bad Gateway", stop.code()),
            Self::Flood => (429, "Too Many Requests", "flood"),
            Self::UnaskedSwitch => (502, "Bad Gateway", "unexpected_switching_protocols"),
            Self::WebSocketAnswer(_) => (502, "Bad Gateway", "websocket_handshake_failed"),
        }
    }

    /// The same for HTTP/2: a head, and the body that belongs to it.
    pub(crate) fn response_http2(&self) -> (http::Response<()>, Bytes) {
        let (status, _, _) = self.status();
        let body = self.body();
        let mut response = http::Response::new(());
        // Every one in the table is a status.
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(CONTENT_LENGTH, body.len().into());
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match status {
            405 => {
                fields.insert(ALLOW, HeaderValue::from_static(METHODS));
            }
            426 => {
                fields.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        (response, body.into())
    }

    fn body(&self) -> String {
        let (_, _, error) = self.status();
        serde_json::json!({ "error": error, "reason": self.to_string() }).to_string()
    }

    /// The whole response. `to_head`: the request's method was HEAD, so no body may follow.
    pub(crate) fn response(&self, to_head: bool) -> Vec<u8> {
        let (status, phrase, _) = self.status();
        let body = self.body();
        let length = body.len();
        // What these two have to name (RFC 9110 §15.5.6, RFC 6455 §4.4).
        let named = match status {
            405 => &format!("Allow: {METHODS}\r\n"),
            426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        };
        let shown = if to_head { "" } else { &body };
        format!(
            "HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{named}\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n{shown}"
        )
        .into_bytes()
    }
}
