//! The same over HTTP.

use anyhow::{Error, Result, ensure};

use super::{FIRST, FLAT, Figure, Load, growth};
use crate::{
    bench::{
        VERSIONS, content,
        order::{Framing, Place, Version, Work},
        stand::{API, Client, PLAIN, Stand},
    },
    memory,
    scenario::TOKEN,
};

/// What is sent before the long one: what the first of its kind takes is not the long one's.
const SHORT: u64 = 200_000;

/// What an idle connection may take, after a request that put a secret in: beside two TLS sessions what would put its
/// placeholder back, and in HTTP/2 the tables and queues of two more sessions.
fn idle_limit(version: Version) -> u64 {
    match version {
        Version::Http1 => 56 << 10,
        Version::Http2 => 90 << 10,
    }
}

pub(super) fn measure(load: &Load) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let connections = load.connections;
    let mib = load.body >> 20;
    for version in VERSIONS {
        let stand = Stand::new()?;
        figures.push(Figure {
            what: format!("each of {connections} idle connections, {version}"),
            bytes: idle(&stand, version, connections)?,
            limit: idle_limit(version),
        });
        for (what, way) in [
            ("up", Way::Up(None)),
            ("up, token first", Way::Up(Some(Place::First))),
            ("up, token last", Way::Up(Some(Place::Last))),
            ("down after a secret", Way::Down(Framing::Sized)),
            ("down in chunks after a secret", Way::Down(Framing::Chunked)),
            ("down as gzip after a secret", Way::Down(Framing::Gzip)),
        ] {
            let mut client = stand.through()?;
            way.go(&mut client, version, SHORT)?;
            let bytes = growth(stand.daemon(), || way.go(&mut client, version, load.body))?;
            figures.push(Figure {
                what: format!("a body of {mib} MiB {what}, {version}"),
                bytes,
                limit: FLAT,
            });
        }
    }
    Ok(figures)
}

#[derive(Clone, Copy)]
enum Way {
    Up(Option<Place>),
    Down(Framing),
}

impl Way {
    fn go(self, client: &mut Client, version: Version, bytes: u64) -> Result<()> {
        let sent = |token| Ok::<_, Error>(content::json(bytes, token)?.length());
        let (host, bearer, work, expected) = match self {
            Self::Up(token) => {
                let host = if token.is_some() { API } else { PLAIN };
                let received = sent(token.map(|place| (place, TOKEN)))?;
                (host, false, Work::Upload { bytes, token }, received)
            }
            Self::Down(framing) => {
                let expected = match framing {
                    Framing::Gzip => bytes,
                    Framing::Sized | Framing::Chunked => sent(None)?,
                };
                (API, true, Work::Download { bytes, framing }, expected)
            }
        };
        let answer = client.order(host, version, bearer, work)?;
        ensure!(
            answer.bytes == expected,
            "{} bytes of {expected} arrived",
            answer.bytes
        );
        Ok(())
    }
}

fn idle(stand: &Stand, version: Version, connections: u64) -> Result<u64> {
    let daemon = stand.daemon().pid()?;
    // Their connections stand until they are dropped.
    let (mut first, mut counted) = (stand.through()?, stand.through()?);
    hold(&mut first, version, FIRST)?;
    let before = memory::resident(daemon)?;
    hold(&mut counted, version, connections)?;
    let held = memory::resident(daemon)?.saturating_sub(before);
    Ok(held / connections)
}

fn hold(client: &mut Client, version: Version, connections: u64) -> Result<()> {
    let connections = u32::try_from(connections)?;
    client.order(API, version, true, Work::Hold { connections })?;
    Ok(())
}
