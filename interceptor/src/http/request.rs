//! What is done with one request: everything is decided from its head, before a byte goes to the server.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{
    Exchange,
    authority::{self, AuthorityError},
    body::BodyError,
    framing::Framing,
    head::{Fields, HeadError, RequestHead, Version},
    refusal::Refusal,
    resolution::Resolution,
    reuse::Kept,
    rewriting::{self, Edit, Edits},
};
use crate::{
    policy::{Judgement, RequestView},
    rewrite::{
        Unresolvable,
        body::{self, Rewriter},
        reflection::Reflection,
        release::NotBound,
    },
    stats::connection::{Connection, Direction::ClientToServer},
    websocket::handshake::{self, Demands, Offer, OfferError, Offered},
};

/// What OpenShell's policies call a client's WebSocket message, as if it were a method.
pub(super) const MESSAGE: &str = "WEBSOCKET_TEXT";

/// A request that may go to the server.
pub(crate) struct Request {
    /// Its method is HEAD: the response has no body.
    pub(crate) to_head: bool,
    /// The client wants to send another one after it.
    pub(crate) persistent: bool,
    pub(crate) framing: Framing,
    pub(crate) version: Version,
    /// The client waits for a 100 before it sends the body.
    pub(crate) expects: bool,
    /// Reads the body, where something may stand in it.
    pub(crate) rewriter: Option<Rewriter>,
    pub(crate) offer: Switch,
    /// The head to send instead of the client's; `None`: the client's, byte for byte.
    pub(crate) changed: Option<Zeroizing<Vec<u8>>>,
    /// What was written on the connection.
    pub(crate) reflection: Arc<Reflection>,
    /// Of an upgrade, as the client wrote it.
    pub(crate) target: Option<Box<str>>,
    /// The head that went to the server, where it may have to go to it once more.
    pub(super) kept: Kept,
}

impl Request {
    /// It goes to the server.
    pub(super) fn count(&self, stats: &Connection) {
        stats.count_message(ClientToServer);
    }
}

/// What the server may switch the connection to.
pub(crate) enum Switch {
    Nothing,
    WebSocket(Offer),
    /// Any other protocol that the policy allows, as the client spelled it.
    Other(Box<str>),
}

/// Decides on the request whose head is `raw`, and counts what secrets it takes.
pub(crate) fn decide(raw: &[u8], exchange: &Exchange) -> Result<Request, Refusal> {
    let head = RequestHead::parse(raw)?;
    let framing = Framing::of_request(&head.fields, head.version)?;
    authority::check(&head, exchange.scheme, &exchange.authority)?;
    judge(head.method, head.target, exchange)?;

    let mut edits = Edits::none(&head.fields);
    let offer = match Upgrade::of(&head.fields)? {
        Upgrade::None => Switch::Nothing,
        Upgrade::Http2 => {
            decline_http2(&head.fields, &mut edits.fields);
            Switch::Nothing
        }
        Upgrade::Other(protocol) if (exchange.may_switch)(protocol) => {
            Switch::Other(protocol.into())
        }
        Upgrade::Other(_) => return Err(Refusal::Upgrade),
        Upgrade::WebSocket => {
            let demands = demands(exchange);
            narrow_extensions(&head.fields, demands, &mut edits.fields);
            let minor = u8::from(head.version == Version::Http11);
            Offer::read(head.method, minor, head.fields.iter(), demands)?
                .map_or(Switch::Nothing, Switch::WebSocket)
        }
    };
    let mut resolution = Resolution::new(exchange);
    resolve(&head, &mut resolution, &mut edits)?;
    let used = resolution.settle()?;
    let rewriter = if framing == Framing::EMPTY {
        None
    } else {
        let Exchange { release, stats, .. } = exchange;
        Rewriter::for_request(release, head.fields.iter(), used, stats)?
    };
    resolution.count();
    Ok(Request {
        to_head: head.method == "HEAD",
        persistent: head.fields.persistent(head.version),
        framing,
        version: head.version,
        expects: head.version == Version::Http11 && head.fields.lists("expect", "100-continue"),
        rewriter,
        changed: rewriting::write(raw, &edits),
        reflection: Arc::clone(exchange.release.reflection()),
        kept: Kept::default(),
        target: matches!(offer, Switch::WebSocket(_)).then(|| head.target.into()),
        offer,
    })
}

/// Puts secrets in the places they are bound to.
fn resolve(
    head: &RequestHead<'_>,
    resolution: &mut Resolution<'_>,
    edits: &mut Edits,
) -> Result<(), Unresolvable> {
    edits.target = resolution.target(head.target)?;
    for ((name, value), edit) in head.fields.iter().zip(&mut edits.fields) {
        if !matches!(edit, Edit::Keep) {
            continue;
        }
        let name = name.to_ascii_lowercase();
        if head.fields.lists("connection", &name) {
            resolution.pass(value);
        } else if let Some(value) = resolution.field(&name, value)? {
            *edit = Edit::Value(value);
        }
    }
    Ok(())
}

