//! HTTP clients that must not notice interceptor: each runs once beside its server with the real secret, and once in a
//! sandbox with a placeholder. What it prints, and what the server sees of it, has to be the same.

mod difference;
mod table;

use std::{fmt, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD as STANDARD};

use self::difference::difference;
pub use self::table::{CLIENTS, Client};
use crate::{
    bytes,
    cage::Cage,
    configuration::Configuration,
    daemon::Daemon,
    library::Libraries,
    logs,
    netns::Netns,
    process::{PATIENCE, Running},
    sandbox::Sandbox,
    scenario::directory,
    site::{Seen, Site, Versions},
};

/// What stands for the secret in the sandbox.
const PLACEHOLDER: &str = "openshell:resolve:env:TOKEN";

/// How a client got on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alike {
    /// Requests that it made.
    pub requests: usize,
    /// Of these, in HTTP/2.
    pub in_http2: usize,
}

impl fmt::Display for Alike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, in_http2 } = self;
        write!(f, "{requests}, {in_http2} of them in HTTP/2")
    }
}

/// Runs a client both ways, and compares.
///
/// # Errors
/// It fails, or there is a difference: the message says which.
pub fn compare(libraries: &Libraries, client: &Client) -> Result<Alike> {
    let place = directory()?;
    let site = Site::start(client.versions)?;
    let service = client.service;

    let cage = Cage::new(service.hosts, site.authority(), |listener| {
        site.listen(listener)
    })?;
    let home = home(place.path(), "direct")?;
    let mut command = cage.command(&libraries.command(client.runtime)?)?;
    equip(&mut command, client, &home, service.secret);
    let direct = Running::spawn(command)?.finish_within(PATIENCE * 2)?;
    let direct = direct.success().context("direct")?;
    let asked = site.take();
    ensure!(
        asked.iter().any(|seen| holds(seen, service.secret)),
        "the client never uses its secret"
    );

    let daemon = Daemon::start(
        &configuration(client, &site).write(place.path())?,
        place.path(),
    )?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&daemon, "demo", &[&netns])?;
    let home = self::home(place.path(), "through")?;
    let mut command = sandbox.command(&netns, &libraries.command(client.runtime)?)?;
    equip(&mut command, client, &home, PLACEHOLDER);
    let through = Running::spawn(command)?.finish_within(PATIENCE * 2)?;
    let through = through
        .success()
        .with_context(|| format!("through interceptor, which said:\n{}", daemon.log()))?;
    let carried = site.take();

    for text in [&through.stdout, &through.stderr, &daemon.log()] {
        logs::assert_absent(text, service.secret)?;
    }
    let mut lines = zip_longest(direct.stdout.lines(), through.stdout.lines());
    if let Some((direct, through)) = lines.find(|(direct, through)| direct != through) {
        bail!("it printed {direct:?}, and {through:?} through interceptor");
    }
    if let Some(difference) = difference(client, &asked, &carried) {
        bail!("{difference}");
    }
    let in_http2 = carried.iter().filter(|seen| seen.version == "HTTP/2");
    let in_http2 = in_http2.count();
    ensure!(
        in_http2 > 0 || client.versions == Versions::Http1,
        "the client never speaks HTTP/2"
    );
    Ok(Alike {
        requests: carried.len(),
        in_http2,
    })
}

/// A sandbox `demo` that may talk to everything that the client needs, which is the site.
fn configuration(client: &Client, site: &Site) -> Configuration {
    let service = client.service;
    let endpoints = service.hosts.iter().map(|host| {
        format!(
            "      - {{ host: {host}, port: 443, protocol: rest, enforcement: enforce, access: full }}\n"
        )
    });
    let endpoints: String = endpoints.collect();
    let policy = format!(
        "version: 1\nnetwork_policies:\n  site:\n    name: site\n    endpoints:\n{endpoints}"
    );
    let mut configuration = Configuration::default()
        .bound_secret("TOKEN", service.secret, service.bound)
        .sandbox("demo", &policy, &["TOKEN"])
        .root(site.authority().pem());
    for host in service.hosts {
        configuration = configuration.resolve(host, site.address());
    }
    configuration
}

/// Pairs, until both have ended.
fn zip_longest<'t>(
    one: impl Iterator<Item = &'t str>,
    other: impl Iterator<Item = &'t str>,
) -> impl Iterator<Item = (Option<&'t str>, Option<&'t str>)> {
    let (mut one, mut other) = (one, other);
    std::iter::from_fn(move || {
        let pair = (one.next(), other.next());
        (pair != (None, None)).then_some(pair)
    })
}

/// A directory that anybody may write to.
fn home(place: &Path, name: &str) -> Result<std::path::PathBuf> {
    let home = place.join(name);
    fs::create_dir(&home)?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777))?;
    Ok(home)
}

fn equip(command: &mut Command, client: &Client, home: &Path, token: &str) {
    if client.versions == Versions::Both {
        command.env("HTTP2", "1");
    }
    command
        .env("HOME", home)
        .env("TOKEN", token)
        .env_remove("DISCORD_BOT_TOKEN")
        .current_dir(home);
}

/// A password in Basic counts as well.
fn holds(seen: &Seen, secret: &str) -> bool {
    let basic = seen.header("authorization").and_then(|value| {
        let coded = value.strip_prefix(b"Basic ")?;
        STANDARD.decode(coded).ok()
    });
    let values = seen.headers.iter().map(|(_, value)| value.as_slice());
    let all = values.chain([seen.target.as_bytes(), &seen.body]);
    all.chain(basic.as_deref())
        .any(|bytes| bytes::holds(bytes, secret.as_bytes()))
}
