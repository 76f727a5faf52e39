use std::{io::Write, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use rustls::ClientConfig;
use serde_json::json;
use tests::gateway::frame::{BINARY, CONTINUATION, TEXT, encode};

use crate::{
    say, tls,
    websocket::{Client, HOST, MASK, Received, identify},
};

#[derive(Debug, Args)]
pub(crate) struct Split {
    by: Boundary,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Boundary {
    /// Two TCP segments of one TLS record.
    Segment,
    /// Two TLS records of one frame.
    Record,
    /// One TLS record that holds the end of one frame and the beginning of the next.
    Frame,
    /// Two fragments of one message.
    Fragment,
}

/// Logs in once for every place at which the message can be cut.
pub(crate) fn split(arguments: &Split) -> Result<()> {
    let config = tls::config()?;
    let message = identify()?;
    let frame = encode(true, TEXT, Some(MASK), message.as_bytes());
    let places = match arguments.by {
        Boundary::Segment | Boundary::Record | Boundary::Frame => 1..frame.len(),
        Boundary::Fragment => 0..message.len() + 1,
    };
    let mut failures = Vec::new();
    let cut = places.len();
    for at in places {
        let attempt = login(&config, arguments.by, message.as_bytes(), &frame, at);
        if !matches!(attempt, Ok(true)) {
            failures.push(json!({"at": at, "error": attempt.err().map(|e| format!("{e:#}"))}));
        }
    }
    say(&json!({"event": "split", "cut": cut, "failures": failures}));
    Ok(())
}

fn login(
    config: &Arc<ClientConfig>,
    by: Boundary,
    message: &[u8],
    frame: &[u8],
    at: usize,
) -> Result<bool> {
    let mut client = Client::open(config)?;
    let (head, tail) = frame.split_at_checked(at).context("cut too far")?;
    match by {
        Boundary::Segment => {
            client.stream.conn.writer().write_all(frame)?;
            let mut sealed = Vec::new();
            client.stream.conn.write_tls(&mut sealed)?;
            let (head, tail) = sealed.split_at_checked(at).context("cut too far")?;
            client.stream.sock.write_all(head)?;
            // Lets the first part travel alone; the outcome is the same when it does not.
            thread::sleep(Duration::from_millis(1));
            client.stream.sock.write_all(tail)?;
        }
        Boundary::Record => {
            client.stream.write_all(head)?;
            client.stream.flush()?;
            client.stream.write_all(tail)?;
            client.stream.flush()?;
        }
        Boundary::Frame => {
            let heartbeat = encode(true, TEXT, Some(MASK), br#"{"op":1,"d":null}"#);
            client.stream.write_all(&[&heartbeat, head].concat())?;
            client.stream.flush()?;
            client.stream.write_all(&[tail, &heartbeat].concat())?;
            client.stream.flush()?;
            // The answer to the first heartbeat.
            client.receive()?;
        }
        Boundary::Fragment => {
            let (head, tail) = message.split_at_checked(at).context("cut too far")?;
            let head = encode(false, TEXT, Some(MASK), head);
            let tail = encode(true, CONTINUATION, Some(MASK), tail);
            client.stream.write_all(&[head, tail].concat())?;
            client.stream.flush()?;
        }
    }
    client.is_ready()
}

#[derive(Debug, Args)]
pub(crate) struct Talk {
    /// Logs in before anything else.
    #[arg(long)]
    login: bool,
    #[arg(long, default_value = HOST)]
    host: String,
    /// Messages to send, each followed by one answer; hexadecimal after `0x` is sent as a binary message.
    messages: Vec<String>,
}

pub(crate) fn talk(arguments: &Talk) -> Result<()> {
    let mut client = Client::open_at(&arguments.host, &tls::config()?)?;
    if arguments.login {
        client.send(TEXT, identify()?.as_bytes())?;
        if !report(&mut client)? {
            return Ok(());
        }
    }
    for message in &arguments.messages {
        match message.strip_prefix("0x") {
            Some(digits) => client.send(BINARY, &bytes(digits)?)?,
            None => client.send(TEXT, message.as_bytes())?,
        }
        if !report(&mut client)? {
            break;
        }
    }
    Ok(())
}

/// Prints the next thing that the server says; false at its close.
fn report(client: &mut Client) -> Result<bool> {
    let received = client.receive()?;
    match received {
        Received::Json(message) => say(&json!({"event": "message", "message": message})),
        Received::Other { opcode, payload } => {
            let (length, text) = (payload.len(), String::from_utf8_lossy(&payload));
            say(&json!({"event": "frame", "opcode": opcode, "length": length, "text": text}));
        }
        Received::Close { code, reason } => {
            say(&json!({"event": "close", "code": code, "reason": reason}));
            return Ok(false);
        }
    }
    Ok(true)
}

pub(crate) fn bytes(digits: &str) -> Result<Vec<u8>> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}
