//! Logins in other encodings than JSON, packed by the libraries that real clients use.

use anyhow::{Context as _, Result};
use serde_json::json;
use tests::{
    clients::{Clients, PLACEHOLDER},
    configuration::{Configuration, DISCORD_POLICY},
    daemon::Daemon,
    gateway::frame::{BINARY, CLOSE},
    mirror::Mirror,
    netns::Netns,
    sandbox::Sandbox,
    scenario::{TOKEN, directory},
};

/// The token goes into a login, and not into a presence.
fn logs_in(encoding: &str, pack: fn(op: u8, token: &str) -> Vec<u8>) -> Result<()> {
    let place = directory()?;
    let mirror = Mirror::start()?;
    let configuration = Configuration::default()
        .secret("DISCORD_BOT_TOKEN", TOKEN, "discord")
        .sandbox("demo", DISCORD_POLICY, &["DISCORD_BOT_TOKEN"])
        .resolve("gateway.discord.gg", mirror.address())
        .root(mirror.authority().pem());
    let daemon = Daemon::start(&configuration.write(place.path())?, place.path())?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&daemon, "demo", &[&netns])?;
    let clients = Clients::install(place.path())?;
    sandbox.run(&netns, &clients.packed(encoding))?.success()?;

    let heard = mirror.heard();
    let heard = heard.first().context("nobody came")?;
    let frames: Vec<_> = heard
        .frames
        .iter()
        .map(|(first, payload)| (*first, &payload.0))
        .collect();
    let data: Vec<_> = frames
        .into_iter()
        .filter(|(first, _)| *first != 0x80 | CLOSE)
        .collect();
    assert_eq!(
        data,
        [
            (0x80 | BINARY, &pack(2, TOKEN)),
            (0x80 | BINARY, &pack(3, PLACEHOLDER)),
        ]
    );
    let connections = daemon.connections()?;
    assert_eq!(connections[0]["rewrites"], json!({"DISCORD_BOT_TOKEN": 1}));
    assert_eq!(connections[0]["placeholders_passed"], 1);
    assert_eq!(connections[0]["opaque_messages"], 0);
    Ok(())
}

#[test]
fn a_login_packed_by_erlpack_takes_the_token_with_its_length() -> Result<()> {
    logs_in("etf", |op, token| {
        let length = u32::try_from(token.len()).unwrap_or_default().to_be_bytes();
        [
            b"\x83t\0\0\0\x02m\0\0\0\x02opa",
            &[op][..],
            b"m\0\0\0\x01dt\0\0\0\x02m\0\0\0\x05tokenm",
            &length,
            token.as_bytes(),
            b"m\0\0\0\x07intentsb\0\0\x02\x01",
        ]
        .concat()
    })
}

#[test]
fn a_login_packed_by_msgpack_takes_the_token_with_its_length() -> Result<()> {
    logs_in("msgpack", |op, token| {
        let length = u8::try_from(token.len()).unwrap_or_default();
        [
            b"\x82\xa2op",
            &[op][..],
            b"\xa1d\x82\xa5token\xd9",
            &[length],
            token.as_bytes(),
            b"\xa7intents\xcd\x02\x01",
        ]
        .concat()
    })
}
