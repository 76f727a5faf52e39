//! The configuration is read again while everything goes on: what is wrong changes nothing and is loud, what is denied
//! from then on ends, and nothing else does.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};
use serde_json::Value;
use tests::{
    configuration::{Configuration, DISCORD_POLICY},
    daemon::Daemon,
    gateway::{Gateway, Options},
    load::open_many_files,
    memory,
    netns::Netns,
    pki::Authority,
    process::{PATIENCE, Running},
    programs::built,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN, directory},
    upgrade::{Held, Stage, configuration},
};

const SECRET: &str = "DISCORD_BOT_TOKEN.secret";
const POLICY: &str = "demo.policy.yaml";

/// A stage with metrics and Discord's other host.
fn stage(more: impl FnOnce(Configuration) -> Configuration) -> Result<Stage> {
    let scenario = Scenario::with(Options::new(TOKEN), |_, gateway| {
        more(whole(gateway, DISCORD_POLICY))
    })?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    Ok(Stage {
        scenario,
        netns,
        sandbox,
    })
}

fn whole(gateway: &Gateway, policy: &str) -> Configuration {
    configuration(gateway, policy).resolve("discord.com", gateway.address())
}

fn events(daemon: &Daemon, reason: &str) -> Result<Vec<Value>> {
    let events = daemon.json(&["events"])?;
    let events = events.as_array().cloned().unwrap_or_default();
    let chosen = events.into_iter().filter(|event| event["reason"] == reason);
    Ok(chosen.collect())
}

/// What may happen to a file, and how that is told.
struct Mishap {
    file: &'static str,
    what: What,
    told: &'static str,
}

