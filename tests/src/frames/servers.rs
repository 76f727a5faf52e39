//! What servers send, a line a script. The name of the host chooses it.

mod answers;
mod protocol;

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    INITIAL_WINDOW_SIZE,
    client::{Client, Target},
    server::Server,
    settings,
    verdict::{Right, Seen},
};

/// Hosts of this domain are hostile.
pub const DOMAIN: &str = "hostile.example.com";

/// What one server does, and what its client gets to see of it.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub name: &'static str,
    pub right: Right,
    /// Requests that the client makes at once.
    requests: u32,
    /// They have a body, which does not end.
    posts: bool,
    /// The client opens its windows late.
    slow: bool,
    /// SETTINGS go, and a request comes, before the script.
    greets: bool,
    serve: fn(&mut Server) -> Result<()>,
}

pub(super) fn script(
    name: &'static str,
    right: Right,
    serve: fn(&mut Server) -> Result<()>,
) -> Script {
    Script {
        name,
        right,
        requests: 1,
        posts: false,
        slow: false,
        greets: true,
        serve,
    }
}

/// All of them.
pub fn all() -> Vec<Script> {
    [answers::scripts(), protocol::scripts()].concat()
}

impl Script {
    /// The name of its host.
    pub fn host(&self) -> String {
        let label = self.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        format!("{}.{DOMAIN}", label.to_ascii_lowercase())
    }

    pub(super) fn alone(self) -> Self {
        Self {
            greets: false,
            ..self
        }
    }

    pub(super) fn posted(self) -> Self {
        Self {
            posts: true,
            ..self
        }
    }

    pub(super) fn slowly(self) -> Self {
        Self { slow: true, ..self }
    }

    pub(super) fn requests(self, requests: u32) -> Self {
        Self { requests, ..self }
    }

    /// The server's part.
    ///
    /// # Errors
    /// It could not be played, mostly since the client has gone.
    pub(super) fn play(&self, server: &mut Server) -> Result<()> {
        if self.greets {
            server.greet(&[])?;
            server.request()?;
        }
        (self.serve)(server)?;
        server.linger()
    }

    /// The client's part.
    ///
    /// # Errors
    /// It could not be played; that it ended wrong is in what was seen.
    pub fn ask(&self, target: &Target<'_>) -> Result<Seen> {
        let mut client = Client::connect(target, "/")?;
        client.greet()?;
        if self.slow {
            client.send(&settings(&[(INITIAL_WINDOW_SIZE, 0)]))?;
        }
        for number in 0..self.requests {
            if self.posts {
                client.post(2 * number + 1)?;
            } else {
                client.get(2 * number + 1)?;
            }
        }
        if self.slow {
            thread::sleep(Duration::from_millis(500));
            client.send(&settings(&[(INITIAL_WINDOW_SIZE, 65_535)]))?;
        }
        client.conclude(self.right)?;
        Ok(client.seen)
    }
}
