//! Snapshots for the control API, read back by the command line.
//!
//! `comm`, names and ends come from inside a sandbox: whoever prints them escapes them.

use std::{collections::BTreeMap, net::SocketAddr, time::SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// One connection, live or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConnectionView {
    /// The process that finishes it, where another daemon has taken over since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) draining: Option<u32>,
    pub(crate) id: u64,
    pub(crate) sandbox_id: u32,
    pub(crate) sandbox: String,
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) comm: String,
    /// Where the client asked to go.
    pub(crate) destination: SocketAddr,
    pub(crate) sni: Option<String>,
    /// `deny`, `tunnel` or `intercept`; `None` until decided.
    pub(crate) verdict: Option<String>,
    pub(crate) rule: Option<String>,
    /// `tls`, `http`, `websocket`, `tcp` or `dns`.
    pub(crate) protocol: Option<String>,
    /// Client to server.
    pub(crate) sent: DirectionView,
    /// Server to client.
    pub(crate) received: DirectionView,
    /// Placeholders that became secrets, by the secret's name.
    pub(crate) rewrites: BTreeMap<String, u64>,
    /// Placeholders that went on as they were, outside their binding.
    pub(crate) placeholders_passed: u64,
    /// Secrets that came back and became placeholders again.
    pub(crate) redactions: u64,
    /// What else an operator should know, in words.
    pub(crate) remarks: Vec<String>,
    /// Messages of an unknown format that mention a placeholder and went on as they were.
    pub(crate) opaque_messages: u64,
    /// The connection to the server is one that another client of the sandbox has left.
    pub(crate) upstream_reused: bool,
    pub(crate) dial_us: Option<u64>,
    pub(crate) upstream_handshake_us: Option<u64>,
    pub(crate) client_handshake_us: Option<u64>,
    /// When the client called connect(): RFC 3339, UTC.
    pub(crate) start: String,
    /// From accept to the end, or until now.
    pub(crate) duration_ms: u64,
    pub(crate) live: bool,
    /// How it ended; `None` while it lives.
    pub(crate) end: Option<String>,
}

/// What went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DirectionView {
    pub(crate) bytes: u64,
    /// WebSocket data messages, HTTP requests or responses.
    pub(crate) messages: u64,
}

/// Counters since the daemon started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TotalsView {
    pub(crate) opened: u64,
    pub(crate) live: u64,
    /// By reason.
    pub(crate) denied: BTreeMap<String, u64>,
    pub(crate) dns_answered: u64,
    pub(crate) dns_refused: u64,
    pub(crate) sent: DirectionView,
    pub(crate) received: DirectionView,
    /// By the secret's name.
    pub(crate) rewrites: BTreeMap<String, u64>,
    pub(crate) placeholders_passed: u64,
    /// Secrets that came back and became placeholders again.
    pub(crate) redactions: u64,
    pub(crate) opaque_messages: u64,
    /// Connections for which one to the server was reused.
    pub(crate) upstreams_reused: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxTotalsView {
    pub(crate) sandbox_id: u32,
    pub(crate) sandbox: String,
    #[serde(flatten)]
    pub(crate) totals: TotalsView,
}

/// One refusal, or the same one several times within a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventView {
    /// The process of the daemon that refused.
    #[serde(default)]
    pub(crate) daemon: u32,
    /// Counts up, in the daemons that come after this one as well.
    pub(crate) id: u64,
    /// Of the first: RFC 3339, UTC.
    pub(crate) at: String,
    pub(crate) count: u64,
    pub(crate) sandbox_id: Option<u32>,
    pub(crate) sandbox: Option<String>,
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) comm: String,
    pub(crate) destination: Option<SocketAddr>,
    /// The SNI, or the name that was asked for.
    pub(crate) name: Option<String>,
    /// The connection's number, if it came that far.
    pub(crate) connection: Option<u64>,
    pub(crate) reason: String,
    pub(crate) detail: String,
}

/// `2026-01-31T23:59:59.123Z` (RFC 3339 §5.6).
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_rfc3339_in_utc() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!(rfc3339(at(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(at(951_782_399_007)), "2000-02-28T23:59:59.007Z");
        assert_eq!(rfc3339(at(1_709_164_800_000)), "2024-02-29T00:00:00.000Z");
    }
}