enum What {
    Gone,
    Folder,
    Fifo,
    Loop,
    /// A file whose reads fail.
    Unreadable,
    Holds(Vec<u8>),
    /// Ends where this text does.
    CutBehind(&'static str),
    /// This text is there once more.
    Twice(&'static str),
}

impl Mishap {
    fn all() -> Vec<Self> {
        let mishap = |file, what, told| Self { file, what, told };
        let not_there = "cannot be read: No such file or directory";
        let not_regular = "is not a regular file";
        vec![
            mishap(SECRET, What::Gone, not_there),
            mishap(SECRET, What::Folder, not_regular),
            mishap(SECRET, What::Fifo, not_regular),
            mishap(SECRET, What::Loop, "Too many levels of symbolic links"),
            mishap(SECRET, What::Unreadable, "Input/output error"),
            mishap(SECRET, What::Holds(Vec::new()), "the secret is empty"),
            mishap(
                SECRET,
                What::Holds(vec![b'x'; 65_537]),
                "is larger than 65536 bytes",
            ),
            mishap(POLICY, What::Gone, not_there),
            mishap(POLICY, What::Folder, not_regular),
            mishap(POLICY, What::Fifo, not_regular),
            mishap(POLICY, What::CutBehind("gg\n        port"), "not YAML"),
            mishap("interceptor.yaml", What::Gone, not_there),
            mishap("interceptor.yaml", What::Fifo, not_regular),
            mishap(
                "interceptor.yaml",
                What::Holds(Vec::new()),
                "the file is empty",
            ),
            mishap(
                "interceptor.yaml",
                What::CutBehind("policies: [demo"),
                "not YAML",
            ),
            mishap(
                "interceptor.yaml",
                What::Twice("resolve:\n"),
                "the same key stands in line",
            ),
            mishap(
                "interceptor.yaml",
                What::Twice("  gateway.discord.gg: "),
                "the same key stands in line",
            ),
            mishap("root-0.pem", What::Gone, not_there),
            mishap(
                "root-0.pem",
                What::Holds(b"-----BEGIN".to_vec()),
                "holds no certificates",
            ),
        ]
    }

    /// Lets it happen. What stood there lies beside it.
    fn happen(&self, directory: &Path) -> Result<()> {
        let path = directory.join(self.file);
        let before = fs::read_to_string(&path)?;
        fs::rename(&path, directory.join("before"))?;
        match &self.what {
            What::Gone => {}
            What::Folder => fs::create_dir(&path)?,
            What::Fifo => mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0)?,
            What::Loop => symlink(&path, &path)?,
            What::Unreadable => symlink("/proc/self/mem", &path)?,
            What::Holds(bytes) => fs::write(&path, bytes)?,
            What::CutBehind(text) => {
                let at = before.find(text).context("the text")? + text.len();
                fs::write(&path, before.get(..at).unwrap_or_default())?;
            }
            What::Twice(text) => {
                let at = before.find(text).context("the text")?;
                let line = before
                    .get(at..)
                    .and_then(|rest| rest.split_inclusive('\n').next());
                let (head, tail) = before.split_at(at);
                fs::write(&path, [head, line.unwrap_or_default(), tail].concat())?;
            }
        }
        Ok(())
    }

    fn undo(&self, directory: &Path) -> Result<()> {
        let path = directory.join(self.file);
        match self.what {
            What::Gone => {}
            What::Folder => fs::remove_dir(&path)?,
            _ => fs::remove_file(&path)?,
        }
        Ok(fs::rename(directory.join("before"), path)?)
    }
}

#[test]
fn whatever_is_wrong_with_a_file_changes_nothing_and_is_told_with_exit_code_2() -> Result<()> {
    let stage = stage(|configuration| configuration)?;
    let mut held = Held::open(&stage, 2)?;
    let daemon = &stage.scenario.daemon;
    let directory = stage.scenario.directory();
    let mut first = None;
    for (number, mishap) in Mishap::all().iter().enumerate() {
        mishap.happen(directory)?;
        let begun = Instant::now();
        let reload = daemon.cli(&["reload"])?;
        let case = format!("{number}, {}: {reload:?}", mishap.file);
        assert!(begun.elapsed() < Duration::from_secs(5), "{case}");
        assert_eq!(reload.status.code(), Some(2), "{case}");
        assert!(reload.stderr.contains(mishap.told), "{case}");
        // It goes on to be told, wherever somebody may look.
        let stats = daemon.json(&["stats"])?;
        let rejected = &stats["rejected"];
        assert!(
            rejected["detail"].to_string().contains(mishap.told),
            "{case} {rejected}"
        );
        let since = first.get_or_insert_with(|| rejected["since"].clone());
        assert_eq!(rejected["since"], *since, "{case}");
        mishap.undo(directory)?;
        held.all_echo(&stage.scenario.gateway)?;
    }
    let login = stage.scenario.clients.rust();
    stage.sandbox.run(&stage.netns, &login)?.success()?;
    let told = events(daemon, "config_rejected")?;
    assert!(told.len() >= Mishap::all().len() / 2, "{told:?}");

    let reload = daemon.cli(&["reload"])?.success()?;
    assert_eq!(reload.stdout, "reloaded: nothing changed");
    assert!(daemon.json(&["stats"])?["rejected"].is_null());
    held.all_echo(&stage.scenario.gateway)
}

#[test]
fn a_bad_file_is_an_event_a_metric_and_a_remark_of_a_daemon_that_stays_ready() -> Result<()> {
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let listen = format!("metrics: {{ listen: \"{free}\" }}");
    let stage = stage(|configuration| configuration.top_level(&listen))?;
    let daemon = &stage.scenario.daemon;
    let ask = |path: &str| {
        let address = format!("--address={free}");
        let request = ["request", "localhost", path, "--plain", &address];
        let probe = stage.scenario.clients.probe(&request);
        let (program, arguments) = probe.split_first().context("a path")?;
        let mut command = std::process::Command::new(program);
        command.args(arguments);
        let answer = Running::spawn(command)?.finish()?.event("answer")?;
        ensure!(answer["status"] == 200, "{answer}");
        Ok::<_, anyhow::Error>(answer["body"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ask("/readyz")?, "ok\n");
    assert!(ask("/metrics")?.contains("\ninterceptor_config_rejected 0\n"));

    let mishap = Mishap {
        file: SECRET,
        what: What::Gone,
        told: "",
    };
    mishap.happen(stage.scenario.directory())?;
    daemon.signal(Signal::HUP)?;
    daemon.wait_for_log(&["config_rejected", "interceptor.yaml:", "No such file"])?;
    let told = events(daemon, "config_rejected")?;
    assert_eq!(told.len(), 1, "{told:?}");
    let detail = told[0]["detail"].to_string();
    assert!(
        detail.contains("the running one stays") && detail.contains("No such file"),
        "{detail}"
    );
    let ready = ask("/readyz")?;
    let remark = ready.strip_prefix("ok\nsince ").context(ready.clone())?;
    assert!(
        remark.contains("the running one stays: 1 to correct"),
        "{ready}"
    );
    assert!(ask("/metrics")?.contains("\ninterceptor_config_rejected 1\n"));
    let shown = daemon.cli(&["stats"])?.success()?.stdout;
    assert!(shown.contains("\nSINCE "), "{shown}");

    mishap.undo(stage.scenario.directory())?;
    daemon.signal(Signal::HUP)?;
    let deadline = Instant::now() + PATIENCE;
    while ask("/readyz")? != "ok\n" {
        ensure!(Instant::now() < deadline, "it does not take a good file");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(ask("/metrics")?.contains("\ninterceptor_config_rejected 0\n"));
    Ok(())
}

#[test]
fn files_that_are_written_in_place_or_renamed_over_while_they_are_read_are_taken_whole_or_not()
-> Result<()> {
    let stage = stage(|configuration| configuration)?;
    let mut held = Held::open(&stage, 3)?;
    let daemon = &stage.scenario.daemon;
    let directory = stage.scenario.directory().to_owned();
    let over = AtomicBool::new(false);
    let (taken, refused) = thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            let path = directory.join(POLICY);
            // Within a line, so that the first part alone is no policy.
            let (head, tail) = DISCORD_POLICY.split_at(DISCORD_POLICY.len() - 60);
            while !over.load(Ordering::Relaxed) {
                fs::write(&path, head)?;
                thread::sleep(Duration::from_millis(3));
                let mut file = fs::OpenOptions::new().append(true).open(&path)?;
                std::io::Write::write_all(&mut file, tail.as_bytes())?;
                thread::sleep(Duration::from_millis(3));
                fs::write(directory.join("beside"), DISCORD_POLICY)?;
                fs::rename(directory.join("beside"), &path)?;
            }
            Ok(())
        });
        let reloads = || {
            let (mut taken, mut refused) = (0, 0);
            for _ in 0..40 {
                let reload = daemon.cli(&["reload"])?;
                match reload.status.code() {
                    Some(0) => taken += 1,
                    Some(2) if reload.stderr.contains(POLICY) => refused += 1,
                    _ => anyhow::bail!("{reload:?}"),
                }
            }
            Ok((taken, refused))
        };
        let reloads = reloads();
        over.store(true, Ordering::Relaxed);
        writer.join().ok().context("the writer")??;
        reloads
    })?;
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
    held.all_echo(&stage.scenario.gateway)?;
    daemon.cli(&["reload"])?.success()?;
    Ok(())
}

