//! What a policy says of single requests, and of the programs that make them.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result};
use tests::{
    clients::PLACEHOLDER,
    gateway::Options,
    netns::Netns,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

const POLICY: &str = "\
version: 1
network_policies:
  api:
    endpoints:
      - host: discord.com
        port: 443
        protocol: rest
        enforcement: enforce
        rules:
          - allow: { method: GET, path: \"/api/**\" }
          - allow: { method: POST, path: \"/api/*/messages\", query: { silent: \"true\" } }
        deny_rules:
          - { method: \"*\", path: \"/api/*/guilds/**\" }
    binaries:
      - { path: PROBE }
";

#[test]
fn only_what_a_rule_allows_and_no_deny_rule_matches_reaches_the_server() -> Result<()> {
    let scenario = Scenario::with(Options::new(TOKEN), |configuration, _| {
        // The copy of the probe that the sandbox runs is known only later.
        configuration.sandbox(
            "api",
            &POLICY.replace("PROBE", "/**"),
            &["DISCORD_BOT_TOKEN"],
        )
    })?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "api", &[&netns])?;
    let header = format!("--header=authorization: Bot {PLACEHOLDER}");
    for (method, path, allowed) in [
        ("GET", "/api/v10/users/@me", true),
        ("HEAD", "/api/v10/users/@me", true),
        ("DELETE", "/api/v10/users/@me", false),
        ("GET", "/other", false),
        ("GET", "/api/v10/guilds/1", false),
        ("GET", "/api/v10//%67uilds/1", false),
        ("GET", "/api/v10/x/../guilds/1", false),
        ("POST", "/api/v10/messages?silent=true", true),
        ("POST", "/api/v10/messages?silent=true&silent=no", false),
        ("POST", "/api/v10/messages", false),
    ] {
        scenario.gateway.record().clear();
        let method = format!("--method={method}");
        let request = ["request", "discord.com", path, &header, &method];
        let answer = sandbox.run(&netns, &scenario.clients.probe(&request))?;
        let status = answer.event("answer")?["status"].clone();
        assert_eq!(status != 403, allowed, "{method} {path}: {status}");
        let arrived = !scenario.gateway.record().tokens().is_empty();
        assert_eq!(arrived, allowed, "{method} {path}");
    }
    let stats = scenario.daemon.json(&["stats"])?;
    let denials = stats["denials"].as_array().context("no denials")?;
    assert!(
        denials
            .iter()
            .all(|denial| denial["reason"] == "policy_denied")
    );
    assert_eq!(denials.len(), 7, "{stats}");
    Ok(())
}

#[test]
fn a_program_that_no_rule_lists_is_denied_and_told_in_the_log() -> Result<()> {
    let scenario = Scenario::discord()?;
    let probe = scenario.clients.probe(&[]);
    let listed = probe.first().context("a path")?;
    let other = scenario.directory().join("other");
    fs::copy(listed, &other)?;
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755))?;
    let policy = POLICY.replace("PROBE", listed);
    let configuration = scenario.configuration.clone().sandbox("api", &policy, &[]);
    configuration.write(scenario.directory())?;
    scenario.daemon.cli(&["reload"])?.success()?;

    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "api", &[&netns])?;
    let request = |program: &str| {
        let words = [program, "request", "discord.com", "/api/v10/users/@me"];
        words.map(str::to_owned).to_vec()
    };
    let finished = sandbox.run(&netns, &request(listed))?;
    assert_eq!(finished.event("answer")?["status"], 401);
    let other = other.to_str().context("a path")?;
    let finished = sandbox.run(&netns, &request(other))?;
    let error = finished.event("failed")?["error"].to_string();
    assert!(error.contains("AccessDenied"), "{error}");
    let log = scenario.daemon.log();
    assert!(
        log.contains("no rule lets this program reach discord.com:443"),
        "{log}"
    );

    // One that a listed program starts may.
    let shell = ["sh", "-c", r#""$@"; exit 0"#, "sh"].map(str::to_owned);
    let policy = POLICY.replace("PROBE", &fs::canonicalize("/bin/sh")?.display().to_string());
    let configuration = scenario.configuration.clone().sandbox("api", &policy, &[]);
    configuration.write(scenario.directory())?;
    scenario.daemon.cli(&["reload"])?.success()?;
    let descendant = [shell.to_vec(), request(other)].concat();
    let finished = sandbox.run(&netns, &descendant)?;
    assert_eq!(finished.event("answer")?["status"], 401);
    Ok(())
}
