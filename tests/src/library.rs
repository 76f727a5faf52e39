//! Unmodified libraries in a sandbox that holds nothing but placeholders: each has to log in, answer a message and log
//! out, under the real names of its service and with the compression that it offers by itself.

mod table;

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use self::table::Runtime;
pub use self::table::{ALL, Library, Secret, Service, Set};
use crate::{
    configuration::Configuration,
    daemon::Daemon,
    gateway::{
        Gateway, Options,
        record::{Seen, Token},
    },
    logs, memory,
    netns::Netns,
    process::{Finished, Running},
    programs::{built, client_sources, copy, packages},
    sandbox::Sandbox,
    scenario::{TOKEN, directory},
};

/// A set of libraries, in a place where an unprivileged user can run them.
#[derive(Debug)]
pub struct Libraries {
    set: Set,
    directory: TempDir,
}

/// How a library got on.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of its WebSocket: the extensions that it and the server agreed on, and what it asked for in the URL.
    pub compression: Vec<String>,
    /// Codes with which it closed its WebSockets; `None` where it just went.
    pub closes: Vec<Option<u16>>,
}

impl Libraries {
    /// # Errors
    /// The packages are not installed.
    pub fn install(set: Set) -> Result<Self> {
        let libraries = Self::without_packages(set)?;
        copy(&packages(set.name())?, libraries.directory.path())?;
        Ok(libraries)
    }

    /// Only the programs, for those that need nothing else.
    ///
    /// # Errors
    /// They cannot be copied.
    pub fn without_packages(set: Set) -> Result<Self> {
        let directory = directory()?;
        for source in set.sources() {
            copy(&client_sources().join(source), directory.path())?;
        }
        Ok(Self { set, directory })
    }

    /// Lets a library log in, answer and log out, and looks at what everybody saw of it.
    ///
    /// # Errors
    /// It does not get there, or a secret was seen where it must not be.
    pub fn play(&self, library: &Library) -> Result<Outcome> {
        ensure!(library.set == self.set, "{} is not here", library.name);
        let place = directory()?;
        let gateway = Gateway::start(Options::for_libraries(TOKEN))?;
        let configuration = configuration(&library.service, &gateway);
        let daemon = Daemon::start(&configuration.write(place.path())?, place.path())?;
        let netns = Netns::new()?;
        let sandbox = Sandbox::attach(&daemon, "demo", &[&netns])?;
        let mut command = sandbox.command(&netns, &self.command(library.runtime)?)?;
        command
            .env_remove("DISCORD_BOT_TOKEN")
            .env("HOME", "/nonexistent");
        for secret in library.service.secrets {
            command.env(secret.name, library.placeholder(secret));
        }
        let running = Running::spawn(command)?;
        let talked = running
            .wait_for_event("ready")
            .and_then(|_| running.wait_for_event("answered"));
        if let Err(error) = talked {
            let log = daemon.log();
            let seen = gateway.record().look(|seen| {
                let lines: Vec<_> = seen.iter().map(|seen| seen.to_json().to_string()).collect();
                lines.join("\n")
            });
            return Err(error.context(format!("the gateway saw:\n{seen}\nthe daemon said:\n{log}")));
        }
        for secret in library.service.secrets {
            let placeholder = library.placeholder(secret);
            ensure!(
                memory::holds(running.pid(), placeholder.as_bytes())?,
                "the placeholder of {} is not in the client's memory",
                secret.name
            );
            ensure!(
                !memory::holds(running.pid(), secret.value.as_bytes())?,
                "{} is in the client's memory",
                secret.name
            );
        }
        let finished = running.finish()?.success()?;
        finished.event("closed")?;
        check(library, &gateway, &daemon, &finished)?;
        Ok(outcome(&gateway))
    }

    /// What runs a program of the set.
    ///
    /// # Errors
    /// It is not built.
    pub(crate) fn command(&self, runtime: Runtime) -> Result<Vec<String>> {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        Ok(match runtime {
            Runtime::Shell(script) => vec!["sh".into(), path(script)],
            Runtime::Node(script) => vec!["node".into(), path(script)],
            // Debian's interpreter: one under a user's home may be out of reach.
            Runtime::Python(script) => vec![
                "env".into(),
                format!("PYTHONPATH={}", path("python")),
                "PYTHONDONTWRITEBYTECODE=1".into(),
                "/usr/bin/python3".into(),
                path(script),
            ],
            Runtime::Built(program) => vec![path(program)],
            Runtime::Own(program) => {
                copy(&built(program)?, &self.directory.path().join(program))?;
                vec![path(program)]
            }
        })
    }
}

