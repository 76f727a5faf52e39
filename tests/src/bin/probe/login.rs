//! A bot's connection with tungstenite over rustls, as an ordinary Rust program has it.

use std::{env, io::Read as _};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket, client::IntoClientRequest as _};

use crate::{say, tls, websocket::HOST};

pub(crate) fn run() -> Result<()> {
    let tcp = tls::connect(tls::resolve(HOST, 443)?)?;
    let peer = tcp.peer_addr()?.to_string();
    let stream = tls::handshake(tcp, HOST, tls::config()?)?;
    let request = format!("wss://{HOST}/?v=10&encoding=json").into_client_request()?;
    let (mut socket, _) =
        tungstenite::client(request, stream).map_err(|error| anyhow::anyhow!("{error}"))?;
    say(&json!({"event": "open", "peer": peer}));

    let hello = read(&mut socket)?;
    say(&json!({"event": "hello", "interval": hello.pointer("/d/heartbeat_interval")}));
    write(&mut socket, &json!({"op": 1, "d": null}))?;
    read(&mut socket)?;
    say(&json!({"event": "heartbeat-ack"}));
    let token = env::var("DISCORD_BOT_TOKEN").context("DISCORD_BOT_TOKEN is not set")?;
    write(
        &mut socket,
        &json!({"op": 2, "d": {"token": token, "intents": 513, "properties": {"os": "linux"}}}),
    )?;
    let ready = read(&mut socket)?;
    anyhow::ensure!(ready.get("t") == Some(&Value::from("READY")), "{ready}");
    say(&json!({"event": "ready", "user": ready.pointer("/d/user/username")}));

    let messages: u64 = env::var("ECHO").map_or(Ok(0), |text| text.parse())?;
    let mut unchanged = true;
    for number in 0..messages {
        let text = "grüße ".repeat(usize::try_from(number * 7 % 500)?);
        let payload = json!({"number": number, "text": text});
        write(&mut socket, &json!({"op": 100, "d": payload}))?;
        unchanged &= read(&mut socket)?.get("d") == Some(&payload);
    }
    if messages > 0 {
        say(&json!({"event": "echoed", "messages": messages, "unchanged": unchanged}));
    }
    if env::var("HOLD").is_ok_and(|hold| hold == "1") {
        std::io::stdin().read_to_end(&mut Vec::new())?;
    }
    socket.close(None)?;
    while let Ok(message) = socket.read() {
        if let Message::Close(_) = message {
            say(&json!({"event": "close", "code": 1000}));
        }
    }
    Ok(())
}

/// The next text message. A close is an error that names its code.
fn read(socket: &mut WebSocket<tls::Stream>) -> Result<Value> {
    loop {
        match socket.read()? {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Close(frame) => {
                let code = frame.map(|frame| u16::from(frame.code));
                say(&json!({"event": "close", "code": code}));
                anyhow::bail!("closed with {code:?}");
            }
            _ => {}
        }
    }
}

fn write(socket: &mut WebSocket<tls::Stream>, message: &Value) -> Result<()> {
    Ok(socket.send(Message::text(message.to_string()))?)
}
