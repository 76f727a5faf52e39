//! The clients, in a place where an unprivileged user can run them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    process::Running,
    programs::{built, client_packages, client_sources, copy},
};

/// What a sandbox holds instead of the token.
pub const PLACEHOLDER: &str = "openshell:resolve:env:DISCORD_BOT_TOKEN";

/// Copies of the clients and of the packages that they need.
#[derive(Clone, Debug)]
pub struct Clients {
    directory: PathBuf,
}

impl Clients {
    /// Copies everything into `directory`.
    ///
    /// # Errors
    /// Something is not built or not installed.
    pub fn install(directory: &Path) -> Result<Self> {
        let directory = directory.join("clients");
        copy(&client_packages()?, &directory)?;
        copy(&client_sources(), &directory)?;
        copy(&built("probe")?, &directory.join("probe"))?;
        Ok(Self { directory })
    }

    /// The npm library `ws`.
    pub fn node(&self) -> Vec<String> {
        vec!["node".into(), self.path("ws-client.mjs")]
    }

    /// The Python library `websockets`. Debian's interpreter: one under a user's home may be out of reach.
    pub fn python(&self) -> Vec<String> {
        vec![
            "env".into(),
            format!("PYTHONPATH={}", self.path("python")),
            "/usr/bin/python3".into(),
            self.path("websockets-client.py"),
        ]
    }

    /// The Rust library `tungstenite` over rustls.
    pub fn rust(&self) -> Vec<String> {
        self.probe(&["login"])
    }

    /// A probe: one question to the network, answered as JSON.
    pub fn probe(&self, arguments: &[&str]) -> Vec<String> {
        let mut all = vec![self.path("probe")];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        all
    }

    /// A bot of the npm library `ws` that stays, resumes, and sends what it reads.
    pub fn session(&self) -> Vec<String> {
        vec!["node".into(), self.path("session.mjs")]
    }

    /// Node's resolver.
    pub fn resolve_with_node(&self, name: &str) -> Vec<String> {
        vec!["node".into(), self.path("resolve.mjs"), name.into()]
    }

    /// A C library's resolver: `compiler` is `cc` for glibc, `musl-gcc` for musl.
    ///
    /// # Errors
    /// The compiler is not installed.
    pub fn resolve_with_c(&self, compiler: &str, name: &str) -> Result<Vec<String>> {
        let program = self.path(&format!("resolve-{compiler}"));
        if !Path::new(&program).exists() {
            let mut command = Command::new(compiler);
            command.args(["-o", &program, &self.path("resolve.c")]);
            Running::spawn(command)?.finish()?.success()?;
        }
        Ok(vec![program, name.into()])
    }

    /// The npm library `ws` with compression, as `server` or `client`.
    pub fn deflating(&self, role: &[&str]) -> Vec<String> {
        let mut all = vec!["node".into(), self.path("deflating.mjs")];
        all.extend(role.iter().map(|argument| (*argument).to_owned()));
        all
    }

    /// Logs in by the Python libraries `websockets` and `erlpack` or `msgpack`: `encoding` is `etf` or `msgpack`.
    pub fn packed(&self, encoding: &str) -> Vec<String> {
        vec![
            "env".into(),
            format!("PYTHONPATH={}", self.path("python")),
            "/usr/bin/python3".into(),
            self.path("packed.py"),
            encoding.into(),
        ]
    }

    /// Opens sockets of every other kind, and tries to leave by a device.
    pub fn sockets(&self, device: &str) -> Vec<String> {
        let script = self.path("sockets.py");
        vec!["/usr/bin/python3".into(), script, device.into()]
    }

    /// Sends datagrams in every way (`send`), asks by one (`ask`), echoes (`serve`), or goes on over TCP (`fall-back`).
    pub fn datagrams(&self, command: &str, host: &str, port: u16) -> Vec<String> {
        vec![
            "/usr/bin/python3".into(),
            self.path("datagrams.py"),
            command.into(),
            host.into(),
            port.to_string(),
        ]
    }

    /// Connects, and sends what it reads from standard input.
    pub fn talker(&self, host: &str, port: u16) -> Vec<String> {
        let script = self.path("talker.py");
        vec![
            "/usr/bin/python3".into(),
            script,
            host.into(),
            port.to_string(),
        ]
    }

    /// Does with sockets what it is told; see [`crate::steps::Steps`].
    pub(crate) fn steps(&self) -> Vec<String> {
        vec!["/usr/bin/python3".into(), self.path("steps.py")]
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}
