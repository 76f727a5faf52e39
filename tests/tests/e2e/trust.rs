//! Our CA in the bundles inside a container, where programs find it that no variable tells of it.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tests::{
    configuration::DISCORD_POLICY,
    gateway::{Options, record::Token},
    interrupt,
    netns::Netns,
    process::{PATIENCE, Running},
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// A container with a copy of the host's files: by an overlay, in a mount namespace of its own, as nobody.
const CONTAINER: &str = r#"set -e
echo 0 > "$1"; cd "$2"; shift 2
mount -t tmpfs none .
cd "$PWD"
mkdir upper work root
mount -t overlay none -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount --rbind /proc proc
mount --rbind /dev dev
exec chroot . setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@""#;

/// Waits until its system's bundle names our CA, then runs what it is given.
const PATIENT: &str = r#"for _ in $(seq 200); do
    grep -q 'interceptor CA' /etc/ssl/certs/ca-certificates.crt && exec "$@"
    sleep 0.1
done
exit 99"#;

struct Ground {
    scenario: Scenario,
    netns: Netns,
    sandbox: Sandbox,
}

impl Ground {
    fn new() -> Result<Self> {
        let scenario = Scenario::with(Options::new(TOKEN), |configuration, _| {
            configuration
                .sandbox("boxed", DISCORD_POLICY, &["DISCORD_BOT_TOKEN"])
                .setting("ca: { install: true }")
        })?;
        let sandbox = Sandbox::beside(&scenario.daemon, "boxed")?;
        Ok(Self {
            scenario,
            netns: Netns::new()?,
            sandbox,
        })
    }

    /// A command in a container of the sandbox.
    fn boxed(&self, name: &str, arguments: &[String]) -> Result<Command> {
        let place = self.scenario.directory().join(name);
        fs::create_dir(&place)?;
        let mut command = self.netns.command("unshare");
        command
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                CONTAINER,
                "sh",
            ])
            .arg(self.sandbox.cgroup().procs())
            .arg(place)
            .args(arguments)
            .env("DISCORD_BOT_TOKEN", tests::clients::PLACEHOLDER);
        for (variable, _) in self.scenario.daemon.trust() {
            command.env_remove(variable);
        }
        Ok(command)
    }

    /// A process in a container, which stays.
    fn resident(&self, name: &str) -> Result<Running> {
        let resident = Running::spawn(self.boxed(name, &["cat".into()])?)?;
        let deadline = Instant::now() + PATIENCE;
        while fs::read_to_string(format!("/proc/{}/comm", resident.pid()))?.trim() != "cat" {
            interrupt::check()?;
            ensure!(Instant::now() < deadline, "a resident does not settle");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(resident)
    }

    fn certificate(&self) -> Result<String> {
        let exported = self.scenario.daemon.cli(&["ca", "export"])?;
        Ok(exported.success()?.stdout)
    }
}

fn bundle_of(resident: &Running) -> Result<String> {
    let path = PathBuf::from(format!("/proc/{}/root", resident.pid())).join(BUNDLE);
    fs::read_to_string(path).context("the container's bundle")
}

#[test]
fn a_container_that_comes_later_trusts_the_ca_and_its_client_logs_in_without_a_variable()
-> Result<()> {
    let mut ground = Ground::new()?;
    // So that the namespace has its listeners before the client's first question.
    ground.sandbox.settle(&ground.netns)?;
    ground.sandbox.attach_again(&ground.scenario.daemon)?;
    let client = ground.scenario.clients.python();
    let patient = ["sh", "-c", PATIENT, "sh"].map(str::to_owned);
    let command = ground.boxed("later", &[&patient[..], &client].concat())?;
    let finished = Running::spawn(command)?.finish()?.success()?;
    finished.event("ready")?;
    assert_eq!(ground.scenario.gateway.record().tokens(), [Token::Real]);
    let log = ground.scenario.daemon.log();
    assert!(log.contains("trusts our CA now"), "{log}");
    Ok(())
}

#[test]
fn attach_returns_when_containers_trust_the_ca_and_it_can_be_taken_out_again() -> Result<()> {
    let ground = Ground::new()?;
    let resident = ground.resident("there")?;
    let before = bundle_of(&resident)?;
    let host = fs::read_to_string(PathBuf::from("/").join(BUNDLE))?;
    assert_eq!(before, host);
    let certificate = ground.certificate()?;

    let daemon = &ground.scenario.daemon;
    ground.sandbox.attach_again(daemon)?;
    assert!(bundle_of(&resident)?.contains(&certificate));
    ground.sandbox.detach(daemon)?;

    let pid = resident.pid().to_string();
    daemon.cli(&["ca", "uninstall", "--pid", &pid])?.success()?;
    assert_eq!(bundle_of(&resident)?, before);
    let cgroup = ground.sandbox.cgroup().path().display().to_string();
    for became in ["changed", "unchanged"] {
        let told = daemon.json(&["ca", "install", "--cgroup", &cgroup])?;
        let bundles = told[0]["bundles"].as_array().context("bundles")?;
        let system = bundles
            .iter()
            .find(|one| one["path"] == format!("/{BUNDLE}"));
        assert_eq!(system.context("the system's")?["became"], became);
    }
    assert!(bundle_of(&resident)?.contains(&certificate));
    assert_eq!(fs::read_to_string(PathBuf::from("/").join(BUNDLE))?, host);

    // A process that has the host's files is no container.
    let own = std::process::id().to_string();
    let refused = daemon.cli(&["ca", "install", "--pid", &own])?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.stderr.contains("files of this host"),
        "{}",
        refused.stderr
    );
    assert_eq!(fs::read_to_string(PathBuf::from("/").join(BUNDLE))?, host);
    Ok(())
}
