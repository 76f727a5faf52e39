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

use anyhow::{Context as _, Result};

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
