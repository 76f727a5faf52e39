//! Presets of three generations, under which an unmodified client logs in or not.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Result;
use serde_json::Value;
use tests::{
    gateway::{Options, record::Token},
    netns::Netns,
    process::Running,
    programs::built,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

const SECRETS: &[&str] = &["DISCORD_BOT_TOKEN"];

fn preset(generation: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("presets");
    folder.join(generation).join("discord.yaml")
}

#[test]
fn a_discord_bot_logs_in_under_every_generation_of_the_preset_that_is_not_a_tunnel() -> Result<()> {
    let early = fs::read_to_string(preset("2026-03"))?;
    let tunnel = fs::read_to_string(preset("2026-04"))?;
    let late = fs::read_to_string(preset("2026-06"))?;
    let scenario = Scenario::with(Options::new(TOKEN), |configuration, _| {
        configuration
            .sandbox("early", &early, SECRETS)
            .sandbox("tunnel", &tunnel, SECRETS)
            .sandbox("opened", &tunnel, SECRETS)
            .setting("intercept: [gateway.discord.gg]")
            .sandbox("late", &late, SECRETS)
    })?;
    for name in ["early", "opened", "late"] {
        let netns = Netns::new()?;
        let sandbox = Sandbox::attach(&scenario.daemon, name, &[&netns])?;
        scenario.gateway.record().clear();
        let finished = sandbox.run(&netns, &scenario.clients.node())?.success()?;
        finished.event("ready")?;
        assert_eq!(scenario.gateway.record().tokens(), [Token::Real], "{name}");
    }

    // As the file says: the placeholder reaches the server, which refuses it.
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "tunnel", &[&netns])?;
    scenario.gateway.record().clear();
    let mut command = sandbox.command(&netns, &scenario.clients.node())?;
    command.env(
        "NODE_EXTRA_CA_CERTS",
        scenario.directory().join("root-0.pem"),
    );
    let finished = Running::spawn(command)?.finish()?;
    assert_eq!(finished.event("close")?["code"], 4004);
    assert_eq!(scenario.gateway.record().tokens(), [Token::Placeholder]);
    Ok(())
}

#[test]
fn an_imported_preset_is_told_of_by_endpoint_and_its_exit_code() -> Result<()> {
    let import = |arguments: &[&str]| -> Result<_> {
        let mut command = Command::new(built("interceptor")?);
        command.args(["policy", "import"]).args(arguments);
        Running::spawn(command)?.finish()
    };
    let discord = preset("2026-04").display().to_string();
    let told = import(&[&discord])?.success()?;
    assert!(told.stdout.contains("--intercept gateway.discord.gg"));

    let tools = preset("2026-06").with_file_name("tools.yaml");
    let tools = tools.display().to_string();
    let told = import(&[&tools, "--json"])?;
    assert_eq!(told.status.code(), Some(3), "{told:?}");
    let view: Value = serde_json::from_str(&told.stdout)?;
    assert_eq!(view["endpoints"][0]["becomes"], "unsupported");

    let directory = tests::scenario::directory()?;
    let output = directory.path().join("interceptor.yaml");
    let output_text = output.display().to_string();
    let opened = [
        "--intercept",
        "gateway.discord.gg",
        "--output",
        &output_text,
    ];
    let arguments = [&[discord.as_str()], &opened[..]].concat();
    import(&arguments)?.success()?;
    fs::create_dir(directory.path().join("secrets"))?;
    fs::write(directory.path().join("secrets/DISCORD_BOT_TOKEN"), TOKEN)?;
    let mut check = Command::new(built("interceptor")?);
    check.args(["check", "--config", &output_text]);
    let checked = Running::spawn(check)?.finish()?.success()?;
    let line = "gateway.discord.gg:443: intercept + rewrite (DISCORD_BOT_TOKEN)";
    assert!(checked.stdout.contains(line), "{}", checked.stdout);

    // What is there is never written over.
    let again = import(&arguments)?;
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let broken = directory.path().join("broken.yaml");
    fs::write(&broken, "version: 1\nnetwork_policy: {}\n")?;
    let refused = import(&[&broken.display().to_string()])?;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    Ok(())
}
