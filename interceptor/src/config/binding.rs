//! `bindings:` of a secret or a profile.

use crate::{
    address::Host,
    policy::{
        HostPattern,
        binding::{BodyKind, Guard, GuardValue, JsonField, PathPlace, Surface},
    },
    yaml::{Findings, Node},
};

/// Stands for the secret in a path.
const SECRET: &str = "{secret}";

/// Members on the way to a JSON string.
const MAX_PATH: usize = 16;

/// Values of a guard.
const MAX_GUARD: usize = 32;

/// Bytes of a guard's value that is text.
const MAX_GUARD_TEXT: usize = 128;

/// Most bytes that `websocket.limit` can mean: servers count them in 32 bits.
const LIMIT_MAX: u64 = u32::MAX as u64;

/// Headers that frame a message or name its recipient: a secret in one of them changes what the message is.
const FRAMING_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Hosts, and a place in the traffic to them at which a secret may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(super) hosts: Vec<HostPattern>,
    pub(super) surface: Surface,
}

impl Binding {
    pub(crate) fn names(&self, host: &Host) -> bool {
        self.hosts.iter().any(|pattern| pattern.matches(host))
    }

    pub(crate) fn overlaps(&self, pattern: &HostPattern) -> bool {
        self.hosts.iter().any(|host| host.overlaps(pattern))
    }
}

/// Reads a list of bindings. The list is incomplete after a fault.
pub(super) fn read(list: &Node, findings: &mut Findings) -> Vec<Binding> {
    read_list(list, None, findings)
}

/// As [`read`], for bindings without hosts, which are given.
pub(super) fn read_at(hosts: &[HostPattern], list: &Node, findings: &mut Findings) -> Vec<Binding> {
    read_list(list, Some(hosts), findings)
}

/// The list is incomplete after a fault.
pub(super) fn read_hosts(list: &Node, findings: &mut Findings) -> Vec<HostPattern> {
    list.filled_list(findings)
        .unwrap_or_default()
        .iter()
        .filter_map(|host| host.parse(findings))
        .collect()
}

fn read_list(list: &Node, given: Option<&[HostPattern]>, findings: &mut Findings) -> Vec<Binding> {
    list.filled_list(findings)
        .unwrap_or_default()
        .iter()
        .filter_map(|node| read_one(node, given, findings))
        .collect()
}

fn read_one(
    node: &Node,
    given: Option<&[HostPattern]>,
    findings: &mut Findings,
) -> Option<Binding> {
    let mut fields = node.fields(findings)?.unquoted();
    let hosts = match given {
        Some(_) => None,
        None => fields.require("hosts", findings),
    };
    let places = [
        ("header", fields.take("header")),
        ("path", fields.take("path")),
        ("query", fields.take("query")),
        ("cookie", fields.take("cookie")),
        ("body.json", fields.take("body.json")),
        ("body.form", fields.take("body.form")),
        ("body.multipart", fields.take("body.multipart")),
        ("body.text", fields.take("body.text")),
        ("websocket.json", fields.take("websocket.json")),
    ];
    let limit = fields.take("websocket.limit");
    fields.finish(findings);

    let hosts = match (given, hosts) {
        (Some(given), _) => given.to_vec(),
        (None, hosts) => hosts.map_or_else(Vec::new, |hosts| read_hosts(hosts, findings)),
    };
    let mut named = places
        .into_iter()
        .filter_map(|(kind, place)| Some((kind, place?)));
    let Some((kind, place)) = named.next() else {
        findings.fault(
            &node.at,
            "the binding names no place: add `header`, `path`, `query`, `cookie`, `body.json`, `body.form`, \
             `body.multipart`, `body.text` or `websocket.json`",
        );
        return None;
    };
    if let Some((_, second)) = named.next() {
        findings.fault(
            &second.at,
            "one binding names one place: write a second binding for this one",
        );
        return None;
    }
    if let Some(limit) = limit
        && kind != "websocket.json"
    {
        findings.fault(
            &limit.at,
            "a limit of messages belongs to a binding with `websocket.json`",
        );
    }
    let limit = limit.and_then(|limit| limit.integer(1..=LIMIT_MAX, findings));
    let surface = match kind {
        "header" => Surface::Header(read_header(place, findings)?),
        "path" => Surface::Path(read_path(place, findings)?),
        "query" => Surface::Query(read_parameter(place, findings)?),
        "cookie" => Surface::Cookie(read_cookie(place, findings)?),
        "body.json" => Surface::BodyJson(read_body_field(place, findings)?),
        "body.form" => Surface::BodyForm(read_parameter(place, findings)?),
        "body.multipart" => Surface::BodyMultipart(read_part(place, findings)?),
        "body.text" => Surface::BodyText(read_media_type(place, findings)?),
        _ => Surface::WebSocketJson(JsonField {
            limit,
            ..read_field(place, findings)?
        }),
    };
    Some(Binding { hosts, surface })
}

