//! Configuration files for the daemon under test.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// Policy for Discord as OpenShell writes it.
pub const DISCORD_POLICY: &str = "\
version: 1
network_policies:
  discord:
    name: discord
    endpoints:
      - host: gateway.discord.gg
        port: 443
        protocol: websocket
        enforcement: enforce
        access: full
      - host: discord.com
        port: 443
        protocol: rest
        enforcement: enforce
        access: full
";

/// Builds an `interceptor.yaml` with everything that it names.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    secrets: Vec<Secret>,
    sandboxes: Vec<Sandbox>,
    resolve: Vec<(String, String)>,
    name_servers: Vec<String>,
    roots: Vec<String>,
    more: Vec<String>,
}

#[derive(Clone)]
struct Secret {
    name: String,
    value: String,
    /// YAML flow after the source.
    bound: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            value: _,
            bound,
        } = self;
        f.debug_struct("Secret")
            .field("name", name)
            .field("bound", bound)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
struct Sandbox {
    name: String,
    policy: String,
    secrets: Vec<String>,
    more: Vec<String>,
}

impl Configuration {
    /// A secret under a profile.
    #[must_use]
    pub fn secret(self, name: &str, value: &str, profile: &str) -> Self {
        self.bound_secret(name, value, &format!("profile: {profile}"))
    }

    /// A secret with bindings written in YAML, such as `bindings: [{hosts: [a.example], header: authorization}]`.
    #[must_use]
    pub fn bound_secret(mut self, name: &str, value: &str, bound: &str) -> Self {
        self.secrets.push(Secret {
            name: name.into(),
            value: value.into(),
            bound: bound.into(),
        });
        self
    }

    /// A sandbox under a policy, given as the text of its file.
    #[must_use]
    pub fn sandbox(mut self, name: &str, policy: &str, secrets: &[&str]) -> Self {
        self.sandboxes.push(Sandbox {
            name: name.into(),
            policy: policy.into(),
            secrets: secrets.iter().map(|name| (*name).into()).collect(),
            more: Vec::new(),
        });
        self
    }

    /// A further line of YAML for the last sandbox, such as `unredacted: [a.example]`.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        if let Some(sandbox) = self.sandboxes.last_mut() {
            sandbox.more.push(line.into());
        }
        self
    }

    /// An override of name resolution.
    #[must_use]
    pub fn resolve(mut self, host: &str, address: impl ToString) -> Self {
        self.resolve.push((host.into(), address.to_string()));
        self
    }

    /// A name server to ask instead of the host's.
    #[must_use]
    pub fn name_server(mut self, address: impl ToString) -> Self {
        self.name_servers.push(address.to_string());
        self
    }

    /// A further root for upstream certificates, as PEM.
    #[must_use]
    pub fn root(mut self, pem: String) -> Self {
        self.roots.push(pem);
        self
    }

    /// A further line of YAML beside `sandboxes`, such as `metrics: { listen: "127.0.0.1:9464" }`.
    #[must_use]
    pub fn top_level(mut self, line: &str) -> Self {
        self.more.push(line.into());
        self
    }

    /// Writes the file and all that it names into `directory`, over what is there.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(&self, directory: &Path) -> Result<PathBuf> {
        let mut yaml = String::new();
        if !self.secrets.is_empty() {
            yaml.push_str("secrets:\n");
        }
        for secret in &self.secrets {
            let Secret { name, value, bound } = secret;
            let path = directory.join(format!("{name}.secret"));
            fs::write(&path, value)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            writeln!(
                yaml,
                "  {name}:\n    from: {{ file: {name}.secret }}\n    {bound}"
            )?;
        }
        yaml.push_str("sandboxes:\n");
        for sandbox in &self.sandboxes {
            let Sandbox {
                name,
                policy,
                secrets,
                more,
            } = sandbox;
            fs::write(directory.join(format!("{name}.policy.yaml")), policy)?;
            let secrets = secrets.join(", ");
            writeln!(
                yaml,
                "  - name: {name}\n    policies: [{name}.policy.yaml]\n    secrets: [{secrets}]"
            )?;
            for line in more {
                writeln!(yaml, "    {line}")?;
            }
        }
        if !self.resolve.is_empty() {
            yaml.push_str("resolve:\n");
            for (host, address) in &self.resolve {
                writeln!(yaml, "  {host}: {address}")?;
            }
        }
        if !self.name_servers.is_empty() {
            writeln!(
                yaml,
                "dns: {{ servers: [{}] }}",
                self.name_servers.join(", ")
            )?;
        }
        if !self.roots.is_empty() {
            yaml.push_str("upstream:\n  roots:\n");
            for (number, pem) in self.roots.iter().enumerate() {
                let name = format!("root-{number}.pem");
                fs::write(directory.join(&name), pem)?;
                writeln!(yaml, "    - {name}")?;
            }
        }
        for line in &self.more {
            writeln!(yaml, "{line}")?;
        }
        let path = directory.join("interceptor.yaml");
        fs::write(&path, yaml)?;
        Ok(path)
    }
}
