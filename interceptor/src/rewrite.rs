//! Finds placeholders and puts secrets in their place. Sans-IO.
//!
//! | file | job |
//! |---|---|
//! | `grammar` | what a placeholder looks like |
//! | `matcher` | finds placeholders in a stream of bytes, split anywhere |
//! | `trail` | knows on which fields' paths a place in a document lies |
//! | `json` | knows at which member of a JSON document a byte stands |
//! | `document` | puts secrets into the bound fields of one JSON text, whole or streamed |
//! | `binary` | puts secrets into the same fields of binary messages |
//! | `header` | puts secrets into a header's value |
//! | `cookie` | puts secrets into single cookies |
//! | `target` | puts secrets into a request's path and query |
//! | `body` | puts secrets into a request's body: JSON, forms, text |
//! | `outcome` | what becomes of either |
//! | `encode` | the forms that a secret takes on its surface |
//! | `release` | which secret may stand where on this connection |
//! | `reflection` | puts placeholders back where a server repeats a secret |
//! | `standing` | whether it still may, after a reload |

use zeroize::Zeroizing;

pub(crate) mod binary;
pub(crate) mod body;
pub(crate) mod cookie;
pub(crate) mod document;
pub(crate) mod encode;
pub(crate) mod grammar;
pub(crate) mod header;
pub(crate) mod json;
pub(crate) mod matcher;
pub(crate) mod outcome;
pub(crate) mod reflection;
pub(crate) mod release;
pub(crate) mod standing;
pub(crate) mod target;
pub(crate) mod trail;

/// A placeholder stands at a bound place, but no secret can be put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unresolvable {
    #[error("the placeholder's secret is bound to another host")]
    BoundElsewhere,
    #[error("the placeholder names no secret that may stand at this place")]
    Unavailable,
    #[error("the placeholder stands beside other text, where no secret can be put in")]
    Misplaced,
    #[error("there are more than {RELEASES_MAX} placeholders")]
    TooMany,
}

/// Secrets that one message, or one request, may take; two are in use by known protocols. Bounds what a small
/// text can grow to.
pub(crate) const RELEASES_MAX: usize = 16;

/// Makes room for `more` bytes, and leaves no copy of what is there behind on the heap.
pub(crate) fn make_room(out: &mut Zeroizing<Vec<u8>>, more: usize) {
    let needed = out.len() + more;
    if needed <= out.capacity() {
        return;
    }
    let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(out.capacity() * 2)));
    larger.extend_from_slice(out);
    // The old one is wiped as it goes.
    *out = larger;
}

/// Appends `text`, and leaves no copy of what is there behind.
pub(crate) fn append(text: &[u8], out: &mut Zeroizing<Vec<u8>>) {
    make_room(out, text.len());
    out.extend_from_slice(text);
}

impl Unresolvable {
    /// The name that OpenShell's clients know, for an error body or a close reason.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::BoundElsewhere => "credential_endpoint_mismatch",
            Self::Unavailable | Self::Misplaced => "credential_unavailable",
            Self::TooMany => "credential_count",
        }
    }
}
