//! Sessions that outlive their configuration, or their connection.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use tests::{
    configuration::{Configuration, DISCORD_POLICY},
    gateway::{
        Gateway, Options,
        record::{Seen, Token},
    },
    memory,
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

const ROTATED: &str = "MTAwMDAwMDAwMDAwMDAwMDAwMQ.Another.token-that-stays-outside_43";

/// Discord's binding, and messages that the test gateway answers.
const BINDING: &str = r#"bindings: [{ hosts: ["*.discord.gg"], websocket.json: { op: [2, 6, 100], path: /d/token } }]"#;

/// A message with the token in its bound field, as the client reads it from standard input.
const MESSAGE: &[u8] = b"{\"op\":100,\"d\":{\"token\":\"$TOKEN\"}}\n";

const EVERY_GATEWAY: &str = "\
version: 1
network_policies:
  discord:
    name: discord
    endpoints:
      - { host: \"*.discord.gg\", port: 443, protocol: websocket, enforcement: enforce, access: full }
";

const TUNNELLED: &str = "\
version: 1
network_policies:
  discord:
    name: discord
    endpoints:
      - { host: gateway.discord.gg, port: 443, tls: skip }
";

const NOTHING: &str = "\
version: 1
network_policies:
  docs:
    name: docs
    endpoints:
      - { host: docs.example.com, port: 443, protocol: rest, enforcement: enforce, access: full }
";

/// Two sandboxes under one policy with one secret.
fn configuration(gateway: &Gateway, value: &str, demo: (&str, &[&str])) -> Configuration {
    Configuration::default()
        .bound_secret("DISCORD_BOT_TOKEN", value, BINDING)
        .sandbox("demo", demo.0, demo.1)
        .sandbox("other", DISCORD_POLICY, &["DISCORD_BOT_TOKEN"])
        .resolve("gateway.discord.gg", gateway.address())
        .root(gateway.authority().pem())
}

const SECRET: &[&str] = &["DISCORD_BOT_TOKEN"];

fn scenario(policy: &str) -> Result<Scenario> {
    Scenario::with(Options::new(TOKEN), |_, gateway| {
        configuration(gateway, TOKEN, (policy, SECRET))
    })
}

/// Makes another configuration hold. Returns when `interceptor reload` did.
fn reload(scenario: &Scenario, configuration: &Configuration) -> Result<Instant> {
    configuration.write(scenario.directory())?;
    scenario.daemon.cli(&["reload"])?.success()?;
    Ok(Instant::now())
}

/// A bot that has logged in and stays.
fn log_in(scenario: &Scenario, sandbox: &Sandbox, netns: &Netns) -> Result<Running> {
    let session = sandbox.spawn(netns, &scenario.clients.session())?;
    session.wait_for_event("ready")?;
    Ok(session)
}

fn token_of(payload: &[u8]) -> Option<String> {
    let message: Value = serde_json::from_slice(payload).ok()?;
    Some(message.pointer("/d/token")?.as_str()?.to_owned())
}

#[test]
fn a_rotated_secret_is_in_the_next_message_of_a_session_that_stays() -> Result<()> {
    // Where what comes back is searched for, its automaton is not wiped: here nothing is searched for.
    let unredacted = |gateway: &Gateway, value| {
        configuration(gateway, value, (DISCORD_POLICY, SECRET))
            .setting("unredacted: [gateway.discord.gg]")
    };
    let scenario = Scenario::with(Options::new(TOKEN), |_, gateway| unredacted(gateway, TOKEN))?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "other", &[&netns])?;
    let mut session = log_in(&scenario, &sandbox, &netns)?;

    let rotated = unredacted(&scenario.gateway, ROTATED);
    let reloaded = reload(&scenario, &rotated)?;
    session.write(MESSAGE)?;
    session.wait_for_event("echo")?;
    let taken = reloaded.elapsed();
    let tokens: Vec<_> = scenario
        .gateway
        .record()
        .payloads()
        .iter()
        .filter_map(|payload| token_of(payload))
        .collect();
    assert!(tokens == [TOKEN, ROTATED], "neither the old nor the new");
    assert!(taken < Duration::from_secs(1), "{taken:?}");

    session.finish()?.success()?;
    let connections = scenario.daemon.connections()?;
    assert_eq!(connections.len(), 1, "{connections:?}");
    assert_eq!(connections[0]["end"], "client closed with 1000");

    // The old value does not outlive the session that wrote it.
    let daemon = scenario.daemon.pid()?;
    assert!(memory::holds(daemon, ROTATED.as_bytes())?);
    assert!(!memory::holds(daemon, TOKEN.as_bytes())?);
    Ok(())
}

