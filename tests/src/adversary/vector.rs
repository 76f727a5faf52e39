//! One way round, and what is to come of it.

use std::fmt;

use serde_json::Value;

use super::stage::Facts;

/// What a vector goes against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// TCP, by whatever call
    Streams,
    /// UDP, by whatever call
    Datagrams,
    /// Families and protocols that are neither
    Families,
    /// Options that lead past routing, and groups
    Options,
    /// Namespaces, cgroups and processes
    Spaces,
    /// Sockets and processes from before a sandbox was attached, or from elsewhere
    Around,
    /// Descriptors that come from elsewhere or go there
    Descriptors,
    /// What a configuration exempts, and what lies beside it
    Exempt,
    /// A container's root with the capabilities of networks, in a namespace of its own
    Armed,
    /// The daemon's process, files and sockets
    Daemon,
    /// What happens to the daemon, its programs and limits meanwhile
    Daring,
    /// What DNS could carry out
    Names,
    /// Names in TLS, HTTP/1.1 and HTTP/2 that are not one's own
    Identity,
    /// Where secrets must not go, and how they could come back
    Release,
}

/// A way round.
pub struct Vector {
    pub name: String,
    pub group: Group,
    /// In words.
    pub tries: &'static str,
    /// The hostile program's name for it, and what it is told.
    pub(super) order: &'static str,
    pub(super) with: Box<dyn Fn(&Facts) -> Value>,
    pub(super) place: Place,
    /// What happens when the program has prepared itself.
    pub(super) meanwhile: Option<Meanwhile>,
    /// Who helps from the other side, and what that is told.
    pub(super) accomplice: Option<Accomplice>,
    pub(super) control: Control,
    /// What this kernel may be without.
    pub(super) may_lack: Vec<Lack>,
    pub(super) expected: Expected,
}

/// Where a vector is tried, and as whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The hostile sandbox.
    Sandbox,
    /// The same, as the host's root, if without capabilities.
    Root,
    /// A sandbox that is not attached before.
    Late,
    /// Beside that one, in no sandbox.
    Beside,
    /// A sandbox of whose users one is exempt: as this one.
    Exempt,
    /// There, as another one.
    Excepted,
    /// A sandbox whose root has capabilities.
    Armed,
    /// A sandbox that may take little of the daemon.
    Bounded,
    /// A sandbox in the daemon's own namespace.
    Hosted,
}

impl Place {
    /// What its sandbox is called.
    pub(super) fn sandbox(self) -> &'static str {
        match self {
            Self::Sandbox | Self::Root => "hostile",
            Self::Late | Self::Beside => "late",
            Self::Exempt | Self::Excepted => "excepted",
            Self::Armed => "armed",
            Self::Bounded => "bounded",
            Self::Hosted => "hosted",
        }
    }

    /// Whether its sandbox is there only while a vector is tried.
    pub(super) fn is_late(self) -> bool {
        matches!(self, Self::Late | Self::Beside)
    }
}

/// What happens between a program's preparation and its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meanwhile {
    /// Its sandbox is attached.
    Attached,
    /// The same, and what is there already is kept.
    Kept,
    /// The process is moved into a sandbox.
    MovedIn,
    /// The same, with sockets, which are found before it goes on.
    MovedInWithSockets,
    /// The process is moved to a cgroup below its sandbox's, which is made for it.
    MovedBelow,
    /// Somebody takes every program off its sandbox.
    LinksLost,
    /// The daemon is killed; it is started again when the attempt is over.
    DaemonKilled,
    /// Another daemon takes over.
    TakenOver,
}

/// What a kernel may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// What is asked for: without a sandbox it is not to be had either.
    Feature,
    /// An operation of io_uring, of which older kernels say that an argument is wrong.
    Operation,
    /// Programs on devices (Linux 6.6): `sandboxes` says so.
    Fence,
}

/// Somebody who is in no sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accomplice {
    /// Takes an unconnected socket from the sandbox, and connects it.
    Connects,
    /// Makes a socket, and hands it in.
    HandsIn,
    /// Dials in from outside.
    DialsIn,
    /// The hostile sandbox does what it may, which has to go well.
    Works,
}

