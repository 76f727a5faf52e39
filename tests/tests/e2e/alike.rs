//! The HTTP clients that most programs are written with notice nothing of interceptor.

use anyhow::{Context as _, Result, ensure};
use tests::{
    alike::{CLIENTS, compare},
    library::{Libraries, Set},
};

fn notice_nothing(libraries: &Libraries, names: &[&str]) -> Result<()> {
    for name in names {
        let client = CLIENTS.iter().find(|client| client.name == *name);
        let client = client.context("not in the table")?;
        let alike = compare(libraries, client).context(client.name)?;
        ensure!(alike.requests > 5, "{name}: {alike:?}");
    }
    Ok(())
}

#[test]
fn curl_behaves_as_without_interceptor() -> Result<()> {
    notice_nothing(
        &Libraries::without_packages(Set::Web)?,
        &["curl", "curl --http2"],
    )
}

#[test]
fn node_behaves_as_without_interceptor() -> Result<()> {
    notice_nothing(&Libraries::without_packages(Set::Web)?, &["node fetch"])
}

#[test]
fn python_behaves_as_without_interceptor() -> Result<()> {
    let libraries = Libraries::install(Set::Web)?;
    notice_nothing(
        &libraries,
        &["requests", "httpx", "httpx, HTTP/2", "aiohttp"],
    )
}

#[test]
fn tonic_behaves_as_without_interceptor() -> Result<()> {
    notice_nothing(&Libraries::without_packages(Set::Web)?, &["tonic"])
}