/// The client's close, the server's, and the count, after the configuration of `demo` has become another one.
fn closed_by(policy: &str, secrets: &[&str], reason: &str) -> Result<()> {
    let scenario = scenario(DISCORD_POLICY)?;
    let (netns, outside) = (Netns::new()?, Netns::new()?);
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let neighbour = Sandbox::attach(&scenario.daemon, "other", &[&outside])?;
    let mut unaffected = log_in(&scenario, &neighbour, &outside)?;
    let session = log_in(&scenario, &sandbox, &netns)?;

    let changed = configuration(&scenario.gateway, TOKEN, (policy, secrets));
    reload(&scenario, &changed)?;
    let close = session.wait_for_event("close")?;
    assert_eq!(
        (&close["code"], &close["reason"]),
        (&json!(1008), &json!(reason))
    );
    let told = scenario.gateway.record().wait_for("a close", |seen| {
        seen.iter().find_map(|seen| match seen {
            Seen::Closed {
                connection: 1,
                code,
            } => Some(*code),
            _ => None,
        })
    })?;
    assert_eq!(told, Some(1001));
    scenario.daemon.wait_for_log(&[
        "connection denied",
        "demo",
        &format!("reason=\"{reason}\""),
    ])?;
    let stats = scenario.daemon.json(&["stats"])?;
    let counted = stats["denials"].as_array().into_iter().flatten();
    let counted = counted.filter(|denial| denial["reason"] == reason).count();
    assert_eq!(counted, 1, "{stats}");

    unaffected.write(MESSAGE)?;
    unaffected.wait_for_event("echo")?;
    unaffected.finish()?.success()?;
    Ok(())
}

#[test]
fn a_session_whose_secret_is_taken_from_its_sandbox_is_closed_with_1008() -> Result<()> {
    closed_by(DISCORD_POLICY, &[], "credential_revoked")
}

#[test]
fn a_session_whose_host_is_taken_from_the_policy_is_closed_with_1008() -> Result<()> {
    closed_by(NOTHING, SECRET, "policy_denied")
}

#[test]
fn a_session_that_is_to_be_tunnelled_is_closed_with_1008() -> Result<()> {
    closed_by(TUNNELLED, SECRET, "policy_denied")
}

#[test]
fn a_tunnel_whose_host_is_taken_from_the_policy_is_cut() -> Result<()> {
    let scenario = scenario(TUNNELLED)?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let authority = scenario.directory().join("root-0.pem");
    let mut command = sandbox.command(&netns, &scenario.clients.session())?;
    command
        .env("DISCORD_BOT_TOKEN", TOKEN)
        .env("NODE_EXTRA_CA_CERTS", authority);
    let mut session = Running::spawn(command)?;
    session.wait_for_event("ready")?;

    // What changes nothing for it, it does not notice.
    let rotated = configuration(&scenario.gateway, ROTATED, (TUNNELLED, &[]));
    reload(&scenario, &rotated)?;
    session.write(MESSAGE)?;
    session.wait_for_event("echo")?;

    let denied = configuration(&scenario.gateway, TOKEN, (NOTHING, &[]));
    reload(&scenario, &denied)?;
    assert_eq!(session.wait_for_event("close")?["code"], 1006);
    scenario
        .daemon
        .wait_for_log(&["connection denied", "demo", "reason=\"policy_denied\""])?;
    Ok(())
}

#[test]
fn a_bot_resumes_at_the_host_that_ready_names() -> Result<()> {
    const RESUME: &str = "gateway-us-east1-b.discord.gg";
    let mut options = Options::new(TOKEN);
    options.resume_url = format!("wss://{RESUME}");
    let scenario = Scenario::with(options, |_, gateway| {
        Configuration::default()
            .secret("DISCORD_BOT_TOKEN", TOKEN, "discord")
            .sandbox("demo", EVERY_GATEWAY, SECRET)
            .resolve("gateway.discord.gg", gateway.address())
            .resolve(RESUME, gateway.address())
            .root(gateway.authority().pem())
    })?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let mut session = log_in(&scenario, &sandbox, &netns)?;
    // Told to reconnect, then cut off with 4000.
    for (times, order) in [(1, &b"{\"op\":101}\n"[..]), (2, b"{\"op\":102}\n")] {
        session.write(order)?;
        let mut seen = 0;
        session.wait_for_line("RESUMED", |line| {
            seen += usize::from(line.contains("\"resumed\""));
            (seen == times).then_some(())
        })?;
    }
    let finished = session.finish()?;
    let hosts: Vec<_> = finished
        .events()
        .iter()
        .filter(|event| event["event"] == "open")
        .map(|event| event["host"].clone())
        .collect();
    assert_eq!(
        hosts,
        ["gateway.discord.gg", RESUME, RESUME],
        "{finished:?}"
    );
    assert_eq!(scenario.gateway.record().tokens(), [Token::Real; 3]);
    Ok(())
}
