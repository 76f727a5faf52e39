//! The HTTP clients that most programs are written with notice nothing of interceptor.

use anyhow::{Context as _, Result, ensure};
use tests::{
    alike::{CLIENTS, compare},
    library::{Libraries, Set},
};

fn notice_nothing(names: &[&str]) -> Result<()> {
    let libraries = Libraries::install(Set::Libraries)?;
    for name in names {
        let client = CLIENTS.iter().find(|client| client.name == *name);
        let client = client.context("not in the table")?;
        let alike = compare(&libraries, client).context(client.name)?;
        ensure!(alike.requests > 10, "{name}: {alike:?}");
    }
    Ok(())
}

#[test]
fn curl_behaves_as_without_interceptor() -> Result<()> {
    notice_nothing(&["curl"])
}

#[test]
fn node_behaves_as_without_interceptor() -> Result<()> {
    notice_nothing(&["node fetch"])
}

#[test]
fn python_behaves_as_without_interceptor() -> Result<()> {
    notice_nothing(&["requests", "httpx", "aiohttp"])
}