#[test]
fn what_rests_on_a_root_that_is_taken_away_is_closed_and_what_rests_on_others_is_not() -> Result<()>
{
    let stage = stage(|configuration| configuration)?;
    let (daemon, gateway) = (&stage.scenario.daemon, &stage.scenario.gateway);
    let mut held = Held::open(&stage, 3)?;
    let root = stage.scenario.directory().join("root-0.pem");
    let other = Authority::new("another authority")?.pem();
    fs::write(&root, gateway.authority().pem() + &other)?;
    let reload = daemon.cli(&["reload"])?.success()?;
    assert!(
        reload.stdout.contains("upstream roots: changed"),
        "{reload:?}"
    );
    held.all_echo(gateway)?;

    fs::write(&root, &other)?;
    daemon.cli(&["reload"])?.success()?;
    let lost = held.round()?.to_string();
    let closed = lost
        .matches("closed with Some(1008) upstream_unverified")
        .count();
    assert_eq!(closed, 3, "{lost}");
    held.close()?;
    let deadline = Instant::now() + PATIENCE;
    let detail = loop {
        // Once they have ended.
        if let Some(event) = events(daemon, "upstream_unverified")?.first() {
            break event["detail"].to_string();
        }
        ensure!(Instant::now() < deadline, "it is no event");
        thread::sleep(Duration::from_millis(50));
    };
    assert!(detail.contains("any more"), "{detail}");
    // No new one either, also not by a session of before.
    let login = stage.scenario.clients.rust();
    let refused = stage.sandbox.run(&stage.netns, &login)?;
    assert!(!refused.status.success(), "{refused:?}");

    fs::write(&root, gateway.authority().pem())?;
    daemon.cli(&["reload"])?.success()?;
    stage.sandbox.run(&stage.netns, &login)?.success()?;
    Ok(())
}