/// What the same attempt comes to without a sandbox, which shows that it is one.
#[derive(Clone, Debug)]
pub(super) enum Control {
    /// Packets leave.
    Leaves,
    /// The program sees one of these.
    Says(Vec<&'static str>),
    /// There is none, because of this.
    None(&'static str),
}

#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// One of these is what the program sees; `*` at the end stands for anything.
    pub(super) said: Vec<&'static str>,
    pub(super) event: Event,
    /// What the event's detail has.
    pub(super) detail: &'static str,
    pub(super) secret: Secret,
    pub(super) stated: Option<Stated>,
}

/// Packets that leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stated {
    /// Why they may.
    pub(super) why: &'static str,
    /// The end that all of them have, as tcpdump writes it: an address, a dot and a port.
    pub(super) end: &'static str,
}

impl Stated {
    pub(super) fn is_of(self, packet: &str) -> bool {
        let end = self.end;
        packet.contains(&format!(" {end} >")) || packet.contains(&format!("> {end}:"))
    }
}

/// What the daemon keeps of it.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A refusal for one of these reasons.
    Refusal(Vec<&'static str>),
    /// A refusal for the reason that goes with the beginning of what the program saw; none: for none.
    ByOutcome(&'static [(&'static str, &'static str)]),
    /// A refusal for this reason; or, where it is not refused, the sandbox is said to be left to seccomp here.
    Watched(&'static str),
    /// Nothing, because of this.
    None(&'static str),
}

/// What becomes of the secret whose placeholder the sandbox has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    /// Arrives nowhere.
    Stays,
    /// Arrives where it is bound to.
    Arrives,
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vector")
            .field("name", &self.name)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// Errors by which a kernel says that it does not have what is asked for.
const LACKING: [&str; 7] = [
    "refused EAFNOSUPPORT",
    "refused EPROTONOSUPPORT",
    "refused ESOCKTNOSUPPORT",
    "refused ENOPROTOOPT",
    "refused ENOTSUP",
    "refused ENOSYS",
    "refused ENODEV",
];

impl Vector {
    /// What this kernel is without, by what a program saw without a sandbox, and by what the sandbox is said to leave open.
    pub(super) fn lacks(
        &self,
        without: Option<&str>,
        doors: &[String],
    ) -> Option<(Lack, &'static str)> {
        let mut may = self.may_lack.iter();
        may.find_map(|lack| Some((*lack, lack.is_lacking(without, doors)?)))
    }
}

impl Lack {
    fn is_lacking(self, without: Option<&str>, doors: &[String]) -> Option<&'static str> {
        match self {
            Self::Feature => {
                let without = without?;
                LACKING.into_iter().find(|lack| without.starts_with(lack))
            }
            Self::Operation => {
                const UNKNOWN: &str = "refused EINVAL";
                (without? == UNKNOWN).then_some(UNKNOWN)
            }
            Self::Fence => doors
                .iter()
                .any(|door| door.contains("packet sockets"))
                .then_some("packet sockets are said to be left to capabilities"),
        }
    }
}

impl Expected {
    pub(super) fn admits(&self, said: &str) -> bool {
        self.said.iter().any(|one| match one.strip_suffix('*') {
            Some(beginning) => said.starts_with(beginning),
            None => said == *one,
        })
    }
}

impl Event {
    /// For what reasons there has to be a refusal, by what the program saw; `None`: for none.
    pub(super) fn reasons(&self, said: &str) -> Option<Vec<&'static str>> {
        match self {
            Self::Refusal(reasons) => Some(reasons.clone()),
            Self::ByOutcome(reasons) => {
                let mut own = reasons.iter();
                own.find(|(beginning, _)| said.starts_with(beginning))
                    .map(|(_, reason)| vec![*reason])
            }
            Self::Watched(reason) if said.starts_with("refused") => Some(vec![reason]),
            Self::Watched(_) | Self::None(_) => None,
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaves => f.write_str("packets leave"),
            Self::Says(said) => f.write_str(&said.join(" or ")),
            Self::None(why) => write!(f, "not tried: {why}"),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said.join(" or "))?;
        match &self.event {
            Event::Refusal(reasons) => write!(f, "; event {}", reasons.join(" or "))?,
            Event::ByOutcome(reasons) => {
                for (said, reason) in *reasons {
                    write!(f, "; event {reason} where {said}")?;
                }
            }
            Event::Watched(reason) => {
                write!(
                    f,
                    "; event {reason}, or a door that is said to be left to seccomp"
                )?;
            }
            Event::None(why) => write!(f, "; no event: {why}")?,
        }
        if self.secret == Secret::Arrives {
            f.write_str("; secret at its host")?;
        }
        if !self.detail.is_empty() {
            write!(f, "; the event says {}", self.detail)?;
        }
        self.stated
            .map_or(Ok(()), |stated| write!(f, "; stated: {}", stated.why))
    }
}
