//! What a server repeats of a secret.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tests::{
    clients::PLACEHOLDER,
    gateway::Options,
    netns::Netns,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

/// Asks the gateway to give the real token away in each of these ways, and returns what the client saw.
fn given_away(scenario: &Scenario, ways: &[&str]) -> Result<(Vec<Value>, String)> {
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let asked: Vec<String> = ways
        .iter()
        .map(|way| json!({"op": 103, "d": way}).to_string())
        .collect();
    let mut talk = vec!["talk", "--login"];
    talk.extend(asked.iter().map(String::as_str));
    let finished = sandbox
        .run(&netns, &scenario.clients.probe(&talk))?
        .success()?;
    let seen = finished.events();
    let all = serde_json::to_string(&seen)?;
    // The first is READY.
    Ok((seen.into_iter().skip(1).collect(), all))
}

#[test]
fn a_token_that_the_server_repeats_comes_back_as_its_placeholder() -> Result<()> {
    let scenario = Scenario::discord()?;
    let ways = ["text", "fragments", "base64", "binary", "pong", "close"];
    let (seen, all) = given_away(&scenario, &ways)?;
    assert!(!all.contains(TOKEN), "{all}");
    let [text, fragments, base64, binary, pong, close] = seen.as_slice() else {
        anyhow::bail!("{all}");
    };
    let told = format!("<{PLACEHOLDER}>");
    assert_eq!(text["message"]["d"], Value::from(told.clone()));
    assert_eq!(fragments["message"]["d"], Value::from(told));

    let encoded = base64["message"]["d"].as_str().context("no base64")?;
    let decoded = STANDARD.decode(encoded)?;
    let user = format!("user:{TOKEN}");
    assert_eq!(decoded.len(), user.len());
    assert!(decoded.windows(8).all(|part| {
        let part = String::from_utf8_lossy(part);
        !TOKEN.contains(&*part)
    }));

    // Where the length must not change, as much of the placeholder as there is room for.
    let fitted: String = PLACEHOLDER
        .chars()
        .chain("*".repeat(TOKEN.len()).chars())
        .take(TOKEN.len())
        .collect();
    assert_eq!(binary["text"], Value::from(format!("\u{1}{fitted}\u{2}")));
    assert_eq!(pong["text"], Value::from(fitted.clone()));
    assert_eq!(close["reason"], Value::from(format!("no longer {fitted}")));
    assert_eq!(close["code"], 4004);

    let connections = scenario.daemon.connections()?;
    assert_eq!(connections[0]["redactions"], ways.len(), "{connections:?}");
    Ok(())
}

#[test]
fn a_token_comes_back_as_it_is_where_the_configuration_leaves_it_unredacted() -> Result<()> {
    let scenario = Scenario::with(Options::new(TOKEN), |configuration, _| {
        configuration.setting("unredacted: [gateway.discord.gg]")
    })?;
    let (seen, _) = given_away(&scenario, &["text"])?;
    assert_eq!(seen[0]["message"]["d"], Value::from(format!("<{TOKEN}>")));
    assert_eq!(scenario.daemon.connections()?[0]["redactions"], 0);
    Ok(())
}
