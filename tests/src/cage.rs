//! A place where unmodified clients find a server under its real name and port, without interceptor.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{gateway::Gateway, netns::Netns, pki::Authority, programs::trust, scenario::directory};

/// A namespace with only `lo`, where a server listens on 127.0.0.1:443 and /etc/hosts leads to it.
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
        let hosts = ["gateway.discord.gg", "discord.com"];
        Self::new(&hosts, gateway.authority(), |listener| {
            gateway.listen(listener)
        })
    }

    /// `serve` gets the listener of the server, which has a certificate of `authority` for each of `hosts`.
    ///
    /// # Errors
    /// No namespace to be had.
    pub fn new(
        hosts: &[&str],
        authority: &Authority,
        serve: impl FnOnce(TcpListener) -> Result<()>,
    ) -> Result<Self> {
        let directory = directory()?;
        let netns = Netns::new()?;
        serve(netns.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 443)))?)?;
        let path = directory.path().join("hosts");
        fs::write(&path, format!("127.0.0.1 localhost {}\n", hosts.join(" ")))?;
        let pem = directory.path().join("server-ca.pem");
        authority.write_pem(&pem)?;
        Ok(Self {
            netns,
            hosts: path,
            authority: pem,
            _directory: directory,
        })
    }

    /// A command inside, as `nobody`, that trusts the server's authority.
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
            .envs(trust(&self.authority, &self.authority))
            .current_dir("/");
        Ok(command)
    }
}
