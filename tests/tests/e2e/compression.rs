//! permessage-deflate is kept, and looked into.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use rcgen::generate_simple_self_signed;
use tempfile::TempDir;
use tests::{
    clients::Clients,
    configuration::{Configuration, DISCORD_POLICY},
    daemon::Daemon,
    netns::Netns,
    process::{Finished, Running},
    sandbox::Sandbox,
    scenario::{TOKEN, directory},
};

const GATEWAY: &str = "gateway.discord.gg";

/// A server with compression under Discord's name, and a sandbox that may reach it. Fields are dropped in order.
struct Stage {
    sandbox: Sandbox,
    netns: Netns,
    daemon: Daemon,
    server: Running,
    clients: Clients,
    _place: TempDir,
}

impl Stage {
    fn new() -> Result<Self> {
        let place = directory()?;
        let clients = Clients::install(place.path())?;
        let certified = generate_simple_self_signed([GATEWAY.to_owned()])?;
        let certificate = place.path().join("server.pem");
        let key = place.path().join("server.key");
        fs::write(&certificate, certified.cert.pem())?;
        fs::write(&key, certified.signing_key.serialize_pem())?;

        let role = [
            "server",
            certificate.to_str().context("a path")?,
            key.to_str().context("a path")?,
        ];
        let mut server = Command::new("node");
        server
            .args(&clients.deflating(&role)[1..])
            .env("EXPECTED", TOKEN);
        let server = Running::spawn(server)?;
        let port = &server.wait_for_event("listening")?["port"];

        let configuration = Configuration::default()
            .secret("DISCORD_BOT_TOKEN", TOKEN, "discord")
            .sandbox("demo", DISCORD_POLICY, &["DISCORD_BOT_TOKEN"])
            .resolve(GATEWAY, format!("127.0.0.1:{port}"))
            .root(certified.cert.pem());
        let daemon = Daemon::start(&configuration.write(place.path())?, place.path())?;
        let netns = Netns::new()?;
        Ok(Self {
            sandbox: Sandbox::attach(&daemon, "demo", &[&netns])?,
            netns,
            daemon,
            server,
            clients,
            _place: place,
        })
    }

    fn run(&self, role: &str) -> Result<Finished> {
        let client = self.clients.deflating(&[role]);
        self.sandbox.run(&self.netns, &client)?.success()
    }
}

/// Ends the server, which must have got the client's messages with the token where it belongs.
fn check_served(mut server: Running) -> Result<Finished> {
    server.kill()?;
    let served = server.finish()?;
    let seen: Vec<_> = served
        .events()
        .into_iter()
        .filter(|event| event["event"] == "message")
        .map(|event| (event["real"] == true, event["placeholder"] == true))
        .collect();
    let mut expected = vec![(false, false), (true, false)];
    expected.extend([(false, true); 50]);
    expected.extend([(true, false), (false, false)]);
    assert_eq!(seen, expected);
    Ok(served)
}

/// The server repeated every message, compressed, and the token of two of them; the client must have read what it sent
/// with the placeholder, and all else as compressed as it was.
fn assert_repeated(close: &serde_json::Value) {
    assert_eq!(
        (&close["same"], &close["compressed"]),
        (&54.into(), &52.into()),
        "{close}"
    );
}

#[test]
fn messages_stay_compressed_and_only_the_bound_field_takes_the_token_and_none_comes_back()
-> Result<()> {
    let stage = Stage::new()?;
    let finished = stage.run("client")?;
    assert_eq!(finished.event("open")?["extensions"], "permessage-deflate");
    let close = finished.event("close")?;
    assert_eq!(
        (&close["code"], &close["answers"]),
        (&1000.into(), &54.into())
    );
    assert_repeated(&close);
    let served = check_served(stage.server)?;
    assert_eq!(
        served.event("connected")?["extensions"],
        "permessage-deflate"
    );
    let connection = &stage.daemon.connections()?[0];
    assert_eq!(
        connection["rewrites"]["DISCORD_BOT_TOKEN"], 2,
        "{connection}"
    );
    assert_eq!(connection["redactions"], 2, "{connection}");
    // Compressed on the wire: as text the numbers alone have more.
    let sent = connection["sent"]["bytes"].as_u64().context("no count")?;
    assert!(sent < 200_000, "{connection}");
    Ok(())
}

/// The library `ws`, told to take no parameter that it did not ask for.
#[test]
fn a_client_that_refuses_what_it_is_told_connects_again_and_keeps_its_window() -> Result<()> {
    let stage = Stage::new()?;
    let finished = stage.run("strict")?;
    let error = finished.event("error")?["message"].to_string();
    assert!(error.contains("Sec-WebSocket-Extensions"), "{error}");
    let closes: Vec<_> = finished
        .events()
        .into_iter()
        .filter(|event| event["event"] == "close")
        .collect();
    let ends: Vec<_> = closes
        .iter()
        .map(|close| (close["code"].clone(), close["answers"].clone()))
        .collect();
    assert_eq!(ends, [(1006.into(), 0.into()), (1000.into(), 54.into())]);
    closes.last().map(assert_repeated).context("no close")?;
    check_served(stage.server)?;
    Ok(())
}

#[test]
fn a_message_that_grows_beyond_all_measure_is_refused_and_counted() -> Result<()> {
    let stage = Stage::new()?;
    assert_eq!(stage.run("bomb")?.event("close")?["code"], 1009);
    let stats = stage.daemon.json(&["stats"])?;
    let denials = stats["denials"].as_array().context("no denials")?;
    assert_eq!(denials.len(), 1, "{stats}");
    assert_eq!(denials[0]["reason"], "compressed_message_too_large");
    let events = stage.server.stdout();
    assert!(!events.contains(r#""event":"message""#), "{events}");
    Ok(())
}
