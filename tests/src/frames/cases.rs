//! What clients send, a line a case.

mod compression;
mod connection;
mod fields;
mod kinds;

use anyhow::Result;

use super::{
    client::{Client, Target},
    verdict::{Right, Seen},
};

/// What a server may have got of a case's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Not even a head.
    Nothing,
    /// A head perhaps, but no end.
    Incomplete,
    Whole,
    /// Of no interest: what is wrong came behind a request that was right.
    Any,
}

/// One connection of a client.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Of RFC 9113, unless it says otherwise.
    pub section: &'static str,
    pub name: &'static str,
    pub right: Right,
    pub upstream: Upstream,
    /// Preface and SETTINGS go before the script.
    greets: bool,
    script: fn(&mut Client) -> Result<()>,
}

/// A case of which nothing goes to a server, unless it is served.
pub(super) fn case(
    section: &'static str,
    name: &'static str,
    right: Right,
    script: fn(&mut Client) -> Result<()>,
) -> Case {
    let upstream = match right {
        Right::Served => Upstream::Whole,
        _ => Upstream::Nothing,
    };
    Case {
        section,
        name,
        right,
        upstream,
        greets: true,
        script,
    }
}

/// All of them.
pub fn all() -> Vec<Case> {
    [
        connection::cases(),
        kinds::cases(),
        compression::cases(),
        fields::cases(),
    ]
    .concat()
}

impl Case {
    /// The path of its requests, by which a server knows them.
    pub fn path(&self) -> String {
        let name = self.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        format!("/{name}")
    }

    pub(super) fn upstream(self, upstream: Upstream) -> Self {
        Self { upstream, ..self }
    }

    /// The script has the connection to itself from its first byte.
    pub(super) fn alone(self) -> Self {
        Self {
            greets: false,
            ..self
        }
    }

    /// Plays it over a connection of its own.
    ///
    /// # Errors
    /// It could not be played; that it ended wrong is in what was seen.
    pub fn play(&self, target: &Target<'_>) -> Result<Seen> {
        let mut client = Client::connect(target, &self.path())?;
        if self.greets {
            client.greet()?;
        }
        (self.script)(&mut client)?;
        client.conclude(self.right)?;
        Ok(client.seen)
    }
}
