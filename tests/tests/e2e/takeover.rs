//! What one daemon tells the next, and which ones do not take over from each other.

use std::{
    io::Read as _,
    net::SocketAddr,
    os::fd::OwnedFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, accept, bind, connect,
        listen, recv, send, socket,
    },
};
use serde_json::{Value, json};
use tests::{
    clients::Clients,
    configuration::Configuration,
    daemon::Daemon,
    gateway::Options,
    netns::Netns,
    pki::Authority,
    process::Running,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN, directory},
    upgrade::{Held, Stage},
};

/// On the loopback of the namespace that the daemon runs in.
const SERVER: &str = "192.0.2.77:5432";

const RAW: &str = "\
version: 1
network_policies:
  raw:
    name: raw
    endpoints:
      - { host: raw.example.com, port: 5432, protocol: tcp }
";

#[test]
fn names_that_a_sandbox_was_told_hold_for_raw_tcp_after_a_takeover() -> Result<()> {
    let outside = Netns::new()?;
    outside.ip(&["address", "add", "192.0.2.77/32", "dev", "lo"])?;
    let server: SocketAddr = SERVER.parse()?;
    let listener = outside.listen(server)?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Until its client has gone.
            drop(stream.read_to_end(&mut Vec::new()));
        }
    });
    let directory = directory()?;
    let config = Configuration::default()
        .sandbox("demo", RAW, &[])
        .resolve("raw.example.com", server.ip())
        .write(directory.path())?;
    let runner = ["nsenter".to_owned(), outside.entry(), "--".to_owned()];
    let mut daemon = Daemon::start_by(&runner, &config, directory.path(), "interceptor=debug")?;
    let clients = Clients::install(directory.path())?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&daemon, "demo", &[&netns])?;
    let connect = |daemon: &Daemon| -> Result<Value> {
        sandbox
            .run(&netns, &clients.probe(&["connect", SERVER]))?
            .event("connected")?;
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let shown = daemon.connections()?;
            let last = shown.last().cloned().unwrap_or_default();
            if last["destination"] == SERVER && !last["end"].is_null() {
                return Ok(last);
            }
            ensure!(Instant::now() < deadline, "{shown:?}");
            thread::sleep(Duration::from_millis(20));
        }
    };
    // Nobody has said whose address it is.
    assert_ne!(connect(&daemon)?["verdict"], "tunnel");
    let asked = ["dns", "192.0.2.53:53", "raw.example.com"];
    let answer = sandbox
        .run(&netns, &clients.probe(&asked))?
        .event("answer")?;
    assert_eq!(answer["answers"], 1, "{answer}");
    assert_eq!(connect(&daemon)?["verdict"], "tunnel");

    for _ in 0..2 {
        daemon.take_over(&[])?;
        let last = connect(&daemon)?;
        assert_eq!(last["verdict"], "tunnel", "{last}");
    }
    Ok(())
}

#[test]
fn a_root_that_is_taken_away_closes_what_rests_on_it_in_a_daemon_that_drains_too() -> Result<()> {
    let mut stage = Stage::new()?;
    let mut held = Held::open(&stage, 2)?;
    stage.scenario.daemon.take_over(&[])?;
    held.all_echo(&stage.scenario.gateway)?;
    let root = stage.scenario.directory().join("root-0.pem");
    Authority::new("another authority")?.write_pem(&root)?;
    stage.scenario.daemon.cli(&["reload"])?.success()?;
    let lost = held.round()?.to_string();
    let closed = lost.matches("Some(1008) upstream_unverified").count();
    assert_eq!(closed, 2, "{lost}");
    for drained in stage.scenario.daemon.draining().drain(..) {
        drained.finish()?.success()?;
    }
    Ok(())
}

fn address(run_dir: &Path) -> Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(run_dir.join("handover.sock"))?)
}

fn seqpacket() -> Result<OwnedFd> {
    Ok(socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?)
}

/// The next message, within a while.
fn receive(socket: &OwnedFd) -> Result<Value> {
    let patience = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(socket, PollFlags::IN)];
    ensure!(poll(&mut polled, Some(&patience))? == 1, "nothing came");
    let mut packet = vec![0; 65_536];
    let (length, _) = recv(socket, packet.as_mut_slice(), RecvFlags::empty())?;
    Ok(serde_json::from_slice(
        packet.get(..length).unwrap_or_default(),
    )?)
}

/// A release with another layout of maps.
fn stranger(message: &str) -> Value {
    json!({"message": message, "protocol": 1, "abi": 9999, "version": "99.0.0", "pid": 1})
}

#[test]
fn a_release_with_another_abi_is_told_why_it_cannot_take_over_and_the_daemon_goes_on() -> Result<()>
{
    let scenario = Scenario::with(Options::new(TOKEN), |configuration, _| configuration)?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let socket = seqpacket()?;
    connect(&socket, &address(&scenario.directory().join("run"))?)?;
    let hello = serde_json::to_vec(&stranger("hello"))?;
    send(&socket, &hello, SendFlags::NOSIGNAL)?;
    let answer = receive(&socket)?;
    assert_eq!(answer["message"], "refused", "{answer}");
    let error = answer["error"].as_str().context("an error")?;
    assert!(
        error.contains("99.0.0 (ABI 9999") && error.contains("without --takeover"),
        "{error}"
    );
    scenario
        .daemon
        .wait_for_log(&["another daemon did not take over", "99.0.0"])?;
    sandbox.run(&netns, &scenario.clients.rust())?.success()?;
    Ok(())
}

#[test]
fn a_daemon_that_is_refused_by_one_with_another_abi_says_what_to_do_and_ends() -> Result<()> {
    let scenario = Scenario::discord()?;
    let config = scenario.directory().join("interceptor.yaml");
    // A daemon's place, held by somebody who speaks for another release.
    let other = directory()?;
    let listener = seqpacket()?;
    bind(&listener, &address(other.path())?)?;
    listen(&listener, 1)?;
    let mut command = std::process::Command::new(scenario.daemon.run(&[]).get_program());
    command
        .args(["run", "--takeover", "--config"])
        .arg(config)
        .arg("--run-dir")
        .arg(other.path())
        .arg("--data-dir")
        .arg(other.path().join("data"))
        .arg("--bpf-dir")
        .arg(scenario.daemon.bpf_dir().with_extension("other"));
    let running = Running::spawn(command)?;
    let patience = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(&listener, PollFlags::IN)];
    ensure!(poll(&mut polled, Some(&patience))? == 1, "it does not come");
    let socket = accept(&listener)?;
    let hello = receive(&socket)?;
    assert_eq!(hello["message"], "hello", "{hello}");
    let why = "interceptor 99.0.0 runs: start the new one without --takeover";
    let refused = serde_json::to_vec(&json!({"message": "refused", "error": why}))?;
    send(&socket, &refused, SendFlags::NOSIGNAL)?;
    let finished = running.finish()?;
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(
        finished.stderr.contains(why) && finished.stderr.contains("nothing was taken over"),
        "{finished:?}"
    );
    Ok(())
}
