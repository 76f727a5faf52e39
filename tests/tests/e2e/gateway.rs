//! The gateway is as strict as Discord's: without interceptor, to tell its mistakes from ours.

use anyhow::Result;
use serde_json::{Value, json};
use tests::{
    cage::Cage,
    clients::{Clients, PLACEHOLDER},
    gateway::{
        Gateway, Options,
        record::{Seen, Token},
    },
    process::{Finished, Running},
    scenario::{TOKEN, directory},
};

struct Direct {
    gateway: Gateway,
    cage: Cage,
    clients: Clients,
    _directory: tempfile::TempDir,
}

impl Direct {
    fn new() -> Result<Self> {
        let directory = directory()?;
        let gateway = Gateway::start(Options::new(TOKEN))?;
        Ok(Self {
            cage: Cage::around(&gateway)?,
            clients: Clients::install(directory.path())?,
            gateway,
            _directory: directory,
        })
    }

    fn run(&self, token: &str, arguments: &[String]) -> Result<Finished> {
        let mut command = self.cage.command(arguments)?;
        command.env("DISCORD_BOT_TOKEN", token).env("ECHO", "50");
        Running::spawn(command)?.finish()
    }
}

#[test]
fn every_client_reaches_ready_with_the_real_token_and_4004_with_a_placeholder() -> Result<()> {
    let direct = Direct::new()?;
    let clients = &direct.clients;
    for client in [clients.node(), clients.python(), clients.rust()] {
        let finished = direct.run(TOKEN, &client)?.success()?;
        assert_eq!(finished.event("ready")?["user"], "micky", "{client:?}");
        assert_eq!(finished.event("echoed")?["unchanged"], true, "{client:?}");
        let refused = direct.run(PLACEHOLDER, &client)?;
        assert_eq!(refused.event("close")?["code"], 4004, "{client:?}");
    }
    let (real, placeholder) = (Token::Real, Token::Placeholder);
    assert_eq!(
        direct.gateway.record().tokens(),
        [real, placeholder, real, placeholder, real, placeholder]
    );
    Ok(())
}

#[test]
fn the_gateway_closes_with_discords_codes() -> Result<()> {
    let direct = Direct::new()?;
    let long = json!({"op": 100, "d": "x".repeat(4096)}).to_string();
    for (login, message, code) in [
        (false, r#"{"op":100,"d":1}"#, 4003),
        (true, r#"{"op":77}"#, 4001),
        (true, "no JSON", 4002),
        (true, long.as_str(), 4002),
        (true, r#"{"op":2,"d":{"token":"x"}}"#, 4005),
        (
            false,
            r#"{"op":6,"d":{"token":"x","session_id":"y","seq":1}}"#,
            4004,
        ),
    ] {
        let mut arguments = vec!["talk"];
        arguments.extend(login.then_some("--login"));
        arguments.push(message);
        let finished = direct.run(TOKEN, &direct.clients.probe(&arguments))?;
        assert_eq!(finished.event("close")?["code"], code, "{message:.60}");
    }
    Ok(())
}

#[test]
fn a_resume_of_an_unknown_session_is_answered_with_op_9() -> Result<()> {
    let direct = Direct::new()?;
    let resume = json!({"op": 6, "d": {"token": TOKEN, "session_id": "stale", "seq": 3}});
    let talk = direct.clients.probe(&["talk", &resume.to_string()]);
    let answer = direct.run(TOKEN, &talk)?.event("message")?;
    assert_eq!(answer["message"]["op"], 9);
    Ok(())
}

#[test]
fn frames_are_recorded_as_they_were_on_the_wire() -> Result<()> {
    let direct = Direct::new()?;
    let talk = direct
        .clients
        .probe(&["talk", "--login", r#"{"op":100,"d":"hello"}"#, "0x00ff10"]);
    let finished = direct.run(TOKEN, &talk)?.success()?;
    let echo = &finished.events()[1];
    assert_eq!(echo["message"]["d"], Value::from("hello"), "{echo}");
    let frames: Vec<Vec<u8>> = direct.gateway.record().look(|seen| {
        let messages = seen.iter().filter_map(|seen| match seen {
            Seen::Message { frames, .. } => Some(frames),
            _ => None,
        });
        messages.flatten().map(|bytes| bytes.0.clone()).collect()
    });
    // The mask 37 fa 21 3d over 00 ff 10.
    assert_eq!(
        frames[2],
        [0x82, 0x83, 0x37, 0xfa, 0x21, 0x3d, 0x37, 0x05, 0x31]
    );
    Ok(())
}

#[test]
fn the_rest_interface_knows_the_bot_by_its_authorization() -> Result<()> {
    let direct = Direct::new()?;
    for (token, status) in [(TOKEN, 200), ("wrong", 401)] {
        let header = format!("--header=Authorization: Bot {token}");
        let request = ["request", "discord.com", "/api/v10/users/@me", &header];
        let answer = direct.run(TOKEN, &direct.clients.probe(&request))?;
        assert_eq!(answer.event("answer")?["status"], status);
    }
    Ok(())
}