/// A header's name in lower case.
fn read_header(node: &Node, findings: &mut Findings) -> Option<Box<str>> {
    let name = node.text(findings)?.to_ascii_lowercase();
    if !is_token(&name) {
        findings.fault(&node.at, "not the name of a header");
        return None;
    }
    if FRAMING_HEADERS.contains(&name.as_str()) || name.starts_with("sec-websocket-") {
        findings.fault(
            &node.at,
            "a secret cannot stand in a header that frames the message",
        );
        return None;
    }
    Some(name.into())
}

/// RFC 9110 §5.6.2, of a sane length.
fn is_token(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A path with `{secret}` in it.
fn read_path(node: &Node, findings: &mut Findings) -> Option<PathPlace> {
    let text = node.text(findings)?;
    let sane = text.starts_with('/')
        && text.len() <= 256
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#%\\".contains(&byte));
    let mut parts = text.split(SECRET);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(before), Some(after), None) if sane => Some(PathPlace {
            before: before.into(),
            after: after.into(),
        }),
        _ => {
            findings.fault(
                &node.at,
                "expected a path with one `{secret}` in it, such as /bot{secret}/",
            );
            None
        }
    }
}

/// The name of a parameter, as it is before it is encoded.
fn read_parameter(node: &Node, findings: &mut Findings) -> Option<Box<str>> {
    let name = node.text(findings)?;
    if !(1..=128).contains(&name.len()) {
        findings.fault(&node.at, "the name of a parameter has 1 to 128 bytes");
        return None;
    }
    Some(name.into())
}

/// `{op: [2, 6], path: /d/token}` or `{type: auth, path: /token}`: the key beside `path` is the guard's member.
fn read_field(node: &Node, findings: &mut Findings) -> Option<JsonField> {
    let mut fields = node.fields(findings)?;
    let path = fields.require("path", findings);
    let mut guards = fields.rest().into_iter();
    let guard = guards.next();
    for second in guards {
        findings.fault(
            &second.key_at,
            "one guard is allowed: one key beside `path`",
        );
    }
    let path = path.and_then(|path| read_pointer(path, findings));
    let guard = match guard {
        None => None,
        Some(entry) => Some(Guard {
            member: entry.key.clone(),
            values: read_guard_values(&entry.value, findings)?,
        }),
    };
    Some(JsonField {
        path: path?,
        guard,
        limit: None,
    })
}

/// The name of a cookie (RFC 6265 §4.1.1).
fn read_cookie(node: &Node, findings: &mut Findings) -> Option<Box<str>> {
    let name = node.text(findings)?;
    if !is_token(name) {
        findings.fault(&node.at, "not the name of a cookie");
        return None;
    }
    Some(name.into())
}

/// The name of a part, which servers must not read in two ways.
fn read_part(node: &Node, findings: &mut Findings) -> Option<Box<str>> {
    let name = node.text(findings)?;
    let sane = |byte| (b' '..=b'~').contains(&byte) && !b"\"\\%".contains(&byte);
    if !(1..=128).contains(&name.len()) || !name.bytes().all(sane) {
        findings.fault(
            &node.at,
            "the name of a multipart field has 1 to 128 visible ASCII characters other than `\"`, `\\` and `%`",
        );
        return None;
    }
    Some(name.into())
}

