//! Bindings: the hosts and the one place at which a secret may stand; what happens to a placeholder anywhere else.

/// What happens to a placeholder that stands where nothing is bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unbound {
    /// It goes on as the harmless text that it is, and is counted.
    #[default]
    Pass,
    /// That, and its connection is remarked upon.
    Record,
    /// What it stands in does not go on.
    Refuse,
}

/// A place in the traffic to a bound host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// A header by its lower-case name: whole value, `<scheme> <placeholder>`, or inside Basic's base64.
    Header(Box<str>),
    /// A segment of a request's path.
    Path(PathPlace),
    /// The value of the parameter of that name in a request's query.
    Query(Box<str>),
    /// The value of the cookie of that name, in a request's Cookie header.
    Cookie(Box<str>),
    /// A string in a request's JSON body.
    BodyJson(JsonField),
    /// The value of the field of that name in a request's URL-encoded form.
    BodyForm(Box<str>),
    /// The value of the field of that name in a request's multipart form.
    BodyMultipart(Box<str>),
    /// Anywhere in a request's body of that media type, which is in lower case and without parameters.
    BodyText(Box<str>),
    /// A string in a JSON text message from the client.
    WebSocketJson(JsonField),
}

/// What a request's body is by its media type, and so where in it a secret may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Json,
    Form,
    Multipart,
    /// Without fields.
    Text,
    /// Messages that are answered one by one: whoever reads the first to its end waits for a second that never comes.
    /// Such a body is carried unread.
    Messages,
}

impl BodyKind {
    /// `media`: in lower case and without parameters.
    pub(crate) fn of(media: &str) -> Self {
        match media {
            _ if media.starts_with("application/grpc") => Self::Messages,
            "application/json" | "text/json" => Self::Json,
            _ if media.ends_with("+json") => Self::Json,
            "application/x-www-form-urlencoded" => Self::Form,
            "multipart/form-data" => Self::Multipart,
            _ => Self::Text,
        }
    }
}

/// Where in a path a secret stands: between two texts that are compared byte by byte. `/bot{secret}/` has `/bot` before
/// and `/` after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPlace {
    /// Begins with a slash.
    pub(crate) before: Box<str>,
    /// Empty, where the secret ends the path. If it ends with a slash, any path may follow.
    pub(crate) after: Box<str>,
}

/// A JSON string at `path`, in a document whose top-level members satisfy `guard`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonField {
    /// Member names from the root, for `/d/token`: `["d", "token"]`. Never empty.
    pub(crate) path: Vec<Box<str>>,
    /// `None`: any document.
    pub(crate) guard: Option<Guard>,
    /// Payload, in bytes, that the other side takes in a message. `None`: not known.
    pub(crate) limit: Option<u64>,
}

/// A top-level member that must be one of some integers or strings: `op: [2, 6]`, `type: auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) member: Box<str>,
    pub(crate) values: Vec<GuardValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GuardValue {
    Integer(u64),
    Text(Box<str>),
}

impl From<u64> for GuardValue {
    fn from(value: u64) -> Self {
        Self::Integer(value)
    }
}
