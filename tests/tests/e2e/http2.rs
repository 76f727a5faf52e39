//! HTTP/2 as no library writes it, from either side: it ends in the right error, and never in a hang, a crash or growth;
//! of what is malformed nothing gets to the other side.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tests::{
    clients::PLACEHOLDER,
    configuration::Configuration,
    daemon::Daemon,
    frames::{
        cases::{self, Case, Upstream},
        floods,
        recorder::{Arrived, Recorder},
        server::Hostile,
        servers,
    },
    memory,
    netns::Netns,
    process::PATIENCE,
    programs::{built, copy},
    sandbox::Sandbox,
    scenario::{TOKEN, directory},
};

/// Whom well-behaved servers are.
const HOST: &str = "good.example.com";

const POLICY: &str = "\
version: 1
network_policies:
  all:
    name: all
    endpoints:
      - {host: good.example.com, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: \"*.hostile.example.com\", port: 443, protocol: rest, enforcement: enforce, access: full}
";

/// Most that all floods together may cost, in bytes: thrice what was measured when this was written.
const COST: u64 = 32 << 20;
/// Most that they may leave behind, which is the allocator's.
const REST: u64 = 16 << 20;

/// A daemon, a sandbox, and servers of both kinds. Fields are dropped in order.
struct Stage {
    sandbox: Sandbox,
    netns: Netns,
    daemon: Daemon,
    recorder: Recorder,
    directory: TempDir,
}

impl Stage {
    fn new() -> Result<Self> {
        let place = directory()?;
        let recorder = Recorder::start()?;
        let hostile = Hostile::start(recorder.authority())?;
        let mut configuration = Configuration::default()
            .bound_secret(
                "DISCORD_BOT_TOKEN",
                TOKEN,
                "bindings: [{hosts: [\"**.example.com\"], header: authorization}]",
            )
            .sandbox("demo", POLICY, &["DISCORD_BOT_TOKEN"])
            .resolve(HOST, recorder.address())
            .root(recorder.authority().pem());
        for script in servers::all() {
            configuration = configuration.resolve(&script.host(), hostile.address());
        }
        let daemon = Daemon::start(&configuration.write(place.path())?, place.path())?;
        // Where everybody may run it.
        copy(&built("probe")?, &place.path().join("probe"))?;
        let netns = Netns::new()?;
        Ok(Self {
            sandbox: Sandbox::attach(&daemon, "demo", &[&netns])?,
            netns,
            daemon,
            recorder,
            directory: place,
        })
    }

    /// Plays a table, or one of its rows, and meanwhile does something else.
    fn play(
        &self,
        table: &str,
        only: Option<&str>,
        mut meanwhile: impl FnMut() -> Result<()>,
    ) -> Result<HashMap<String, Option<String>>> {
        let mut probe = vec![self.directory.path().join("probe").display().to_string()];
        probe.extend(["frames", table, HOST].map(str::to_owned));
        probe.extend(only.map(|name| format!("--only={name}")));
        let mut playing = self.sandbox.spawn(&self.netns, &probe)?;
        while only.is_none() && playing.is_running() {
            meanwhile()?;
        }
        let finished = playing.finish_within(PATIENCE * 3)?.success()?;
        let rows = finished.events().into_iter().map(|event| {
            let name = event["name"].as_str().context("a name")?.to_owned();
            Ok((name, event["wrong"].as_str().map(str::to_owned)))
        });
        rows.collect()
    }

    fn one(&self, table: &str, name: &str) -> Result<Option<String>> {
        let mut played = self.play(table, Some(name), || Ok(()))?;
        played.remove(name).context("it was not played")
    }

    /// That an ordinary request gets its answer.
    fn still_serves(&self) -> Result<()> {
        let control = "type that nobody knows";
        let wrong = self.one("cases", control)?;
        ensure!(wrong.is_none(), "the control: {wrong:?}");
        Ok(())
    }

    /// Plays a table while others are served, and tells what was not right.
    fn hold(&self, table: &str, rows: usize) -> Result<Vec<String>> {
        let played = self.play(table, None, || self.still_serves())?;
        ensure!(
            played.len() == rows,
            "{} of {rows} were played",
            played.len()
        );
        let wrong = played.into_iter().filter_map(|(name, wrong)| {
            let wrong = wrong?;
            Some(format!("{name}: {wrong}"))
        });
        Ok(wrong.collect())
    }

    /// Most memory that the daemon takes while something is done, beyond what it had, in bytes.
    fn cost<T>(&self, what: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
        let pid = self.daemon.pid()?;
        let before = memory::resident(pid)?;
        memory::reset_peak(pid)?;
        let done = what()?;
        Ok((done, memory::peak(pid)?.saturating_sub(before)))
    }

    /// A connection that a panic has cut looks from outside as one that was ended.
    fn nothing_panicked_and_no_secret_is_told(&self) -> Result<()> {
        let log = self.daemon.log();
        let panics: Vec<_> = log
            .lines()
            .filter(|line| line.contains("panicked"))
            .collect();
        ensure!(panics.is_empty(), "{panics:#?}");
        tests::logs::assert_absent(&log, TOKEN)?;
        tests::logs::assert_absent(&log, PLACEHOLDER)
    }
}

#[test]
fn malformed_http2_of_a_client_ends_in_the_right_error_and_goes_nowhere() -> Result<()> {
    let stage = Stage::new()?;
    let cases = cases::all();
    let mut failures = stage.hold("cases", cases.len())?;
    let arrived = stage.recorder.arrived();
    failures.extend(cases.iter().filter_map(|case| {
        let wrong = gone_too_far(case, &arrived).err()?;
        Some(format!("{}: {wrong}", case.name))
    }));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    stage.nothing_panicked_and_no_secret_is_told()
}

/// Whether more of a case's requests arrived than may, or less.
fn gone_too_far(case: &Case, arrived: &[Arrived]) -> Result<()> {
    let path = case.path();
    let own: Vec<_> = arrived
        .iter()
        .filter(|arrived| arrived.path == path)
        .collect();
    match case.upstream {
        Upstream::Nothing => ensure!(own.is_empty(), "its request arrived"),
        Upstream::Incomplete => {
            ensure!(
                own.iter().all(|arrived| !arrived.whole),
                "its request arrived whole"
            );
        }
        Upstream::Whole => {
            ensure!(
                own.iter().any(|arrived| arrived.whole),
                "its request did not arrive whole"
            );
            let expected = format!("Bearer {TOKEN}");
            let entitled = |arrived: &&Arrived| arrived.authorization.as_ref() == Some(&expected);
            ensure!(
                own.iter().all(entitled),
                "its request arrived without the secret"
            );
        }
        Upstream::Any => {}
    }
    Ok(())
}

#[test]
fn floods_of_http2_cost_little_and_nobody_else_notices() -> Result<()> {
    let stage = Stage::new()?;
    stage.still_serves()?;
    let pid = stage.daemon.pid()?;
    let before = memory::resident(pid)?;
    let floods = floods::all();
    let (mut failures, cost) = stage.cost(|| stage.hold("floods", floods.len()))?;
    println!("all floods together: {} KiB", cost >> 10);
    if cost > COST {
        // Which of them?
        for flood in &floods {
            let (_, cost) = stage.cost(|| stage.one("floods", flood.name))?;
            failures.push(format!("{}: took {} KiB", flood.name, cost >> 10));
        }
    }
    stage.still_serves()?;
    let rest = memory::resident(pid)?.saturating_sub(before);
    if rest > REST {
        failures.push(format!("{} KiB were left behind", rest >> 10));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    stage.nothing_panicked_and_no_secret_is_told()
}

#[test]
fn a_client_of_a_hostile_http2_server_sees_an_error_and_others_go_on() -> Result<()> {
    let stage = Stage::new()?;
    stage.still_serves()?;
    let (mut failures, cost) = stage.cost(|| stage.hold("servers", servers::all().len()))?;
    println!("all servers together: {} KiB", cost >> 10);
    if cost > COST {
        failures.push(format!("they took {} KiB", cost >> 10));
    }
    stage.still_serves()?;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    stage.nothing_panicked_and_no_secret_is_told()
}