/// A media type in lower case, without parameters.
fn read_media_type(node: &Node, findings: &mut Findings) -> Option<Box<str>> {
    let media = node.text(findings)?.to_ascii_lowercase();
    let named = media.split_once('/');
    if !named.is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype)) {
        findings.fault(
            &node.at,
            "expected a media type without parameters, such as text/plain",
        );
        return None;
    }
    let place = match BodyKind::of(&media) {
        BodyKind::Text => return Some(media.into()),
        BodyKind::Messages => {
            findings.fault(
                &node.at,
                "a body of this type is never read: bind the secret to a header, such as authorization",
            );
            return None;
        }
        BodyKind::Json => "body.json",
        BodyKind::Form => "body.form",
        BodyKind::Multipart => "body.multipart",
    };
    findings.fault(
        &node.at,
        format!("a body of this type has fields: name one with `{place}`"),
    );
    None
}

/// A field as [`read_field`] takes it, or its path alone.
fn read_body_field(node: &Node, findings: &mut Findings) -> Option<JsonField> {
    if !node.is_text() {
        return read_field(node, findings);
    }
    Some(JsonField {
        path: read_pointer(node, findings)?,
        guard: None,
        limit: None,
    })
}

/// An integer, a text, or a list of such.
fn read_guard_values(node: &Node, findings: &mut Findings) -> Option<Vec<GuardValue>> {
    let single = std::slice::from_ref(node);
    let items = if node.is_list() {
        node.filled_list(findings)?
    } else {
        single
    };
    if items.len() > MAX_GUARD {
        findings.fault(&node.at, format!("more than {MAX_GUARD} values"));
        return None;
    }
    let values: Vec<_> = items
        .iter()
        .filter_map(|item| read_guard_value(item, findings))
        .collect();
    (values.len() == items.len()).then_some(values)
}

fn read_guard_value(node: &Node, findings: &mut Findings) -> Option<GuardValue> {
    if !node.is_text() {
        return node
            .integer(0..=u64::MAX, findings)
            .map(GuardValue::Integer);
    }
    let text = node.text(findings)?;
    if text.len() > MAX_GUARD_TEXT {
        findings.fault(&node.at, format!("longer than {MAX_GUARD_TEXT} bytes"));
        return None;
    }
    Some(GuardValue::Text(text.into()))
}

/// A JSON pointer (RFC 6901) of member names; array indices have no meaning of their own.
fn read_pointer(node: &Node, findings: &mut Findings) -> Option<Vec<Box<str>>> {
    let text = node.text(findings)?;
    let Some(members) = text.strip_prefix('/') else {
        findings.fault(&node.at, "a JSON pointer begins with `/`, such as /d/token");
        return None;
    };
    let path: Option<Vec<_>> = members.split('/').map(unescape).collect();
    match path {
        Some(path) if path.len() <= MAX_PATH => Some(path),
        Some(_) => {
            findings.fault(&node.at, format!("deeper than {MAX_PATH} members"));
            None
        }
        None => {
            findings.fault(
                &node.at,
                "a member's name in a JSON pointer is empty, longer than 128 bytes, or has a `~` that is neither ~0 nor ~1",
            );
            None
        }
    }
}

/// RFC 6901 §4: `~1` is `/`, then `~0` is `~`.
fn unescape(token: &str) -> Option<Box<str>> {
    let mut pieces = token.split('~');
    let first = pieces.next().unwrap_or_default();
    let mut name = String::from(first);
    for piece in pieces {
        let (character, rest) = match piece.as_bytes().first() {
            Some(b'0') => ('~', piece.get(1..)?),
            Some(b'1') => ('/', piece.get(1..)?),
            _ => return None,
        };
        name.push(character);
        name.push_str(rest);
    }
    (1..=128).contains(&name.len()).then(|| name.into())
}
