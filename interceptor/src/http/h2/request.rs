//! What is done with one request: everything is decided from its head, before a byte goes to the server.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::EXPECT,
    request::Parts,
    uri::{self, PathAndQuery, Scheme, Uri},
};
use zeroize::Zeroizing;

use super::websocket::{self, Upgrade};
use crate::{
    http::{
        Exchange, authority,
        head::{HeadError, MAX_FIELDS, MAX_HEAD},
        refusal::Refusal,
        request::judge,
        resolution::Resolution,
    },
    rewrite::body::Rewriter,
    stats::connection::Direction::ClientToServer,
};

/// A request that may go to the server.
pub(super) struct Allowed {
    pub(super) head: Request<()>,
    /// Its method is HEAD: the response has no body.
    pub(super) to_head: bool,
    /// The client waits for a 100 before it sends the body.
    pub(super) expects: bool,
    /// Reads the body, where something may stand in it.
    pub(super) rewriter: Option<Rewriter>,
    /// Asks for a WebSocket.
    pub(super) upgrade: Option<Upgrade>,
}

/// Decides on the request with this head, and counts it and what secrets it takes. `complete`: it has no body.
pub(super) fn decide(
    mut head: Parts,
    complete: bool,
    exchange: &Exchange,
) -> Result<Allowed, Refusal> {
    within_bounds(&head)?;
    unpadded(&head.headers)?;
    let upgrades = websocket::stand_for_get(&mut head)?;
    authority::check_http2(&head, exchange.scheme, &exchange.authority)?;
    let path = head.uri.path_and_query().map_or("", PathAndQuery::as_str);
    judge(head.method.as_str(), path, exchange)?;

    let upgrade = upgrades
        .then(|| Upgrade::read(&mut head.headers, path, exchange))
        .transpose()?;
    let mut resolution = Resolution::new(exchange);
    let path = resolution.target(path)?;
    let mut changed = Vec::with_capacity(head.headers.len());
    for (name, value) in &head.headers {
        // Cookies come one by one (RFC 9113 §8.2.3), or as one: either is a value.
        changed.push(resolution.field(name.as_str(), value.as_bytes())?);
    }
    let used = resolution.settle()?;
    // It reads the head as the client wrote it: no copy of a secret stays behind there. A WebSocket is no body.
    let rewriter = if complete || upgrade.is_some() {
        None
    } else {
        let fields = head.headers.iter();
        let fields = fields.map(|(name, value)| (name.as_str(), value.as_bytes()));
        Rewriter::for_request(&exchange.release, fields, used, &exchange.stats)?
    };
    for ((_, value), with) in head.headers.iter_mut().zip(changed) {
        if let Some(with) = with {
            *value = secret_value(with)?;
        }
    }
    head.uri = whole(head.uri, path, &head.headers)?;

    // One with a body that is read may still be refused: it is a message when it goes.
    if rewriter.is_none() {
        exchange.stats.count_message(ClientToServer);
    }
    resolution.count();
    // What the h2 crate has for its own use stays behind.
    head.extensions.clear();
    if upgrade.is_some() {
        websocket::ask(&mut head);
    }
    Ok(Allowed {
        to_head: head.method == Method::HEAD,
        expects: expects(&head.headers),
        rewriter,
        upgrade,
        head: Request::from_parts(head, ()),
    })
}

/// The same bounds as those of HTTP/1, as far as HPACK lets a head be compared.
fn within_bounds(head: &Parts) -> Result<(), HeadError> {
    if head.headers.len() > MAX_FIELDS {
        return Err(HeadError::TooManyFields);
    }
    let authority = head.uri.authority().map_or("", uri::Authority::as_str);
    let path = head.uri.path_and_query().map_or("", PathAndQuery::as_str);
    let fields = head.headers.iter();
    let length: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if length + head.method.as_str().len() + authority.len() + path.len() > MAX_HEAD {
        return Err(HeadError::TooLong);
    }
    Ok(())
}

/// `Expect: 100-continue`.
fn expects(fields: &HeaderMap) -> bool {
    let expected = fields.get_all(EXPECT).iter();
    let mut expected = expected.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    expected.any(|one| one.trim_ascii().eq_ignore_ascii_case(b"100-continue"))
}

/// The `h2` crate does not look for blanks round a value (RFC 9113 §8.2.1), which whoever trims them reads as another.
fn unpadded(fields: &HeaderMap) -> Result<(), HeadError> {
    let padded =
        |value: &HeaderValue| matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
    if fields.values().any(padded) {
        return Err(HeadError::PaddedValue);
    }
    Ok(())
}

/// A value that no table of HPACK keeps (RFC 7541 §7.1.3), and that is wiped when the last of its users is gone.
fn secret_value(value: Zeroizing<Vec<u8>>) -> Result<HeaderValue, Refusal> {
    // It was checked when the secret was put in.
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(value))
        .map_err(|_invalid| Refusal::Unavailable)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The control data that a request needs: a client that named its addressee by a host field only has its `:authority`
/// made from it (RFC 9113 §8.3.1).
fn whole(uri: Uri, path: Option<Zeroizing<Vec<u8>>>, fields: &HeaderMap) -> Result<Uri, Refusal> {
    let malformed = Refusal::Head(HeadError::FirstLine);
    let mut parts = uri.into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    if let Some(path) = path {
        let path = PathAndQuery::from_maybe_shared(Bytes::from_owner(path));
        parts.path_and_query = Some(path.map_err(|_invalid| Refusal::Unavailable)?);
    }
    if parts.authority.is_none() {
        let host = fields.get("host").map_or(&[][..], HeaderValue::as_bytes);
        parts.authority = host.try_into().ok();
    }
    Uri::from_parts(parts).map_err(|_invalid| malformed)
}
