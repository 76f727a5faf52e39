//! Bindings: the hosts and the one place at which a secret may stand.

/// A place in the traffic to a bound host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// A header by its lower-case name: whole value, `<scheme> <placeholder>`, or inside Basic's base64.
    Header(Box<str>),
    /// A string in a JSON text message from the client.
    WebSocketJson(JsonField),
}

/// A JSON string at `path`, in a document whose top-level members satisfy `guard`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonField {
    /// Member names from the root, for `/d/token`: `["d", "token"]`. Never empty.
    pub(crate) path: Vec<Box<str>>,
    /// `None`: any document.
    pub(crate) guard: Option<Guard>,
}

/// A top-level member that must be one of some integers: `op: [2, 6]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) member: Box<str>,
    pub(crate) values: Vec<u64>,
}
