//! Requests and answers of the control interface, the same types on both sides.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `GET /v1/info` | | [`Info`] |
//! | `GET /v1/sandboxes` | | `[`[`SandboxView`]`]` |
//! | `POST /v1/sandboxes` | [`AttachRequest`] | [`SandboxView`] |
//! | `POST /v1/sandboxes/detach` | [`DetachRequest`] | [`SandboxView`] as it was |
//! | `GET /v1/connections`, `?ended=true` | | `[`[`ConnectionView`](crate::stats::view::ConnectionView)`]` |
//! | `GET /v1/events`, `?sandbox=NAME`, `?after=ID`, `?seen=PID:ID` | | `[`[`EventView`]`]`, the oldest first, also of daemons that drain; behind an event's number, or behind that of a daemon's, only such as change no more, to be asked for again |
//! | `GET /v1/stats` | | [`StatsView`] |
//! | `POST /v1/reload` | | [`ReloadView`] |
//! | `POST /v1/orders` | [`Order`] | `null`, of a daemon that drains |
//! | `GET /healthz`, `GET /readyz` | | [`HealthView`] |
//!
//! Every other status than 200 comes with an [`ErrorView`].

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    locate::{Identity, Target},
    stats::view::{EventView, SandboxTotalsView, TotalsView},
};

pub(super) const INFO: &str = "/v1/info";
pub(super) const SANDBOXES: &str = "/v1/sandboxes";
pub(super) const DETACH: &str = "/v1/sandboxes/detach";
pub(super) const CONNECTIONS: &str = "/v1/connections";
pub(super) const ENDED: &str = "ended=true";
pub(super) const EVENTS: &str = "/v1/events";
pub(super) const SANDBOX: &str = "sandbox";
pub(super) const AFTER: &str = "after";
pub(super) const SEEN: &str = "seen";
pub(super) const STATS: &str = "/v1/stats";
pub(super) const RELOAD: &str = "/v1/reload";
pub(super) const ORDERS: &str = "/v1/orders";
pub(super) const HEALTH: &str = "/healthz";
pub(super) const READY: &str = "/readyz";

/// A cgroup becomes a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AttachRequest {
    /// Selects policies and secrets in the configuration.
    pub(crate) name: String,
    pub(crate) target: Target,
    /// Names of secrets of the configuration, beyond those that it gives the sandbox.
    #[serde(default)]
    pub(crate) secrets: Vec<String>,
    /// Whether sockets from before go on; else the configuration says so, or they are destroyed.
    #[serde(default)]
    pub(crate) keep_existing: bool,
}

/// A sandbox is to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DetachRequest {
    /// By its name or number.
    Sandbox(String),
    /// By what it was made from.
    Target(Target),
}

/// What a daemon that only finishes its connections is told by the one that has taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Connections are held against this configuration from now on.
    Follow { config: PathBuf },
    /// A sandbox was detached: its connections end.
    Dismiss { sandbox: u32 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxView {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) cgroup: PathBuf,
    pub(crate) cgroup_id: u64,
    /// The pod, container or unit that it is.
    #[serde(default)]
    pub(crate) identity: Option<Identity>,
    pub(crate) netns: Vec<NetnsView>,
    /// Policy files, as the configuration names them.
    pub(crate) policies: Vec<String>,
    /// Secrets by the configuration.
    pub(crate) secrets: Vec<String>,
    /// Secrets that attach added.
    pub(crate) secret_keys: Vec<String>,
    /// From elsewhere: those that are kept, or cannot be stopped; in the answer to attach, all that were found.
    #[serde(default)]
    pub(crate) sockets: Vec<SocketView>,
    /// What the programs cannot watch on this kernel, and is left to seccomp.
    #[serde(default)]
    pub(crate) doors: Vec<String>,
    /// What weakens the containment: capabilities in the sandbox, sockets from before.
    pub(crate) warnings: Vec<String>,
    /// What goes past the daemon, as configured.
    #[serde(default)]
    pub(crate) exemptions: Vec<ExemptionView>,
    /// Refusals by the kernel's programs since it was attached.
    #[serde(default)]
    pub(crate) kernel_denials: u64,
    /// RFC 3339, UTC.
    pub(crate) attached_at: String,
    pub(crate) live_connections: u64,
}

/// A socket that was not made in the sandbox while it was one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SocketView {
    /// `destroyed`, `fenced`, `kept` or `loose`.
    pub(crate) fate: String,
    /// `tcp`, `udp`, `family 17`.
    pub(crate) protocol: String,
    pub(crate) listens: bool,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) remote: Option<SocketAddr>,
    /// In the sandbox.
    pub(crate) holders: Vec<HolderView>,
    /// All that in words.
    pub(crate) description: String,
}

/// A process that has a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HolderView {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) comm: String,
    pub(crate) descriptor: i32,
}

/// A destination of a sandbox, or processes in it, that the programs let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExemptionView {
    /// In words.
    pub(crate) what: String,
    /// Connects, datagrams, or sockets of the processes.
    pub(crate) uses: u64,
}

/// A network namespace with listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetnsView {
    pub(crate) cookie: u64,
    pub(crate) port: u16,
    pub(crate) ipv6: bool,
    /// Only the sandbox lives there.
    pub(crate) private: bool,
    /// Nothing but answers leaves by its devices, whatever socket it comes from.
    #[serde(default)]
    pub(crate) fenced: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatsView {
    /// When the daemon started to count: RFC 3339, UTC.
    pub(crate) since: String,
    #[serde(flatten)]
    pub(crate) counts: CountsView,
    /// The last events, oldest first.
    pub(crate) denials: Vec<EventView>,
    /// Daemons that this one has taken over from, as long as they have connections.
    #[serde(default)]
    pub(crate) draining: Vec<DrainingView>,
}

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RejectionView {
    /// RFC 3339, UTC: of the first refusal since one was taken.
    pub(crate) since: String,
    /// Of the last one.
    pub(crate) error: String,
    /// Its faults, one line each.
    pub(crate) detail: Vec<String>,
}

/// All that are numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CountsView {
    pub(crate) overall: TotalsView,
    pub(crate) sandboxes: Vec<SandboxTotalsView>,
    /// Counters of the cgroup programs, by name.
    pub(crate) kernel: BTreeMap<String, u64>,
    /// The configuration as it stands in the files is not what the daemon goes by.
    #[serde(default)]
    pub(crate) rejected: Option<RejectionView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainingView {
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) live_connections: u64,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReloadView {
    /// One line each; empty: the configuration says what it said before.
    pub(crate) changed: Vec<String>,
    /// Fields of policy files that are not acted upon, one line each.
    pub(crate) reports: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Info {
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// Of its own, not those of daemons that drain.
    #[serde(default)]
    pub(crate) live_connections: u64,
    pub(crate) config: PathBuf,
    /// Our CA's certificate, readable by all.
    pub(crate) ca_certificate: PathBuf,
    /// The system's roots and our CA's certificate, readable by all.
    pub(crate) ca_bundle: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthView {
    /// `ok`
    pub(crate) status: String,
    /// What an operator should see to all the same, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) remarks: Vec<String>,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorView {
    /// One line.
    pub(crate) error: String,
    /// More lines: every fault of a configuration.
    #[serde(default)]
    pub(crate) detail: Vec<String>,
}