#[test]
fn a_rotated_authority_is_taken_by_reload_and_one_that_is_rotated_by_half_refused() -> Result<()> {
    let stage = stage(|configuration| configuration)?;
    let daemon = &stage.scenario.daemon;
    let mut held = Held::open(&stage, 2)?;
    let login = stage.scenario.clients.rust();
    let elsewhere = directory()?;
    let mut init = std::process::Command::new(built("interceptor")?);
    init.args(["ca", "init", "--data-dir"])
        .arg(elsewhere.path());
    Running::spawn(init)?.finish()?.success()?;
    let rotate = |name: &str| -> Result<()> {
        let data = stage.scenario.directory().join("data");
        fs::copy(elsewhere.path().join(name), data.join("next"))?;
        Ok(fs::rename(data.join("next"), data.join(name))?)
    };
    rotate("ca.pem")?;
    let refused = daemon.cli(&["reload"])?;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.contains("is not the key of"), "{refused:?}");
    stage.sandbox.run(&stage.netns, &login)?.success()?;

    rotate("ca.key")?;
    let reload = daemon.cli(&["reload"])?.success()?;
    assert!(reload.stdout.contains("ca: another one"), "{reload:?}");
    let published = fs::read_to_string(stage.scenario.directory().join("run/ca.pem"))?;
    assert_eq!(
        published,
        fs::read_to_string(elsewhere.path().join("ca.pem"))?
    );
    // Clients that trust what is published now.
    stage.sandbox.run(&stage.netns, &login)?.success()?;
    held.all_echo(&stage.scenario.gateway)?;

    // None is made in the place of one that is away.
    fs::remove_file(stage.scenario.directory().join("data/ca.pem"))?;
    let refused = daemon.cli(&["reload"])?;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.contains("data/ca.pem"), "{refused:?}");
    rotate("ca.pem")?;
    let reload = daemon.cli(&["reload"])?.success()?;
    assert_eq!(reload.stdout, "reloaded: nothing changed");
    Ok(())
}

#[test]
fn a_hundred_reloads_under_load_lose_nothing_and_each_takes_the_secret_of_then() -> Result<()> {
    const RELOADS: usize = 100;
    open_many_files()?;
    let stage = stage(|configuration| configuration)?;
    let (daemon, gateway) = (&stage.scenario.daemon, &stage.scenario.gateway);
    let mut held = Held::open(&stage, 20)?;
    held.all_echo(gateway)?;
    let renewing = stage.renew()?;
    let pace = stage.scenario.clients.probe(&["pace", "--seconds", "5"]);
    let pacing = stage.sandbox.spawn(&stage.netns, &pace)?;
    let secret = stage.scenario.directory().join(SECRET);
    let next = stage.scenario.directory().join("next");
    let mut settled = 0;
    let begun = Instant::now();
    for number in 0..RELOADS {
        let value = format!("{TOKEN}-{number}");
        fs::write(&next, &value)?;
        fs::rename(&next, &secret)?;
        let reload = daemon.cli(&["reload"])?.success()?;
        let expected = "secret DISCORD_BOT_TOKEN: changed";
        assert!(reload.stdout.contains(expected), "{reload:?}");
        if number % 10 == 9 {
            gateway.record().clear();
            let echoed = held.round()?;
            assert_eq!(echoed["echoed"], 20, "{echoed}");
            let payloads = gateway.record().payloads();
            let value = format!("\"{value}\"");
            let with = payloads.iter().filter(|payload| {
                let mut parts = payload.windows(value.len());
                parts.any(|part| part == value.as_bytes())
            });
            assert_eq!(with.count(), 20);
        }
        if number == RELOADS / 4 {
            settled = memory::resident(daemon.pid()?)?;
        }
    }
    let grown = memory::resident(daemon.pid()?)?.saturating_sub(settled);
    let seconds = begun.elapsed().as_secs_f64();
    let renewed = renewing.finish()?.success()?.event("renewed")?;
    let paced = pacing
        .finish_within(PATIENCE * 10)?
        .success()?
        .event("paced")?;
    println!("{RELOADS} reloads in {seconds:.1} s, grown by {grown} bytes; {renewed}; {paced}");
    assert_eq!(renewed["failed"], Value::Array(Vec::new()), "{renewed}");
    assert_eq!(paced["failed"], 0, "{paced}");
    assert!(paced["requests"].as_u64() > Some(10), "{paced}");
    assert!(grown < 4 << 20, "{grown} bytes more");
    Ok(())
}
