//! What the daemon itself offers to whoever would get at it.

use std::{fs, net::TcpListener};

use anyhow::{Context as _, Result};
use tests::{
    gateway::Options,
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

const POLICY: &str = "\
version: 1
network_policies:
  metrics:
    name: metrics
    endpoints:
      - { host: metrics.example, port: 80, protocol: rest, enforcement: enforce, access: full }
";

#[test]
fn root_in_a_sandbox_gains_nothing_by_the_control_socket() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let ask = |cgroup: &std::path::Path| -> Result<_> {
        let daemon = scenario.daemon.command(&["detach", "demo"]);
        let mut command = netns.command("sh");
        command
            .args(["-c", r#"echo 0 > "$0" && exec "$@""#])
            .arg(cgroup.join("cgroup.procs"))
            .arg(daemon.get_program())
            .args(daemon.get_args());
        Running::spawn(command)?.finish()
    };
    let below = sandbox.cgroup().path().join("below");
    fs::create_dir(&below)?;
    for cgroup in [sandbox.cgroup().path(), &below] {
        let refused = ask(cgroup)?;
        assert!(!refused.status.success(), "{}", refused.stdout);
        assert!(
            refused.stderr.contains("closed the connection"),
            "{}",
            refused.stderr
        );
    }
    fs::remove_dir(&below)?;
    let events = scenario.daemon.json(&["events", "--sandbox", "demo"])?;
    let refused = events.as_array().into_iter().flatten();
    let refused: Vec<_> = refused
        .filter(|event| event["reason"] == "control_refused")
        .collect();
    assert_eq!(refused.len(), 2, "{events}");
    assert_eq!(refused[0]["uid"], 0);
    assert_eq!(refused[0]["comm"], "interceptor");
    // From outside it is still there to be detached.
    sandbox.detach(&scenario.daemon)
}

#[test]
fn metrics_are_for_the_host_and_for_no_sandbox_whatever_its_policy_says() -> Result<()> {
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let scenario = Scenario::with(Options::new(TOKEN), |configuration, _| {
        configuration
            .sandbox("scraper", POLICY, &[])
            .resolve("metrics.example", free)
            .top_level(&format!("metrics: {{ listen: \"{free}\" }}"))
    })?;
    let probe = |path: &str| {
        let address = format!("--address={free}");
        let request = ["request", "localhost", path, "--plain", &address];
        let probe = scenario.clients.probe(&request);
        let (program, arguments) = probe.split_first().context("a path")?;
        let mut command = std::process::Command::new(program);
        command.args(arguments);
        Running::spawn(command)?.finish()?.event("answer")
    };
    let metrics = probe("/metrics")?;
    let body = metrics["body"].as_str().context("a body")?;
    assert!(
        body.contains("\ninterceptor_connections_open 0\n"),
        "{body}"
    );
    assert_eq!(probe("/healthz")?["status"], 200);
    assert_eq!(probe("/readyz")?["status"], 200);
    assert_eq!(probe("/v1/sandboxes")?["status"], 404);

    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "scraper", &[&netns])?;
    // By a name that the configuration gives this very address.
    let by_name = [
        "request",
        "metrics.example",
        "/metrics",
        "--plain",
        "--address=192.0.2.1:80",
    ];
    let answer = sandbox
        .run(&netns, &scenario.clients.probe(&by_name))?
        .event("answer")?;
    assert_eq!(answer["status"], 502, "{answer}");
    let refused = scenario.daemon.json(&["events", "--sandbox", "scraper"])?;
    let refused = refused.as_array().into_iter().flatten();
    let refused = refused.filter(|event| event["reason"] == "own_address");
    assert_eq!(refused.count(), 1);
    Ok(())
}

#[test]
fn the_running_daemon_has_no_more_rights_than_it_needs() -> Result<()> {
    let scenario = Scenario::discord()?;
    let pid = scenario.daemon.pid()?;
    // DAC_OVERRIDE, NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN, PERFMON and BPF, by their numbers in capabilities.
    let needed = format!(
        "{:016x}",
        [1, 12, 13, 19, 21, 38, 39]
            .map(|bit| 1_u64 << bit)
            .iter()
            .sum::<u64>()
    );
    let none = "0000000000000000";
    let mut threads = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map_or("", str::trim).to_owned()
        };
        for (name, expected) in [
            ("CapInh:", none),
            ("CapPrm:", &needed),
            ("CapEff:", &needed),
            ("CapBnd:", &needed),
            ("CapAmb:", none),
            ("NoNewPrivs:", "1"),
            ("Seccomp:", "2"),
        ] {
            assert_eq!(field(name), expected, "{name} {status}");
        }
        threads += 1;
    }
    assert!(threads > 2, "{threads}");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<_> = core.unwrap_or_default().split_whitespace().collect();
    assert_eq!(core.get(4..6), Some(&["0", "0"][..]), "{limits}");
    Ok(())
}

#[test]
fn a_sandboxs_user_reads_neither_the_cas_key_nor_secrets_nor_the_daemons_memory() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let directory = scenario.directory();
    let pid = scenario.daemon.pid()?;
    let read = |path: String| -> Result<_> { sandbox.run(&netns, &["cat".into(), path]) };
    // Positive control.
    let public = directory.join("run/ca.pem").display().to_string();
    assert!(read(public)?.stdout.contains("CERTIFICATE"));
    for path in [
        directory.join("data/ca.key").display().to_string(),
        directory
            .join("DISCORD_BOT_TOKEN.secret")
            .display()
            .to_string(),
        format!("/proc/{pid}/environ"),
        format!("/proc/{pid}/mem"),
        format!("/proc/{pid}/maps"),
    ] {
        assert!(fs::metadata(&path).is_ok(), "{path}");
        let refused = read(path.clone())?;
        assert!(!refused.status.success(), "{path}");
        assert!(
            refused.stderr.contains("Permission denied"),
            "{}",
            refused.stderr
        );
    }
    Ok(())
}
