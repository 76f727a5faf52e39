//! Plays many cases at a time.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::Result;
use rustls::ClientConfig;

use super::{
    cases::{self, Case},
    client::Target,
    floods,
    servers::{self, Script},
    verdict::{Right, Seen},
};

/// Connections at a time. They wait more than they work.
const AT_ONCE: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// What clients send.
    Cases,
    /// What clients send too much of.
    Floods,
    /// What servers send.
    Servers,
}

#[derive(Clone, Copy, Debug)]
enum Row {
    Client(Case),
    Server(Script),
}

/// How one row ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub name: &'static str,
    /// What is not as it should be.
    pub wrong: Option<String>,
}

/// What is played, and with whom.
#[derive(Clone, Copy, Debug)]
pub struct Players<'p> {
    /// Whom requests are for, unless it is the host that is played with.
    pub host: &'p str,
    pub config: &'p ClientConfig,
    pub resolve: fn(&str) -> Result<SocketAddr>,
}

impl Table {
    fn rows(self) -> Vec<Row> {
        match self {
            Self::Cases => cases::all().into_iter().map(Row::Client).collect(),
            Self::Floods => floods::all().into_iter().map(Row::Client).collect(),
            Self::Servers => servers::all().into_iter().map(Row::Server).collect(),
        }
    }

    /// Plays all rows, or the one of a name, and tells of each.
    pub fn play(self, only: Option<&str>, players: Players<'_>, tell: impl FnMut(Ended) + Send) {
        let mut rows = self.rows();
        rows.retain(|row| only.is_none_or(|name| name == row.name()));
        let next = AtomicUsize::new(0);
        let telling = Mutex::new(tell);
        thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(rows.len()) {
                scope.spawn(|| {
                    while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let wrong = match row.play(players) {
                            Ok(seen) => row.right().judge(&seen).err(),
                            Err(error) => Some(format!("{error:#}")),
                        };
                        let name = row.name();
                        let mut tell = telling.lock().unwrap_or_else(PoisonError::into_inner);
                        tell(Ended { name, wrong });
                    }
                });
            }
        });
    }
}

impl Row {
    fn name(&self) -> &'static str {
        match self {
            Self::Client(case) => case.name,
            Self::Server(script) => script.name,
        }
    }

    fn right(&self) -> Right {
        match self {
            Self::Client(case) => case.right,
            Self::Server(script) => script.right,
        }
    }

    fn play(&self, players: Players<'_>) -> Result<Seen> {
        let host = match self {
            Self::Client(_) => players.host.to_owned(),
            Self::Server(script) => script.host(),
        };
        let target = Target {
            address: (players.resolve)(&host)?,
            host,
            config: players.config,
        };
        match self {
            Self::Client(case) => case.play(&target),
            Self::Server(script) => script.ask(&target),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{RootCertStore, crypto::aws_lc_rs};

    use super::*;
    use crate::frames::recorder::Recorder;

    /// What is in order is that to a server without anything in between.
    #[test]
    fn what_is_to_be_served_is_served_directly() {
        static ADDRESS: std::sync::OnceLock<SocketAddr> = std::sync::OnceLock::new();
        let recorder = Recorder::start().unwrap();
        ADDRESS.set(recorder.address()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(recorder.authority().der()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let players = Players {
            host: "good.example.com",
            config: &config,
            resolve: |_| Ok(*ADDRESS.get().unwrap()),
        };
        let served = cases::all();
        let mut served = served
            .iter()
            .filter(|case| matches!(case.right, Right::Served));
        let mut played = Vec::new();
        Table::Cases.play(None, players, |ended| played.push(ended));
        assert!(served.clone().count() > 20);
        assert!(
            served.all(|case| {
                let ended = played.iter().find(|ended| ended.name == case.name);
                ended.is_some_and(|ended| ended.wrong.is_none())
            }),
            "{played:?}"
        );
    }
}