impl Library {
    /// The version that is pinned.
    ///
    /// # Errors
    /// The pins cannot be read.
    pub fn version(&self) -> Result<String> {
        version(self.set, self.runtime, self.name)?
            .with_context(|| format!("{} is not pinned", self.name))
    }

    fn placeholder(&self, secret: &Secret) -> String {
        self.placeholder.unwrap_or(secret.placeholder).to_owned()
    }
}

/// The version of a package that a set pins.
pub(crate) fn version(set: Set, runtime: Runtime, name: &str) -> Result<Option<String>> {
    let sources = client_sources().join(set.name());
    let read = |name: &str| -> Result<String> { Ok(fs::read_to_string(sources.join(name))?) };
    Ok(match runtime {
        Runtime::Shell(_) | Runtime::Own(_) => None,
        Runtime::Node(_) => {
            let pins: Value = serde_json::from_str(&read("package.json")?)?;
            let version = pins.get("dependencies").and_then(|all| all.get(name));
            version.and_then(Value::as_str).map(str::to_owned)
        }
        Runtime::Python(_) => {
            let pins = read("requirements.txt")?;
            pinned(&pins, name, "==").or_else(|| pinned(&pins, name, "[http2]=="))
        }
        Runtime::Built(_) => {
            let manifest = Path::new("twilight").join("Cargo.toml");
            let manifest = read(&manifest.display().to_string())?;
            pinned(&manifest, name, " = { version = \"=")
                .and_then(|rest| Some(rest.split('"').next()?.to_owned()))
        }
    })
}

fn pinned(pins: &str, name: &str, between: &str) -> Option<String> {
    pins.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(between))
        .map(str::to_owned)
}

/// A sandbox `demo` that has a service's secrets and may talk to the service, which is the gateway.
fn configuration(service: &Service, gateway: &Gateway) -> Configuration {
    let names: Vec<&str> = service.secrets.iter().map(|secret| secret.name).collect();
    let mut configuration = Configuration::default()
        .sandbox("demo", service.policy, &names)
        .root(gateway.authority().pem());
    for secret in service.secrets {
        configuration = configuration.secret(secret.name, secret.value, service.profile);
    }
    for host in service.hosts {
        configuration = configuration.resolve(host, gateway.address());
    }
    configuration
}

/// The secrets stood at their places, and nowhere else.
fn check(library: &Library, gateway: &Gateway, daemon: &Daemon, finished: &Finished) -> Result<()> {
    let tokens = gateway.record().tokens();
    ensure!(
        !tokens.is_empty() && tokens.iter().all(|token| *token == Token::Real),
        "the gateway was presented {tokens:?}"
    );
    let secrets = library.service.secrets;
    let seen: usize = secrets
        .iter()
        .map(|secret| gateway.record().count(secret.value))
        .sum();
    ensure!(
        seen == tokens.len(),
        "the gateway looked for a secret {} times, and got one {seen} times",
        tokens.len()
    );
    let log = daemon.log();
    let conns = daemon.cli(&["conns", "--all"])?.success()?.stdout;
    let stats = daemon.cli(&["stats"])?.success()?.stdout;
    for secret in secrets {
        for text in [&log, &conns, &stats, &finished.stdout, &finished.stderr] {
            logs::assert_absent(text, secret.value)?;
        }
        logs::assert_absent(&log, &library.placeholder(secret))?;
    }
    Ok(())
}

fn outcome(gateway: &Gateway) -> Outcome {
    let mut outcome = Outcome {
        compression: Vec::new(),
        closes: Vec::new(),
    };
    gateway.record().look(|seen| {
        for seen in seen {
            match seen {
                Seen::Request { line, .. } => {
                    let asked = line
                        .split(['?', '&'])
                        .find(|part| part.starts_with("compress="));
                    outcome.compression.extend(asked.map(str::to_owned));
                }
                Seen::Switched {
                    extensions: Some(agreed),
                    ..
                } => outcome.compression.push(agreed.clone()),
                Seen::Closed { code, .. } => outcome.closes.push(*code),
                _ => {}
            }
        }
    });
    outcome
}