/// Asks the policy, where the method is one at all.
pub(super) fn judge(method: &str, target: &str, exchange: &Exchange) -> Result<(), Refusal> {
    // TRACK is Microsoft's TRACE.
    if ["TRACE", "TRACK"]
        .iter()
        .any(|refused| method.eq_ignore_ascii_case(refused))
    {
        return Err(Refusal::Trace);
    }
    // A rule that allows messages allows no requests, which some servers take whatever their method.
    if method.eq_ignore_ascii_case(MESSAGE) {
        return Err(Refusal::Message);
    }
    match (exchange.judge)(&RequestView::new(method, target)) {
        Judgement::Allow => Ok(()),
        Judgement::Audit(why) => {
            tracing::warn!(host = %exchange.authority.host, why, "the policy would refuse this request");
            Ok(())
        }
        Judgement::Deny(why) => Err(Refusal::Denied(why)),
    }
}

/// Whose WebSocket messages will have to stand alone.
pub(super) fn demands(exchange: &Exchange) -> Demands {
    Demands {
        client_alone: exchange.release.reads_messages()
            && !exchange.takeover.holds(&exchange.authority.host),
        // A secret in any place of this connection may come back in a message.
        server_alone: exchange.release.redacts(),
    }
}

/// What a request offers to switch to.
enum Upgrade<'h> {
    None,
    Http2,
    WebSocket,
    Other(&'h str),
}

impl<'h> Upgrade<'h> {
    fn of(fields: &Fields<'h>) -> Result<Self, Refusal> {
        if !fields.has("upgrade") {
            return Ok(Self::None);
        }
        let mut offered = fields.list("upgrade");
        let (first, second) = (offered.next(), offered.next());
        match (first, second) {
            (Some(only), None) if only.eq_ignore_ascii_case(b"websocket") => Ok(Self::WebSocket),
            (Some(only), None) if only.eq_ignore_ascii_case(b"h2c") => Ok(Self::Http2),
            (Some(only), None) => str::from_utf8(only)
                .map(Self::Other)
                .map_err(|_unreadable| Refusal::Upgrade),
            _ => Err(Refusal::Upgrade),
        }
    }
}

/// A server is free to overlook an offer (RFC 9110 §7.8), and Java's client makes this one unasked on every first
/// request over plain HTTP: it is taken out rather than refused.
fn decline_http2(fields: &Fields<'_>, edits: &mut [Edit]) {
    const OFFER: [&str; 2] = ["upgrade", "http2-settings"];
    drop_fields(fields, edits, |name| {
        OFFER.iter().any(|other| name.eq_ignore_ascii_case(other))
    });
    for ((name, value), edit) in fields.iter().zip(edits) {
        if name.eq_ignore_ascii_case("connection") {
            *edit = rewriting::without(value, &OFFER);
        }
    }
}

/// Leaves only the extensions that can be dealt with in the offer, and demands what that takes.
fn narrow_extensions(fields: &Fields<'_>, demands: Demands, edits: &mut [Edit]) {
    for ((name, value), edit) in fields.iter().zip(edits) {
        if name.eq_ignore_ascii_case(handshake::EXTENSIONS) {
            *edit = match handshake::narrow(value, demands) {
                Offered::Keep => Edit::Keep,
                Offered::Narrow(value) => Edit::Value(Zeroizing::new(value)),
                Offered::Drop => Edit::Drop,
            };
        }
    }
}

fn drop_fields(fields: &Fields<'_>, edits: &mut [Edit], chosen: impl Fn(&str) -> bool) {
    for ((name, _), edit) in fields.iter().zip(edits) {
        if chosen(name) {
            *edit = Edit::Drop;
        }
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

impl From<AuthorityError> for Refusal {
    fn from(error: AuthorityError) -> Self {
        Self::Authority(error)
    }
}

impl From<OfferError> for Refusal {
    fn from(error: OfferError) -> Self {
        Self::WebSocketOffer(error)
    }
}

impl From<Unresolvable> for Refusal {
    fn from(unresolvable: Unresolvable) -> Self {
        match unresolvable {
            Unresolvable::BoundElsewhere => Self::BoundElsewhere,
            Unresolvable::Unavailable => Self::Unavailable,
            Unresolvable::Misplaced => Self::Misplaced,
            Unresolvable::TooMany => Self::TooManyCredentials,
        }
    }
}

impl From<NotBound> for Refusal {
    fn from(NotBound: NotBound) -> Self {
        Self::Unbound
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<body::Refusal> for Refusal {
    fn from(refusal: body::Refusal) -> Self {
        match refusal {
            body::Refusal::Unresolvable(why) => why.into(),
            body::Refusal::Unbound => Self::Unbound,
            refusal => Self::Rewriting(refusal),
        }
    }
}
