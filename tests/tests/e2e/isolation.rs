//! Sandboxes do not mix, nor do namespaces.

use anyhow::Result;
use serde_json::json;
use tests::{
    configuration::Configuration,
    daemon::Daemon,
    gateway::{Gateway, Options, record::Token},
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN, directory},
};

fn policy(hosts: &[&str]) -> String {
    let mut text =
        String::from("version: 1\nnetwork_policies:\n  some:\n    name: some\n    endpoints:\n");
    for host in hosts {
        text.push_str(&format!(
            "      - {{host: {host}, port: 443, protocol: rest, enforcement: enforce, access: full}}\n"
        ));
    }
    text
}

#[test]
fn two_sandboxes_with_different_policies_and_secrets_do_not_mix() -> Result<()> {
    let directory = directory()?;
    let clients = tests::clients::Clients::install(directory.path())?;
    let first = Gateway::start(Options::new("the-first-sandboxes-own-token"))?;
    let second = Gateway::start(Options::new("the-second-sandboxes-own-token"))?;
    let bound = "bindings: [{hosts: [first.example, second.example, shared.example], header: authorization}]";
    let configuration = Configuration::default()
        .bound_secret("FIRST", first.token(), bound)
        .bound_secret("SECOND", second.token(), bound)
        .sandbox(
            "first",
            &policy(&["first.example", "shared.example"]),
            &["FIRST"],
        )
        .sandbox(
            "second",
            &policy(&["second.example", "shared.example"]),
            &["SECOND"],
        )
        .resolve("first.example", first.address())
        .resolve("second.example", second.address())
        .resolve("shared.example", first.address())
        .root(first.authority().pem())
        .root(second.authority().pem());
    let daemon = Daemon::start(&configuration.write(directory.path())?, directory.path())?;
    let (one, two) = (Netns::new()?, Netns::new()?);
    let inside_first = Sandbox::attach(&daemon, "first", &[&one])?;
    let inside_second = Sandbox::attach(&daemon, "second", &[&two])?;

    let ask = |sandbox: &Sandbox, netns: &Netns, host: &str, key: &str| {
        let header = format!("--header=Authorization: Bot openshell:resolve:env:{key}");
        let request = [
            "request",
            host,
            "/api/v10/users/@me",
            &header,
            "--address=192.0.2.1:443",
        ];
        sandbox.run(netns, &clients.probe(&request))
    };
    // Each reaches its own with its own.
    let answer = ask(&inside_first, &one, "first.example", "FIRST")?;
    assert_eq!(answer.event("answer")?["status"], 200);
    let answer = ask(&inside_second, &two, "second.example", "SECOND")?;
    assert_eq!(answer.event("answer")?["status"], 200);
    // Neither reaches the other's host.
    ask(&inside_first, &one, "second.example", "FIRST")?.event("failed")?;
    ask(&inside_second, &two, "first.example", "SECOND")?.event("failed")?;
    // Nor does the other's secret come out, at a host that is bound to it and allowed to both.
    let answer = ask(&inside_first, &one, "shared.example", "FIRST")?;
    assert_eq!(answer.event("answer")?["status"], 200);
    let answer = ask(&inside_second, &two, "shared.example", "FIRST")?;
    assert_ne!(answer.event("answer")?["status"], 200);
    assert_eq!(second.record().tokens(), [Token::Real]);
    Ok(())
}

#[test]
fn two_namespaces_in_one_sandbox_with_the_same_source_ports_do_not_mix() -> Result<()> {
    let scenario = Scenario::discord()?;
    let (one, two) = (Netns::new()?, Netns::new()?);
    for netns in [&one, &two] {
        netns.run(
            "sysctl",
            &["-qw", "net.ipv4.ip_local_port_range=40000 40001"],
        )?;
    }
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&one, &two])?;
    let connect = |address| scenario.clients.probe(&["connect", "--hold", address]);
    let first = sandbox.spawn(&one, &connect("192.0.2.1:443"))?;
    let second = sandbox.spawn(&two, &connect("192.0.2.2:443"))?;
    assert_eq!(first.wait_for_event("connected")?["peer"], "192.0.2.1:443");
    assert_eq!(second.wait_for_event("connected")?["peer"], "192.0.2.2:443");
    let destinations = |pid: u32| -> Result<Vec<_>> {
        let connections = scenario.daemon.connections()?.into_iter();
        let own = connections.filter(|connection| connection["pid"] == pid);
        Ok(own
            .map(|connection| connection["destination"].clone())
            .collect())
    };
    assert_eq!(destinations(first.pid())?, [json!("192.0.2.1:443")]);
    assert_eq!(destinations(second.pid())?, [json!("192.0.2.2:443")]);
    first.finish()?.success()?;
    second.finish()?.success()?;

    // And both log in at the same time.
    let spawn = |netns| -> Result<Running> {
        let mut command = sandbox.command(netns, &scenario.clients.node())?;
        command.env("HOLD", "1");
        Running::spawn(command)
    };
    let (first, second) = (spawn(&one)?, spawn(&two)?);
    first.wait_for_event("ready")?;
    second.wait_for_event("ready")?;
    assert_eq!(
        scenario.gateway.record().tokens(),
        [Token::Real, Token::Real]
    );
    assert_eq!(scenario.gateway.token(), TOKEN);
    Ok(())
}
