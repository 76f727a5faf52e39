//! A place where unmodified clients find a gateway under its real name and port, without interceptor.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{gateway::Gateway, netns::Netns, scenario::directory};

/// A namespace with only `lo`, where a gateway listens on 127.0.0.1:443 and /etc/hosts leads to it.
#[derive(Debug)]
pub struct Cage {
    netns: Netns,
    hosts: PathBuf,
    authority: PathBuf,
    _directory: TempDir,
}

impl Cage {
    /// # Errors
    /// No namespace to be had.
    pub fn around(gateway: &Gateway) -> Result<Self> {
        let directory = directory()?;
        let netns = Netns::new()?;
        gateway.listen(netns.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 443)))?)?;
        let hosts = directory.path().join("hosts");
        fs::write(
            &hosts,
            "127.0.0.1 localhost gateway.discord.gg discord.com\n",
        )?;
        let authority = directory.path().join("gateway-ca.pem");
        gateway.authority().write_pem(&authority)?;
        Ok(Self {
            netns,
            hosts,
            authority,
            _directory: directory,
        })
    }

    /// A command inside, as `nobody`, that trusts the gateway's authority.
    ///
    /// # Errors
    /// `arguments` is empty.
    pub fn command(&self, arguments: &[String]) -> Result<Command> {
        let (program, rest) = arguments.split_first().context("nothing to run")?;
        let mut command = self.netns.command("unshare");
        command
            .args(["--mount", "sh", "-c"])
            .args([r#"mount --bind "$0" /etc/hosts && exec "$@""#])
            .arg(&self.hosts)
            .args(["setpriv", "--reuid=65534", "--regid=65534"])
            .args(["--clear-groups", "--inh-caps=-all", "--", program])
            .args(rest)
            .env("NODE_EXTRA_CA_CERTS", &self.authority)
            .env("SSL_CERT_FILE", &self.authority)
            .current_dir("/");
        Ok(command)
    }
}
