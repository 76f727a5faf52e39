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
    /// Sockets and processes from before a sandbox was attached
    Around,
    /// Descriptors that come from elsewhere or go there
    Descriptors,
    /// The daemon's process, files and sockets
    Daemon,
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
    /// As the host's root, if without capabilities.
    pub(super) as_root: bool,
    /// Who helps from the other side, and what that is told.
    pub(super) accomplice: Option<Accomplice>,
    pub(super) control: Control,
    pub(super) expected: Expected,
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
    pub(super) secret: Secret,
    /// Packets leave, and this is why they may.
    pub(super) stated: Option<&'static str>,
}

/// What the daemon keeps of it.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A refusal for one of these reasons.
    Refusal(Vec<&'static str>),
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
        self.stated
            .map_or(Ok(()), |why| write!(f, "; stated: {why}"))
    }
}
