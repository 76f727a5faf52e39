//! What happens to messages on the wire.

use anyhow::Result;
use serde_json::{Value, json};
use tests::{
    clients::PLACEHOLDER,
    gateway::{
        frame::{BINARY, TEXT, encode},
        record::Seen,
    },
    netns::Netns,
    process::PATIENCE,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

/// The probe's mask.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[test]
fn frames_without_a_placeholder_arrive_byte_for_byte() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let long = json!({"op": 100, "d": "x".repeat(4000)}).to_string();
    let texts = [
        r#"{"op":1,"d":null}"#,
        r#"{ "op" : 100, "d":"a\/b\u00e9"}"#,
        &long,
    ];
    let mut talk = vec!["talk", "--login"];
    talk.extend(texts);
    talk.push("0x00ff1080");
    sandbox
        .run(&netns, &scenario.clients.probe(&talk))?
        .success()?;

    let frames: Vec<Vec<u8>> = scenario.gateway.record().look(|seen| {
        let messages = seen.iter().filter_map(|seen| match seen {
            Seen::Message { frames, .. } => Some(frames),
            _ => None,
        });
        messages.flatten().map(|bytes| bytes.0.clone()).collect()
    });
    let expected: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| encode(true, TEXT, Some(MASK), text.as_bytes()))
        .chain([encode(true, BINARY, Some(MASK), &[0x00, 0xff, 0x10, 0x80])])
        .collect();
    // The first is the login.
    assert_eq!(frames[1..], expected);
    Ok(())
}

#[test]
fn a_placeholder_outside_its_field_passes_as_the_text_that_it_is() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let presence = json!({"op": 100, "d": {"token": PLACEHOLDER, "name": PLACEHOLDER}}).to_string();
    let talk = scenario.clients.probe(&["talk", "--login", &presence]);
    let finished = sandbox.run(&netns, &talk)?.success()?;
    assert_eq!(finished.events()[1]["message"]["d"]["name"], PLACEHOLDER);
    assert_eq!(scenario.gateway.record().payloads()[1], presence.as_bytes());
    let connections = scenario.daemon.connections()?;
    assert_eq!(connections[0]["placeholders_passed"], 2, "{connections:?}");
    Ok(())
}

fn rewritten_the_same_wherever_it_is_cut(by: &str) -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let finished = sandbox
        .spawn(&netns, &scenario.clients.probe(&["split", by]))?
        .finish_within(PATIENCE * 6)?
        .success()?;
    let split = finished.event("split")?;
    assert_eq!(split["failures"], json!([]), "{split}");
    assert!(split["cut"].as_u64() > Some(100), "{split}");

    let expected = format!(
        r#"{{"op":2,"d":{{"token":"{TOKEN}","intents":513,"properties":{{"os":"linux"}}}}}}"#
    );
    let logins: Vec<_> = scenario.gateway.record().payloads();
    let logins: Vec<_> = logins
        .iter()
        .filter(|payload| !payload.starts_with(br#"{"op":1,"#))
        .collect();
    assert_eq!(Some(logins.len() as u64), split["cut"].as_u64());
    assert!(logins.iter().all(|login| *login == expected.as_bytes()));
    Ok(())
}

#[test]
fn a_message_cut_into_two_tcp_segments_anywhere_is_rewritten_the_same() -> Result<()> {
    rewritten_the_same_wherever_it_is_cut("segment")
}

#[test]
fn a_message_cut_into_two_tls_records_anywhere_is_rewritten_the_same() -> Result<()> {
    rewritten_the_same_wherever_it_is_cut("record")
}

#[test]
fn a_frame_that_shares_tls_records_with_its_neighbours_is_rewritten_the_same() -> Result<()> {
    rewritten_the_same_wherever_it_is_cut("frame")
}

#[test]
fn a_message_cut_into_two_fragments_anywhere_is_rewritten_the_same() -> Result<()> {
    rewritten_the_same_wherever_it_is_cut("fragment")
}

#[test]
fn discords_limit_of_4096_bytes_is_counted_after_rewriting() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let empty = json!({"op": 2, "d": {"token": PLACEHOLDER, "x": ""}}).to_string();
    let room = 4096 - empty.len() + PLACEHOLDER.len() - TOKEN.len();
    for (padding, event, value) in [
        (room, "message", Value::from("READY")),
        (room + 1, "close", Value::from(4002)),
    ] {
        let login = json!({"op": 2, "d": {"token": PLACEHOLDER, "x": "x".repeat(padding)}});
        let talk = scenario.clients.probe(&["talk", &login.to_string()]);
        let answer = sandbox.run(&netns, &talk)?.event(event)?;
        assert!(
            answer["message"]["t"] == value || answer["code"] == value,
            "{padding}: {answer}"
        );
    }
    Ok(())
}

#[test]
fn a_login_with_a_placeholder_that_nobody_knows_is_closed_with_1008() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let login = json!({"op": 2, "d": {"token": "openshell:resolve:env:ANOTHER_TOKEN"}}).to_string();
    let talk = scenario.clients.probe(&["talk", &login]);
    let close = sandbox.run(&netns, &talk)?.event("close")?;
    assert_eq!(close["code"], 1008);
    assert_eq!(scenario.gateway.record().tokens(), []);
    assert_eq!(scenario.gateway.record().payloads(), Vec::<Vec<u8>>::new());
    // The operator reads what the client read.
    scenario.daemon.wait_for_log(&[
        "demo",
        "gateway.discord.gg",
        "reason=\"credential_unavailable\"",
        "detail=\"a placeholder stands at a bound field of a message: ",
    ])?;
    Ok(())
}
