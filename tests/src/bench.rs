//! What interceptor adds: the same work done direct and through it, in turns, by one client and one server.

pub mod client;
mod clock;
pub(crate) mod content;
pub mod cpu;
pub mod order;
mod plan;
mod row;
mod server;
mod spread;
pub mod stand;

use anyhow::{Context as _, Result, ensure};

use self::{
    order::Work,
    stand::{API, PLAIN, SOCKET, Stand, TUNNEL},
};
pub use self::{
    plan::VERSIONS,
    row::{Figure, HEAD, LATEST_EVENT},
};
use crate::interrupt;

/// Measures all rows, each as it comes told to `done`. `quick`: that it works, not how fast.
///
/// # Errors
/// Something does not come up or does not arrive.
pub fn measure(quick: bool, mut done: impl FnMut(&Figure)) -> Result<Vec<Figure>> {
    let stand = Stand::new()?;
    let (mut direct, mut through) = (stand.direct()?, stand.through()?);
    // Certificates are made, names are resolved, pages are there.
    for host in [API, PLAIN, SOCKET, TUNNEL] {
        for client in [&mut direct, &mut through] {
            let work = Work::Connect { connections: 3 };
            client.order(host, order::Version::Http1, false, work)?;
        }
    }
    // Otherwise rows say something else than they measure.
    let connections = stand.daemon().connections()?;
    for (host, verdict) in [
        (API, "intercept"),
        (PLAIN, "intercept"),
        (SOCKET, "intercept"),
        (TUNNEL, "tunnel"),
    ] {
        let own = connections.iter().filter(|one| one["sni"] == host);
        let verdicts: Vec<_> = own.map(|one| &one["verdict"]).collect();
        ensure!(
            !verdicts.is_empty() && verdicts.iter().all(|one| *one == verdict),
            "{host}: {verdicts:?}"
        );
    }
    let mut figures = Vec::new();
    for row in plan::rows(quick) {
        interrupt::check()?;
        let figure = row
            .measure(&stand, &mut direct, &mut through)
            .with_context(|| row.what.clone())?;
        done(&figure);
        figures.push(figure);
    }
    Ok(figures)
}
