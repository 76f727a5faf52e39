//! The usual cast: a gateway, a daemon that knows it, and clients.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    clients::Clients,
    configuration::{Configuration, DISCORD_POLICY},
    daemon::Daemon,
    gateway::{Gateway, Options},
    interrupt,
    leftovers::PREFIX,
};

/// The secret that no sandbox may ever see.
pub const TOKEN: &str = "MTAwMDAwMDAwMDAwMDAwMDAwMQ.GrEaL0.the-real-token-that-stays-outside_42";

/// Everything that a test of the whole way needs. Fields are dropped in order: the daemon before its files.
#[derive(Debug)]
pub struct Scenario {
    pub daemon: Daemon,
    pub gateway: Gateway,
    pub clients: Clients,
    pub configuration: Configuration,
    directory: TempDir,
}

impl Scenario {
    /// A sandbox `demo` that may talk to Discord, which is the gateway, with the secret `DISCORD_BOT_TOKEN`.
    ///
    /// # Errors
    /// Something does not come up.
    pub fn discord() -> Result<Self> {
        Self::with(Options::new(TOKEN), |configuration, _| configuration)
    }

    /// As [`Self::discord`], with another gateway and more in the configuration.
    ///
    /// # Errors
    /// Something does not come up.
    pub fn with(
        options: Options,
        more: impl FnOnce(Configuration, &Gateway) -> Configuration,
    ) -> Result<Self> {
        let directory = directory()?;
        let gateway = Gateway::start(options)?;
        let configuration = more(discord(&gateway), &gateway);
        let daemon = Daemon::start(&configuration.write(directory.path())?, directory.path())?;
        Ok(Self {
            clients: Clients::install(directory.path())?,
            daemon,
            gateway,
            configuration,
            directory,
        })
    }

    /// Where the configuration and everything else lies.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// The configuration of a sandbox `demo` that may talk to Discord, which is the gateway.
pub fn discord(gateway: &Gateway) -> Configuration {
    Configuration::default()
        .secret("DISCORD_BOT_TOKEN", gateway.token(), "discord")
        .sandbox("demo", DISCORD_POLICY, &["DISCORD_BOT_TOKEN"])
        .resolve("gateway.discord.gg", gateway.address())
        .resolve("discord.com", gateway.address())
        .root(gateway.authority().pem())
}

/// A temporary directory that everybody may enter.
///
/// # Errors
/// There is no space for it, or a signal came: nothing begins after that.
pub fn directory() -> Result<TempDir> {
    interrupt::check()?;
    let directory = tempfile::Builder::new()
        .prefix(&format!("{PREFIX}-{}-", std::process::id()))
        .tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}
